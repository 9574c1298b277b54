"""A wide table cut into blocks of columns that stand one under another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.results.headers import headers_of, runs_of
from bench.results.sections import Section

MOST_EMPTY = 1 / 3  # of a block's cells, where it could be two


@dataclass(frozen=True)
class Block:
    """The places of rows and columns of a section that one table shows."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def blocks_of(section: Section, width_of: Callable[[Block], int], most: int) -> list[Block]:
    """Return the blocks of a section, none of which is wider than `most`; `width_of` says how wide one would be.

    What fits is one block. Otherwise columns of a task stay together where they fit, tasks share a block where they fit
    and have values in about the same rows, and a block has the rows alone that have a value there. A single column that
    is too wide is a block nevertheless. A row without any value is in the first block.
    """
    everything = Block(tuple(range(len(section.rows))), tuple(range(len(section.columns))))
    if not section.columns or width_of(everything) <= most:
        return [everything]
    blocks: list[Block] = []
    for block in _chunks(section, width_of, most):
        together = _block(section, (*blocks[-1].columns, *block.columns)) if blocks else block
        if blocks and width_of(together) <= most and _share_empty(section, together) <= MOST_EMPTY:
            blocks[-1] = together
        else:
            blocks.append(block)
    empty = set(everything.rows).difference(*(block.rows for block in blocks))
    return [Block(tuple(sorted({*blocks[0].rows, *empty})), blocks[0].columns), *blocks[1:]]


def _chunks(section: Section, width_of: Callable[[Block], int], most: int) -> list[Block]:
    """The columns of each task, in as many blocks as it takes."""
    chunks: list[Block] = []
    start = 0
    for _, count in runs_of(header.group for header in headers_of(section.columns)):
        chunk: tuple[int, ...] = ()
        for place in range(start, start + count):
            if chunk and width_of(_block(section, (*chunk, place))) > most:
                chunks.append(_block(section, chunk))
                chunk = ()
            chunk = (*chunk, place)
        chunks.append(_block(section, chunk))
        start += count
    return chunks


def _block(section: Section, columns: tuple[int, ...]) -> Block:
    rows = (place for place, row in enumerate(section.rows) if any(row.cells[i] is not None for i in columns))
    return Block(tuple(rows), columns)


def _share_empty(section: Section, block: Block) -> float:
    empty = sum(section.rows[row].cells[i] is None for row in block.rows for i in block.columns)
    return empty / max(len(block.rows) * len(block.columns), 1)
