"""Records and published rows -> sections -> text; the tables folder, written and checked.

Sections go by profile. Within a section, one column is one (task, protocol hash, fingerprint of the data measured on):
where a task has several, each gets a column with the hash in its header, so that protocols never mix. One row is
one (pretraining by name, fingerprint of its recipe); seeds of a row share a cell.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BadInput, nearest
from bench.record import Record, read_all
from bench.results.formats import RESOURCES, SMALL, SUFFIXES, TRANSFER, Heading, render
from bench.results.frame import (
    PublishedRow,
    long_frame,
    protocol_suffix,
    published_transfer,
    reference_folder,
    without_repeats,
)
from bench.results.notes import section_notes
from bench.results.resources import build_resources
from bench.results.sections import TITLES, Cell, Column, Row, Section
from bench.results.small_images import build_small_images, is_small
from bench.results.statistics import compare, summarise

if TYPE_CHECKING:
    import pandas as pd

LEADING = ("Pretrain set", "Pretrain", "Backbone")
CONTROL = "random_init"  # the default baseline

METRICS = {
    "segmentation": ("aacc_percent", "miou_percent", "macc_percent"),
    "linear": ("top1_percent",),
    "knn": ("top1_percent",),
    "diagnostics": (
        *("backbone_rankme", "backbone_uniformity", "backbone_tolerance", "backbone_knn_percent"),
        *("projector_rankme", "projector_effective_rank"),
    ),
}
# The deck's columns, in its order; columns of other tasks come after them.
DECK = {
    ("cityscapes_pspnet", "aacc_percent"): "aAcc",
    ("cityscapes_pspnet", "miou_percent"): "mIoU",
    ("cityscapes_pspnet", "macc_percent"): "mAcc",
    ("imagenet_linear", "top1_percent"): "ImageNet acc",
    ("imagenet100_linear", "top1_percent"): "ImageNet-100 acc",
}
SHORT = {
    **{"aacc_percent": "aAcc", "miou_percent": "mIoU", "macc_percent": "mAcc", "top1_percent": "top-1"},
    **{"backbone_rankme": "backbone RankMe", "backbone_uniformity": "backbone uniformity"},
    **{"backbone_tolerance": "backbone tolerance", "backbone_knn_percent": "backbone kNN"},
    **{"projector_rankme": "projector RankMe", "projector_effective_rank": "projector effective rank"},
}


# ------------------------------------------------------------------------------------------- building


def build_tables(records: Sequence[Record], reference_dir: Path, baseline: str | None = None) -> list[Section]:
    """Return the sections: `full` (with published rows), `mini`, `smoke`, and those of small images.

    Differences are taken to the row `baseline` (a pretraining's name, or `name @hash` where several recipes share a
    name), by default to `random_init` where there is one. A profile without rows has no section. Raises BadInput
    when no section has the baseline, or it is ambiguous.
    """
    counted = without_repeats(records)
    kept = [record for record in counted if not is_small(record)]
    published = published_transfer(reference_dir)
    sections, known = [], set()
    for profile, title in TITLES.items():
        chosen = [record for record in kept if record.profile == profile]
        beside = published if profile == "full" else []
        if not chosen and not beside:
            continue
        frame = long_frame(chosen)
        columns = _columns(frame, beside, {record.kind: record.columns for record in chosen})
        measured = _measured(frame, columns)
        known |= {word for row in measured for word in (row.name, row.label)}
        base = _baseline(measured, baseline)
        measured = _best(_differences(measured, base), columns)
        rows = (*measured, *(_published_row(row, columns) for row in beside))
        repeats = sum(record.profile == profile and not is_small(record) for record in records) - len(chosen)
        notes = section_notes(chosen, columns, rows, base, repeats)
        sections.append(Section(title, profile, LEADING, columns, rows, notes))
    if baseline is not None and baseline not in known:
        raise BadInput(f"No measured row {baseline!r} to take as baseline{nearest(baseline, known) or '.'}")
    return [*sections, *build_small_images(counted, reference_dir)]


def _columns(
    frame: pd.DataFrame, published: Sequence[PublishedRow], declared: Mapping[str, Mapping[str, str]]
) -> tuple[Column, ...]:
    """The columns that have a value, in the deck's order, then by task."""
    kinds = dict(zip(frame["task"], frame["kind"], strict=True))
    measured: dict[str, dict[tuple[str, str], list[str]]] = {}  # task -> (protocol, data) -> metrics
    for line in frame[["task", "protocol", "data", "metric"]].drop_duplicates().to_dict("records"):
        measured.setdefault(line["task"], {}).setdefault((line["protocol"], line["data"]), []).append(line["metric"])
    beside = {key for row in published for key in row.values}
    columns = []
    for task in dict.fromkeys([task for task, _ in DECK] + sorted(measured)):
        keys = measured.get(task, {})
        for (protocol, data), found in keys.items():
            others = sorted(name for name in found if name.endswith("_percent"))
            headers = declared[kinds[task]]
            for metric in list(headers) or METRICS.get(kinds[task], others):
                if metric in found:
                    name = f"{task} {headers[metric]}" if headers else _header(task, metric)
                    header = name + protocol_suffix(protocol, data, list(keys))
                    columns.append(Column(header, task, metric, protocol, data))
        if len(keys) != 1:  # with exactly one protocol, published values stand in its column
            several = " [published]" if keys else ""
            for metric in METRICS["segmentation"] + METRICS["linear"]:
                if (task, metric) in beside:
                    columns.append(Column(_header(task, metric) + several, task, metric))
    return tuple(columns)


def _header(task: str, metric: str) -> str:
    return DECK.get((task, metric)) or f"{task} {SHORT.get(metric, metric.removesuffix('_percent'))}"


def _measured(frame: pd.DataFrame, columns: Sequence[Column]) -> list[Row]:
    """One row per pretraining and recipe: without pretraining first, then by data set and name."""
    values: dict[tuple[object, ...], list[float]] = {}  # row and column -> values, in the order of seeds
    leading: dict[tuple[str, str], tuple[str, str]] = {}
    for line in frame.sort_values("seed", kind="stable").to_dict("records"):
        leading[line["pretrain"], line["recipe"]] = (line["pretrain_set"], line["backbone"])
        key = tuple(line[name] for name in ("pretrain", "recipe", "task", "metric", "protocol", "data"))
        values.setdefault(key, []).append(line["value"])
    names = Counter(pretrain for pretrain, _ in leading)
    rows = []
    for (pretrain, recipe), (pretrain_set, backbone) in leading.items():
        label = f"{pretrain} @{recipe[:8]}" if names[pretrain] > 1 else pretrain
        cells: list[Cell | None] = []
        for column in columns:
            here = values.get((pretrain, recipe, column.task, column.metric, column.protocol, column.data))
            cells.append(Cell(tuple(here), summarise(here)) if here else None)
        rows.append(Row((pretrain_set, label, backbone), tuple(cells), name=pretrain, label=label))
    return sorted(rows, key=lambda row: (row.leading[0] != "none", row.leading))


def _published_row(row: PublishedRow, columns: Sequence[Column]) -> Row:
    shared = {column.task for column in columns if column.protocol} - {c.task for c in columns if not c.protocol}
    cells: list[Cell | None] = []
    for column in columns:
        value = row.values.get((column.task, column.metric))
        here = value is not None and (not column.protocol or column.task in shared)
        cells.append(Cell((value,), summarise([value]), published=True) if here and value is not None else None)
    return Row((row.pretrain_set, row.pretrain, row.backbone), tuple(cells), published=True, name=row.pretrain)


def _baseline(rows: Sequence[Row], baseline: str | None) -> Row | None:
    """The row that differences are taken to, if this section has it."""
    found = [row for row in rows if (baseline or CONTROL) in {row.name, row.label}]
    if len(found) > 1 and baseline is not None:
        raise BadInput(f"Baseline {baseline!r} is ambiguous; say one of {', '.join(row.label for row in found)}.")
    return found[0] if len(found) == 1 else None


def _differences(rows: Sequence[Row], base: Row | None) -> list[Row]:
    if base is None:
        return list(rows)
    result = []
    for row in rows:
        cells = []
        for cell, below in zip(row.cells, base.cells, strict=True):
            if row is not base and cell is not None and below is not None:
                difference = cell.summary.mean - below.summary.mean
                cell = replace(cell, difference=difference, verdict=compare(cell.values, below.values))
            cells.append(cell)
        result.append(replace(row, cells=tuple(cells)))
    return result


def _best(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Mark the highest mean of each column in percent (as displayed, so that visible ties are ties), if rows compete.

    Of other quantities, such as a rank, more is not better.
    """
    marked = [list(row.cells) for row in rows]
    for index in (i for i, column in enumerate(columns) if column.metric.endswith("_percent")):
        shown = [round(cell.summary.mean, 2) for row in rows if (cell := row.cells[index]) is not None]
        highest = max(shown, default=0.0)
        for cells in marked:
            cell = cells[index]
            if cell is not None and len(shown) > 1 and round(cell.summary.mean, 2) == highest:
                cells[index] = replace(cell, best=True)
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, marked, strict=True)]


# ------------------------------------------------------------------------------------------- the folder


@dataclass(frozen=True)
class Page:
    """What one file of the tables folder shows, in each of the formats: `<stem>.md`, `<stem>.csv`, …"""

    stem: str
    heading: Heading
    sections: Sequence[Section]

    def text(self, format: str) -> str:
        """Return it as `markdown`, `csv`, `latex` or `html`."""
        return render(self.sections, format, self.heading)


def pages_of(results_dir: Path, baseline: str | None = None) -> tuple[Page, Page]:
    """The pages of a folder: `transfer` (how good) and `resources` (at what cost).

    One without a reference of its own shows published rows beside full rows only.
    """
    records = read_all(results_dir / "records")
    reference = reference_folder(results_dir)
    if reference.parent != results_dir and all(record.profile != "full" for record in records):
        reference = results_dir / "reference"
    transfer = Page("transfer", TRANSFER, build_tables(records, reference, baseline))
    return transfer, Page("resources", RESOURCES, build_resources(records))


def render_tables(results_dir: Path, format: str, baseline: str | None = None) -> str:
    """Return the transfer tables of a results folder as `markdown`, `csv`, `latex` or `html`."""
    return pages_of(results_dir, baseline)[0].text(format)


def small_image_sections(results_dir: Path) -> str:
    """Return the sections of small images as Markdown, or "" where no record is of any."""
    transfer, _ = pages_of(results_dir)
    sections = [section for section in transfer.sections if section.key.startswith("small_images")]
    measured = any(not row.published for section in sections for row in section.rows)
    return render(sections, "markdown", SMALL) if measured else ""


def write_tables(results_dir: Path, pages: Sequence[Page] | None = None) -> list[Path]:
    """Write `tables/{transfer,resources}.{md,csv,tex,html}` of a results folder, each whole or not at all.

    `pages` are those of this folder, if the caller has them already. Returns the files.

    Raises BadInput when a record is broken or the folder cannot be written.
    """
    pages = pages_of(results_dir) if pages is None else pages
    folder = results_dir / "tables"
    files = []
    for page in pages:
        for format, suffix in SUFFIXES.items():
            file = folder / f"{page.stem}.{suffix}"
            temporary = folder / f".{file.name}.{os.getpid()}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                temporary.write_text(page.text(format), encoding="utf-8", newline="\n")
                temporary.replace(file)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise BadInput(
                    f"Cannot write to {folder} ({reason}); mend its permissions or give another --results-dir."
                ) from error
            files.append(file)
    return files


def check_tables(results_dir: Path) -> list[str]:
    """Return one sentence per table file that is missing or differs from what the records give ([]: all agree)."""
    differences = []
    for page in pages_of(results_dir):
        for format, suffix in SUFFIXES.items():
            file = results_dir / "tables" / f"{page.stem}.{suffix}"
            if not file.is_file():
                differences.append(f"{file} is missing")
                continue
            found = file.read_bytes().decode("utf-8", "replace")
            wanted = page.text(format)
            if found != wanted:
                differences.append(f"{file} differs: {_first_change(found, wanted)}")
    return differences


def _first_change(found: str, wanted: str) -> str:
    """The first line that differs, said shortly."""
    old, new = found.splitlines(), wanted.splitlines()
    for number, (line, other) in enumerate(zip(old, new, strict=False), 1):
        if line != other:
            same = next((i for i, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), len(other))
            start = max(0, same - 20)
            return f"line {number} has {line[start : start + 60]!r}, the records give {other[start : start + 60]!r}"
    return f"it has {len(old)} lines, the records give {len(new)}" if len(old) != len(new) else "line ends differ"
