"""Sections for a terminal: tables no wider than it, columns that do not fit one block below another."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.printable import GAP, without_unprintable
from bench.results.blocks import Block, blocks_of
from bench.results.cells import ALL, Shown, cell_text
from bench.results.headers import Header, headers_of
from bench.results.look import Heading, Look
from bench.results.sections import Row, Section
from bench.results.short_notes import MEANINGS, count_of_all, marks_of, measured, row_marks

LEAST_WIDTH = 40  # what a narrower terminal is taken for; it breaks lines itself
BETWEEN = 2  # blanks between columns
HEADER = 14  # characters up to which a header stands in one line


def as_terminal(sections: Sequence[Section], heading: Heading, look: Look) -> str:
    """Return sections as text for a terminal of `look.width` characters, with what bold and marks mean below.

    With `look.styled` bold is the terminal's; without, a star before the number stands for it. With verdicts cells
    and notes are complete.
    """
    width = max(look.width, LEAST_WIDTH)
    output = io.StringIO()
    console = Console(
        file=output,
        width=width,
        force_terminal=look.styled,
        color_system="standard" if look.styled else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    for section in sections:
        _section(console, section, look, width)
    if not sections:
        console.print("No records yet.")
    for line in _legend(sections, heading, look, width):
        console.print(Text(line))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


def _section(console: Console, section: Section, look: Look, width: int) -> None:
    """Print one section: its title, blocks of columns each below what its rows and columns share, and its notes."""
    count = count_of_all(section)
    title = section.title if count is None or look.verdicts else f"{section.title} (n = {count})"
    console.print(Text(without_unprintable(title), style="bold"))
    grid = _Grid.of(section, look)
    blocks = blocks_of(section, grid.width_of, width)
    if any(grid.width_of(block) > width for block in blocks):
        grid = grid.shortened(width)
        blocks = blocks_of(section, grid.width_of, width)
    for block in blocks:
        if above := grid.above(block):
            console.print(Text("\n".join(textwrap.wrap(above, width))))
        console.print(grid.table(block))
        console.print()
    if look.verdicts:
        for note in section.notes:
            console.print(
                Text("\n".join(textwrap.wrap(f"- {without_unprintable(note)}", width, subsequent_indent="  ")))
            )
        console.print()


@dataclass(frozen=True)
class _Grid:
    """The texts of a section, any block of which can be drawn."""

    section: Section
    leading: Sequence[Sequence[str]]  # of each row
    cells: Sequence[Sequence[Text]]
    headers: Sequence[Header]

    @classmethod
    def of(cls, section: Section, look: Look) -> _Grid:
        """Return the texts, with names as they are."""
        headers = headers_of(section.columns)
        cells = [[Text()] * len(headers) for _ in section.rows]
        everywhere = count_of_all(section)
        for group in dict.fromkeys(header.group for header in headers):
            places = [i for i, header in enumerate(headers) if header.group == group]
            count = everywhere or count_of_all(section, places)
            for i in places:
                for row, text in enumerate(_cells(section, i, look, counts=count is None)):
                    cells[row][i] = text
                if count and not everywhere and not look.verdicts:
                    headers[i] = replace(headers[i], group=f"{group}, n = {count}")
        leading = [[without_unprintable(text) for text in row.leading] for row in section.rows]
        for of, texts in zip(section.rows, leading, strict=True):
            texts[section.named] += _marks(of)
        return cls(section, leading, cells, headers)

    def shortened(self, width: int) -> _Grid:
        """Return it with names that leave room for the widest column."""
        section, named = self.section, self.section.named
        everything = Block(tuple(range(len(section.rows))), tuple(range(len(section.columns))))
        one_each = [self.width_of(Block(everything.rows, (i,))) for i in everything.columns]
        names = [without_unprintable(row.leading[named]) for row in section.rows]
        marks = [_marks(row) for row in section.rows]
        longest = max(cell_len(name + mark) for name, mark in zip(names, marks, strict=True))
        room = longest - (max(one_each, default=0) - width) - max(map(cell_len, marks))
        shorter = shortened(names, room)
        leading = [[*texts] for texts in self.leading]
        for texts, name, mark in zip(leading, names, marks, strict=True):
            texts[named] = shorter[name] + mark
        return replace(self, leading=leading)

    def shared(self, block: Block) -> list[int]:
        """The places of leading texts that all rows of a block share, and that need no column."""
        several, named = len(block.rows) > 1, self.section.named
        places = range(len(self.section.leading))
        return [i for i in places if i != named and several and len({self.leading[row][i] for row in block.rows}) == 1]

    def group(self, block: Block) -> str | None:
        """What all columns of a block share."""
        groups = {self.headers[i].group for i in block.columns}
        return groups.pop() if len(groups) == 1 else None

    def above(self, block: Block) -> str:
        """What a block's rows and columns share, in words."""
        names = [name.lower() for name in self.section.leading]
        shared = [f"{names[i]} {self.leading[block.rows[0]][i]}" for i in self.shared(block)]
        return "; ".join([*filter(None, [without_unprintable(self.group(block) or "")]), *shared])

    def columns(self, block: Block) -> tuple[list[int], list[list[str]]]:
        """The places of leading texts that are shown, and the lines of each header."""
        shared = self.shared(block)
        kept = [i for i in range(len(self.section.leading)) if i not in shared]
        together = self.group(block) is not None
        lines = [_wrapped(self.headers[i], self.section.columns[i].remark, shared=together) for i in block.columns]
        return kept, [*([self.section.leading[i]] for i in kept), *lines]

    def width_of(self, block: Block) -> int:
        """How many characters a line of a block has."""
        kept, heads = self.columns(block)
        texts = [[self.leading[row][i] for row in block.rows] for i in kept]
        texts += [[self.cells[row][i].plain for row in block.rows] for i in block.columns]
        return sum(max(map(cell_len, [*head, *some])) + BETWEEN for head, some in zip(heads, texts, strict=True))

    def table(self, block: Block) -> Table:
        """A block as rich draws it."""
        kept, heads = self.columns(block)
        # the line between columns is a blank, and the first of those between them
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, BETWEEN - 1, 0, 0), header_style="")
        for place, head in enumerate(heads):
            side: Literal["left", "right"] = "left" if place < len(kept) else "right"
            table.add_column(Text("\n".join(head), justify=side), justify=side, overflow="fold", vertical="bottom")
        for row in block.rows:
            table.add_row(*(Text(self.leading[row][i]) for i in kept), *(self.cells[row][i] for i in block.columns))
        return table


def _cells(section: Section, place: int, look: Look, *, counts: bool) -> list[Text]:
    """The texts of one column, with numbers of runs if these are not the same everywhere."""
    column, texts = section.columns[place], []
    shown = ALL if look.verdicts else Shown(counts=counts, marks=True, verdicts=False)
    for cell in (row.cells[place] for row in section.rows):
        text = Text(cell_text(cell, column, "{}" if look.styled else "*{}", str, shown))
        if cell is not None and cell.best and look.styled:
            text.stylize("bold", 0, len(f"{cell.summary.mean:.{column.decimals}f}"))
        texts.append(text)
    return texts


def _marks(row: Row) -> str:
    return "".join(f" {mark}" for mark in row_marks(row))


def shortened(names: Sequence[str], room: int) -> dict[str, str]:
    """Return {name: what is shown of it} in at most `room` characters, without its middle where it is longer.

    Names that differ are shown differently: the part that is left out moves, or is made smaller, until they are. So a
    name may take more room than there is.
    """
    different = list(dict.fromkeys(names))
    longest = max(map(len, different), default=0)
    for size in range(max(room, 5), longest):
        for end in (*range((size - 1) // 2, size - 2), *range((size - 1) // 2 - 1, 1, -1)):
            shown = {name: _without_middle(name, size, end) for name in different}
            if len(set(shown.values())) == len(different):
                return shown
    return {name: name for name in different}


def _without_middle(name: str, size: int, end: int) -> str:
    """A name in `size` characters, the last `end` of which are its end."""
    return name if len(name) <= size else name[: size - 1 - end] + GAP + name[-end:]


def _wrapped(header: Header, remark: str = "", *, shared: bool) -> list[str]:
    """The lines of a header: the group, unless it is shared, broken behind underscores where it is long, then name."""
    lines: list[str] = []
    for text in ("" if shared else header.group, f"{header.name} {header.unit}".strip(), remark and f"({remark})"):
        line = ""
        for piece in re.findall(r"[^_ ,-]*[_ ,-]+|[^_ ,-]+", without_unprintable(text)):
            if line and cell_len(line + piece.rstrip()) > HEADER:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines += [line.rstrip()] if line else []
    return lines


def _legend(sections: Sequence[Section], heading: Heading, look: Look, width: int) -> list[str]:
    """What bold and marks mean: all of it with verdicts, else in five lines at most, as long as the width allows."""
    cells = [cell for section in sections for _, _, cell in measured(section)]
    if look.verdicts:
        return textwrap.wrap(heading.legend, width) if sections else []
    if not sections:
        return []
    lines = []
    if any(cell.summary.between is not None or cell.summary.within is not None for cell in cells):
        lines.append("±: sample standard deviation over trunks (n of them); of one trunk over seeds of the task (1×3).")
    if any(cell.best for cell in cells):
        sign = "Bold" if look.styled else "*"
        mixed = any(column.mixed for section in sections for column in section.columns)
        where = "its column (of a data set and schedule)" if mixed else "its column"
        lines.append(f"{sign}: highest of {where}, or not told from it by the corrected test.")
    marks = list(dict.fromkeys(mark for section in sections for mark in marks_of(section)))
    if marks:
        lines.append("; ".join(f"{mark} {MEANINGS[mark]}" for mark in marks) + ".")
    lines.append("--verdicts shows differences to the baseline row, verdicts and notes.")
    return lines
