"""The stages of a work folder as one screen of a terminal: a table of pretrainings × tasks, or a list, and news.

Names, reasons and paths come from files: they are shown without what a terminal would obey, and never read as markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from bench.execute.jobs.status import ORDER, Row, Word, counts
from bench.execute.words import counted, duration
from bench.printable import cut_middle, printable

STYLES: Mapping[str, str] = {
    "done": "green",
    "running": "bold cyan",
    "waiting": "dim",
    "failed": "bold red",
    "not run": "red",
    "stopped": "yellow",
    "stale": "yellow",
}
# What one looks for first.
INTEREST: tuple[Word, ...] = ("failed", "running", "not run", "stale", "stopped", "waiting", "done")
NAME, CELL = (12, 36), (8, 18)  # columns of a terminal for the name of a pretraining, and of a task: at least, at most
SPACE = 2  # between columns
REASON_LINES = 3
LINES_OF_ONE = 10  # of the screen for each stage that runs, or failed, and is shown with what there is to say of it
BAR = 20
STEPS = ("pretrain", "convert")


@dataclass(frozen=True)
class Look:
    """What was seen of a work folder at one time."""

    rows: Sequence[Row]
    work_dir: Path
    seconds_left: float | None = None  # None: not known


def screen(look: Look, console: Console, height: int, foot: str = "") -> Text:
    """Return a look in at most `height` lines, each at most as wide as the console."""
    width = console.width
    head = _head(look, width)
    most = max(1, height // LINES_OF_ONE)
    news = [*_running(look.rows, width, most), *_failed(look.rows, console, most)]
    end = [Text(), Text(cut_middle(foot, width), style="dim")] if foot else []
    room = height - len(head) - len(news) - len(end)
    table = grid(look.rows, width, room) or listed(look.rows, width, room)
    lines = [*[*head, *table, *news][: max(1, height - len(end))], *end]
    for line in lines:  # of a terminal that is too narrow for anything
        line.truncate(width)
    return Text("\n").join(lines)


def brief(look: Look, console: Console) -> Text:
    """Return how far a grid and the stages that run are, in some lines: what stands below those that it prints."""
    news = _running(look.rows, console.width, max(1, console.height // LINES_OF_ONE))
    return Text("\n").join(_head(look, console.width)[1:-1] + news)


def _head(look: Look, width: int) -> list[Text]:
    """Where this is, a bar of the grid, and how many stages are in which state."""
    total = len(look.rows)
    done = sum(row.state == "done" for row in look.rows)
    words = f"{done} of {counted(total, 'stage')} done"
    goes_on = any(row.state in {"running", "waiting"} for row in look.rows)
    if look.seconds_left is not None and goes_on:
        words += f", about {duration(look.seconds_left)} left"
    lines = [
        Text(cut_middle(printable(str(look.work_dir)), width), style="bold"),
        Text.assemble(*_bar(done / total if total else 0.0, min(BAR, width // 4)), f" {words}"),
    ]
    numbers = Text()
    for word in ORDER:
        if number := sum(row.state == word for row in look.rows):
            numbers.append(", " if numbers else "").append(f"{number} {word}", style=STYLES[word])
    return [*lines, numbers, Text()]


def _bar(share: float, width: int) -> list[tuple[str, str]]:
    full = max(0, min(width, round(share * width)))
    return [("━" * full, "cyan"), ("━" * (width - full), "bright_black")]


# ------------------------------------------------------------------------------------------------------- all stages


def grid(rows: Sequence[Row], width: int, room: int) -> list[Text]:
    """Return a table with a row for each pretraining and a column for each task; [] where it has no room."""
    cells: dict[Path, dict[str, list[Row]]] = {}
    by_folder = {row.folder: row for row in rows}
    for row in rows:
        cells.setdefault(_pretraining(row, by_folder), {}).setdefault(_column(row), []).append(row)
    columns = sorted({name for some in cells.values() for name in some}, key=_step)
    names = _names(cells)
    least = NAME[0] + len(columns) * (CELL[0] + SPACE)
    if least > width or not columns:
        return []
    shown, left_out = _with_room(cells, room - 1)
    if not shown:
        return []
    first = min(NAME[1], max(NAME[0], *(cell_len(names[key]) for key in shown)))
    first = max(NAME[0], min(first, width - len(columns) * (CELL[0] + SPACE)))
    each = (width - first) // len(columns) - SPACE
    widths = [max(CELL[0], min(CELL[1], each, cell_len(name))) for name in columns]
    lines = [_line([("", ""), *((name, "bold") for name in columns)], [first, *widths])]
    for key in shown:
        found = [_cell(cells[key].get(name, [])) for name in columns]
        lines.append(_line([(names[key], ""), *found], [first, *widths]))
    if left_out:
        lines.append(Text(cut_middle(left_out, width), style="dim"))
    return lines


def _step(column: str) -> tuple[int, str]:
    return (STEPS.index(column) if column in STEPS else len(STEPS), column)


def _pretraining(row: Row, by_folder: Mapping[Path, Row]) -> Path:
    """The folder of the pretraining that a stage belongs to."""
    seen = set[Path]()
    while row.stage.get("kind") != "pretrain" and row.folder not in seen:
        seen.add(row.folder)
        above = [by_folder[folder] for folder in row.parents if folder in by_folder]
        if not above:
            break
        row = above[0]
    return row.folder


def _column(row: Row) -> str:
    """The name of the task, or the kind of a stage that has none."""
    task = _setting(row, "task", "name") or str(row.stage.get("kind") or "?")
    other_seed = row.stage.get("trunk_seed") is not None
    return printable(f"{task} t{row.stage.get('seed')}" if other_seed else task)


def _setting(row: Row, part: str, name: str) -> str:
    value: Any = row.stage.get(part)
    return str(value.get(name, "")) if isinstance(value, dict) else ""


def _names(cells: Mapping[Path, Mapping[str, Sequence[Row]]]) -> dict[Path, str]:
    """What pretrainings are called: by their config and seed; where two are called so, with a part of their hash."""
    names: dict[Path, str] = {}
    for folder, some in cells.items():
        row = next(iter(some.values()))[0]
        seed = row.stage.get("trunk_seed")
        seed = row.stage.get("seed") if seed is None else seed
        name = _setting(row, "recipe", "name")
        names[folder] = printable(f"{name}-s{seed}" if name else row.title)
    called = list(names.values())
    return {
        folder: f"{name} {folder.name.rpartition('-')[2][:4]}" if called.count(name) > 1 else name
        for folder, name in names.items()
    }


def _with_room(cells: Mapping[Path, Mapping[str, Sequence[Row]]], room: int) -> tuple[list[Path], str]:
    """The rows of the table that are shown, and what is said of the others. Those that are done go first."""
    if len(cells) <= room:
        return list(cells), ""
    open_ = [key for key, some in cells.items() if any(row.state != "done" for of in some.values() for row in of)]
    shown = open_[: max(0, room - 1)]
    done, others = len(cells) - len(open_), len(open_) - len(shown)
    parts = [f"{counted(done, 'pretraining')} with all done"] if done else []
    parts += [f"{others} more"] if others else []
    return shown, f"not shown: {', '.join(parts)}"


def _cell(rows: Sequence[Row]) -> tuple[str, str]:
    """The state of the stages of a cell: of the one that one looks for first."""
    if not rows:
        return "–", "dim"
    row = min(rows, key=lambda row: INTEREST.index(row.state))
    share = share_of(row)
    # As the words of the stage have it: rounded down, but for the rounding of the division.
    word = f"{math.floor(100 * share + 1e-9)} %" if share is not None else row.state
    return word, STYLES[row.state]


def share_of(row: Row) -> float | None:
    """Return how much of a stage that runs is done, between 0 and 1; None where it is not known."""
    done, total = row.note.get("done"), row.note.get("total")
    if row.state != "running" or not isinstance(done, int) or not isinstance(total, int) or total <= 0:
        return None
    return min(1.0, max(0.0, done / total))


def listed(rows: Sequence[Row], width: int, room: int) -> list[Text]:
    """Return a line for each stage, those that one looks for first at the top, as many as there is room for."""
    ordered = sorted(rows, key=lambda row: INTEREST.index(row.state))
    shown = ordered if len(ordered) <= room else ordered[: max(0, room - 1)]
    lines = []
    for row in shown:
        word, style = _cell([row])
        lines.append(_line([(word, style), (printable(row.title), "")], [CELL[0], max(1, width - CELL[0] - SPACE)]))
    if shown and len(shown) < len(ordered):  # of none shown, the head says as much
        lines.append(Text(cut_middle(f"not shown: {counts(ordered[len(shown) :])}", width), style="dim"))
    return lines


def _line(cells: Iterable[tuple[str, str]], widths: Sequence[int]) -> Text:
    line = Text()
    for (text, style), width in zip(cells, widths, strict=True):
        shown = cut_middle(text, width)
        line.append(shown, style=style or None).append(" " * (width - cell_len(shown) + SPACE))
    line.rstrip()
    return line


# ------------------------------------------------------------------------------------------- what runs, and what failed


def _running(rows: Sequence[Row], width: int, most: int) -> list[Text]:
    """Each stage that runs: its bar, and how far it is."""
    some = [row for row in rows if row.state == "running"]
    lines: list[Text] = []
    for row in some[:most]:
        title = Text(cut_middle(f"running  {printable(row.title)}", width), style=STYLES["running"])
        share = share_of(row)
        words = printable(row.progress or row.reason or "no progress noted yet")
        at = Text("  ")
        if share is not None:
            at = Text.assemble(at, *_bar(share, min(BAR, width // 4)), " ")
        room = width - at.cell_len
        first = ""
        parts = words.split(", ")
        while parts and cell_len(first) + cell_len(parts[0]) + 2 <= room:
            first += (", " if first else "") + parts.pop(0)
        lines += [Text(), title, at.append(first or cut_middle(parts.pop(0), room))]
        if parts:  # what has no room beside the bar
            lines.append(Text(cut_middle(f"  {', '.join(parts)}", width)))
    if len(some) > most:
        lines.append(Text(cut_middle(f"running  {len(some) - most} more", width), style="dim"))
    return lines


def _failed(rows: Sequence[Row], console: Console, most: int) -> list[Text]:
    """Each stage that failed: its last sentence, and where its log is, in full, so that it can be copied."""
    some = [row for row in rows if row.state == "failed"]
    lines: list[Text] = []
    for row in some[:most]:
        lines += [Text(), Text(cut_middle(f"failed   {printable(row.title)}", console.width), style=STYLES["failed"])]
        reason = Text(printable(row.reason)).wrap(console, max(1, console.width - SPACE))
        lines += [Text("  ") + line for line in reason[:REASON_LINES]]
        if len(reason) > REASON_LINES:
            lines[-1].append(" …")
            lines[-1].truncate(console.width)
        if row.log is not None:
            path = f"log: {printable(str(row.log))}"
            lines += [Text(f"  {part}") for part in chop_cells(path, max(2, console.width - SPACE))]
    if len(some) > most:
        more = f"failed   {len(some) - most} more; bench status lists them"
        lines.append(Text(cut_middle(more, console.width), style="dim"))
    return lines
