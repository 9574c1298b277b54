"""The pages of a results folder, from its records; the tables folder, written and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.studies import reference_folder, tables_of
from bench.errors import writing_to
from bench.files import write_text
from bench.record import Record, read_all
from bench.results.as_now import as_now
from bench.results.formats import AS_KEPT, RESOURCES, SUFFIXES, TRANSFER, Heading, Look, render
from bench.results.parts import Part, build_parts
from bench.results.resources import build_resources
from bench.results.sections import Section
from bench.results.selection import EVERYTHING, Selection, in_given_order, selected_sections
from bench.results.trunks import Trunks


def build_tables(
    records: Sequence[Record], reference: Path, baseline: str | None = None, trunks: Trunks | None = None
) -> list[Section]:
    """Return the sections of the transfer page; arguments and errors are those of `build_parts`."""
    return [section for part in build_parts(records, reference, baseline, trunks) for section in part.sections()]


@dataclass(frozen=True)
class Page:
    """What the files `<stem>.md`, `<stem>.csv`, … of the tables folder show."""

    stem: str
    heading: Heading
    sections: Sequence[Section]

    def text(self, format: str, look: Look = AS_KEPT) -> str:
        """Return it in one of the formats of `render`."""
        return render(self.sections, format, self.heading, look)


def pages_of(results_dir: Path, baseline: str | None = None) -> tuple[Page, Page]:
    """The pages of a folder: `transfer` (how good) and `resources` (at what cost).

    Where the published rows are the shipped ones, they are shown only if something was measured in profile full.
    """
    records = records_of(results_dir)
    return page_of(parts_of(results_dir, records, baseline)), resources_page(records)


def records_of(results_dir: Path) -> list[Record]:
    """The records of a folder, grouped by the fingerprints of today."""
    return as_now(read_all(results_dir / "records"))


def parts_of(results_dir: Path, records: Sequence[Record], baseline: str | None = None) -> list[Part]:
    """The parts of a folder's transfer page. Raises BadInput as `build_parts`."""
    reference = reference_folder(results_dir)
    if reference.parent != results_dir and all(record.profile != "full" for record in records):
        reference = results_dir / "reference"
    return build_parts(records, reference, baseline)


def page_of(parts: Sequence[Part], selection: Selection = EVERYTHING) -> Page:
    """The transfer page of parts that were chosen by `selection`."""
    sections = [section for part in parts for section in in_given_order(part.sections(), selection)]
    return Page("transfer", TRANSFER, sections)


def resources_page(records: Sequence[Record], selection: Selection | None = None) -> Page:
    """The page of time and memory, or what is chosen of it. Raises BadInput as `selected_sections`."""
    sections = build_resources(records)
    return Page("resources", RESOURCES, sections if selection is None else selected_sections(sections, selection))


def study_sections(results_dir: Path) -> str:
    """Return the sections of studies' tables that hold measured rows as Markdown, or "" where there are none."""
    transfer, _ = pages_of(results_dir)
    texts = []
    for name, table in tables_of(reference_folder(results_dir)).items():
        keys = {name, *(f"{name}_{end}" for end in ("mini", "smoke", "gap"))} if table.datasets else set()
        sections = [section for section in transfer.sections if section.key in keys]
        if any(not row.published for section in sections for row in section.rows):
            heading = Heading(f"Results on {table.title[0].lower()}{table.title[1:]}", TRANSFER.legend)
            texts.append(render(sections, "markdown", heading))
    return "\n".join(texts)


def write_tables(results_dir: Path, pages: Sequence[Page] | None = None) -> list[Path]:
    """Write `tables/{transfer,resources}.{md,csv,tex,html}` of a results folder, each whole or not at all.

    `pages` are those of this folder, if the caller has them already. Returns the files. Raises BadInput when a record
    is broken or the folder cannot be written.
    """
    folder = results_dir / "tables"
    texts = _files(results_dir, pages_of(results_dir) if pages is None else pages)
    with writing_to(folder, "--results-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            write_text(file, text)
    return list(texts)


def check_tables(results_dir: Path) -> list[str]:
    """Return one sentence per table file that is missing or differs from what the records give ([]: all agree)."""
    differences = []
    for file, wanted in _files(results_dir, pages_of(results_dir)).items():
        if not file.is_file():
            differences.append(f"{file} is missing")
        elif (text := file.read_bytes().decode("utf-8", "replace")) != wanted:
            differences.append(f"{file} differs: {_first_change(text, wanted)}")
    return differences


def _files(results_dir: Path, pages: Sequence[Page]) -> dict[Path, str]:
    """{file: text} of a results folder."""
    return {
        results_dir / "tables" / f"{page.stem}.{suffix}": page.text(format)
        for page in pages
        for format, suffix in SUFFIXES.items()
    }


def _first_change(text: str, wanted: str) -> str:
    """The first line that differs, said shortly."""
    old, new = text.splitlines(), wanted.splitlines()
    for number, (line, other) in enumerate(zip(old, new, strict=False), 1):
        if line != other:
            same = next((i for i, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), len(other))
            start = max(0, same - 20)
            return f"line {number} has {line[start : start + 60]!r}, the records give {other[start : start + 60]!r}"
    return f"it has {len(old)} lines, the records give {len(new)}" if len(old) != len(new) else "line ends differ"
