"""Derive docs/plots.md and its pictures from records under results/, and from the small grid in docs/plots_example.

    python docs/plots.py [--check]

--check compares the page, and whether each picture is there; the bytes of pictures follow matplotlib's version.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from bench.files import write_text  # noqa: E402
from bench.record import Record, read_all  # noqa: E402
from bench.results.plots import PLOTS, WIDE, Content, Sources  # noqa: E402
from bench.results.plots.files import save  # noqa: E402

PAGE = ROOT / "docs" / "plots.md"
PICTURES = ROOT / "docs" / "images"
EXAMPLE = ROOT / "docs" / "plots_example"

# Which committed records a picture is of; figures that are not here are of the example's grid.
CHOSEN: dict[str, tuple[str, Callable[[Record], bool]]] = {
    "transfer": ("the positive control on CIFAR-10", lambda record: record.arch == "resnet18w16"),
    "trade-off": (
        "three rows in profile mini, and the published rows of the deck",
        lambda record: record.arch == "resnet50",
    ),
    "class-iou": ("ResNet-18 on CamVid", lambda record: record.arch == "resnet18" and record.kind == "segmentation"),
    "scores": ("ResNet-18 on CamVid", lambda record: record.arch == "resnet18" and record.kind == "segmentation"),
    "alignment-uniformity": ("diagnostics in profile mini", lambda record: record.kind == "diagnostics"),
    "spectra": (
        "some of the diagnostics in profile mini",
        lambda record: record.kind == "diagnostics" and record.pretrain in SPECTRA,
    ),
}
SPECTRA = {
    *("coco", "random_init", "imagenet_supervised", "imagenet_simclr", "imagenet_barlow_twins"),
    "imagenet_instance_discrimination",
}

INTRO = """# Figures

Derived by `python docs/plots.py` from records; never edited.

`bench plot` draws a figure of records, or of what pretrainings have logged, as SVG, PDF or PNG:

    bench plot --list                                   # what there is, and what each figure lacks here
    bench plot transfer --to transfer.pdf               # of all records in results/
    bench plot transfer --rows simclr byol --width column --to transfer.pdf transfer.svg
    bench plot losses --work-dir runs                   # logs are in the work folder of bench run

`--width column` is 3.3 inches, a column of a two-column paper; `page`, the default, is 6.9. Text is 7 and 8 points in
both. Colours are those of Okabe and Ito, which colour-blind readers can tell apart; markers and dashes differ as well,
for print in grey. Text in an SVG stays text. The command prints a caption that says what the marks mean. The same
numbers give the same bytes.

Rules for all figures:

- Numbers that were measured by different protocols, on different data or states of data, with another network, or in
  another profile never share an axis. Published rows have axes of their own.
- Means, intervals and what counts as one pretraining are those of the [tables](statistics.md). An interval is that of
  one row; whether two rows differ is what `bench table` and `bench compare` say.
- Long curves are drawn as means of equal parts of their steps, with a band from the least to the largest value, so that
  no spike is lost; the caption says so.
- Damaged lines of a log, and values that are not finite, are left out, and counted in the caption.
- Where a figure has no room, the caption counts what is left out, and `--rows` chooses.

In Python, `bench.results.plots.drawn(Sources(records, work_dirs))` gives every figure that there is data for, with its
caption, the numbers behind it, and an `<svg>` element whose colours are the CSS variables `--plot-1` to `--plot-7`,
`--plot-ink`, `--plot-muted`, `--plot-grid` and `--plot-ground`, so that a page can be light or dark.
"""


def main() -> None:
    """Write the page and its pictures, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the page or a picture is not there"
    )
    check = parser.parse_args().check
    contents = {name: _content(name) for name in PLOTS}
    page = _page(contents)
    if not check:
        for name, content in contents.items():
            save(PLOTS[name], content, _picture(name), WIDE)
        write_text(PAGE, page)
        return
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit(f"{PAGE.relative_to(ROOT)} differs from what the records give; run python docs/plots.py")
    if missing := [name for name in PLOTS if not _picture(name).is_file()]:
        sys.exit(f"{_picture(missing[0]).relative_to(ROOT)} is missing; run python docs/plots.py")


def _picture(name: str) -> Path:
    return PICTURES / f"plot-{name}.svg"


def _content(name: str) -> Content:
    content = PLOTS[name].content(_sources(name))
    if content is None:
        sys.exit(f"No records for the figure {name}: {PLOTS[name].needs}")
    return content


def _sources(name: str) -> Sources:
    folder, work = (ROOT / "results", []) if name in CHOSEN else (EXAMPLE, [EXAMPLE])
    records = read_all(folder / "records")
    chosen = [record for record in records if name not in CHOSEN or CHOSEN[name][1](record)]
    return Sources([(folder / "records" / record.file_name, record) for record in chosen], work)


def _page(contents: dict[str, Content]) -> str:
    parts = [INTRO]
    for name, plot in PLOTS.items():
        of = CHOSEN[name][0] if name in CHOSEN else "the grid in `docs/plots_example`"
        said = [textwrap.fill(words, 120) for words in (f"{plot.shows} Here: {of}.", contents[name].caption)]
        parts.append(f"## {name}\n\n{said[0]}\n\n![{plot.title}](images/{_picture(name).name})\n\n{said[1]}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
