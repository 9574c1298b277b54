"""Derive docs/performance.md and its figures from results/benchmarks/*.json. Neither is ever edited.

    python benchmarks/render.py            # write them
    python benchmarks/render.py --check    # say whether the committed ones are what the results give

The same results give the same bytes.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from interleave import ROOT
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from report import RESULTS, Exponent, best_peer, exponent, height, is_peer, rates, ratios

from bench.errors import BadInput
from bench.results.formats import escape_markdown

DOCS = ROOT / "docs"
PAGE, FIGURES = "performance.md", "performance"  # a file and a folder below docs/

# The order of the page: files whose names start so, then all others by name.
ORDER = ("views", "small", "pack", "loader", "step", "ranks", "frozen", "knn", "segmentation", "harness", "startup")
GPU = "gpu_"
PLAIN = "harness_"  # what has no peers and no ratios that tell anything: their goals are seconds

# What is timed there runs in processes that the contender starts, of which its own peak memory says nothing.
STARTS_OTHERS = frozenset({"ranks", "harness_commands", "harness_starts"})

# ------------------------------------------------------------------------------------------- the files

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Open(BaseModel):
    """What a file must have; it may hold further facts."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Sample(_Open):
    """One measurement."""

    seconds: Positive
    units: Positive


class Contender(_Open):
    """One way to do the work, with its samples in the order of the rounds."""

    about: str = ""
    peer: bool = False
    samples: list[Sample] = Field(min_length=1)
    ready_seconds: float = Field(ge=0)
    peak_mib: float = Field(ge=0)
    peak_device_mib: float = Field(default=0.0, ge=0)


class Git(_Open):
    """The code's commit."""

    commit: str | None = None
    dirty: bool | None = None


class Hardware(_Open):
    """The machine."""

    cpu: str
    cores: int
    memory_gib: float
    bf16: str = ""


class Taken(_Open):
    """When, where and with what."""

    date: str
    git: Git
    hardware: Hardware
    versions: dict[str, str | None] = {}
    peer_versions: dict[str, str | None] = {}


class Check(_Open):
    """A goal that is no ratio."""

    what: str
    found: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    goal: Positive
    unit: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether what was found is on the right side of the goal."""
        return self.found <= self.goal if self.at_most else self.found >= self.goal

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        goal, found = (f"{number(value)} {self.unit}".rstrip() for value in (self.goal, self.found))
        return f"Goal: {self.what}, {bound} {goal}: {'met' if self.met else 'missed'}, {found}."


class _File(_Open):
    benchmark: str
    title: str
    notes: list[str] = []
    taken: Taken
    device: dict[str, str | int | float | None] = {}  # of a GPU
    checks: list[Check] = []


class Comparison(_File):
    """Contenders measured in turn."""

    unit: str
    baseline: str
    goals: dict[str, Positive] = {}
    goals_best_peer: dict[str, Positive] = {}
    peers: list[str] = []
    contenders: dict[str, Contender] = Field(min_length=1)

    @property
    def memory_is_known(self) -> bool:
        """Whether the peak memory of its contenders is that of what was timed.

        Where it is the same for all, it is what the process held that started them: results of before a contender
        read its own say so of those that hold less.
        """
        alike = len(self.contenders) > 1 and len({one.peak_mib for one in self.contenders.values()}) == 1
        return not alike and self.benchmark.removeprefix(GPU) not in STARTS_OTHERS

    @model_validator(mode="after")
    def _names(self) -> Comparison:
        for name in (self.baseline, *self.goals, *self.goals_best_peer, *self.peers):
            if name not in self.contenders:
                raise ValueError(f"there is no contender {name!r}")
        if len({len(one.samples) for one in self.contenders.values()}) > 1:
            raise ValueError("contenders differ in their number of samples, so that there are no whole rounds")
        return self


class Point(_Open):
    """The samples at one size."""

    x: float
    samples: list[Sample] = Field(min_length=1)


class Axes(_Open):
    """What grows with what."""

    x: str
    y: str = "seconds"
    series: dict[str, Annotated[list[Point], Field(min_length=1)]] = Field(min_length=1)


class Curve(_File):
    """Growth: samples at several sizes."""

    curve: Axes


class Finding(_File):
    """Figures that are no speeds: by row and column; None where there is none."""

    figures: dict[str, dict[str, float | None]] = Field(min_length=1)


Measurement = Comparison | Curve | Finding


def read(file: Path) -> Measurement:
    """Read one file; BadInput names what is wrong with it and the remedy."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known: dict[str, type[Curve] | type[Finding]] = {"curve": Curve, "figures": Finding}
        key = next((key for key in known if isinstance(content, dict) and key in content), "")
        kind: type[Measurement] = known.get(key, Comparison)
        measurement = kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
    except (OSError, ValueError) as error:
        reason = str(error)
    else:
        if measurement.benchmark == file.stem:
            return measurement
        reason = f"it holds the benchmark {measurement.benchmark!r}"
    raise BadInput(f"{file} is not a benchmark that this version reads ({reason}); measure it anew, or delete it.")


def read_all(folder: Path) -> list[Measurement]:
    """Return the measurements of a folder in the order of the page ([] if there is no folder)."""

    def place(file: Path) -> tuple[int, str]:
        name = file.stem.removeprefix(GPU)
        return next((i for i, known in enumerate(ORDER) if name.startswith(known)), len(ORDER)), name

    return [read(file) for file in sorted(folder.glob("*.json"), key=place)]


# ---------------------------------------------------------------------------------------------- figures


class Line(BaseModel):
    """One contender, as the tables have it."""

    name: str
    about: str
    peer: bool
    rate: list[float]
    to_base: list[float]
    to_peer: list[float] | None
    goal: float | None
    goal_peer: float | None
    ready_seconds: float
    peak_mib: float
    peak_device_mib: float

    @property
    def met(self) -> bool | None:
        """Whether its median ratios reach its goals; None without any."""
        reached = []
        if self.goal is not None:
            reached.append(statistics.median(self.to_base) >= self.goal)
        if self.goal_peer is not None:
            reached.append(self.to_peer is not None and statistics.median(self.to_peer) >= self.goal_peer)
        return all(reached) if reached else None


def lines(comparison: Comparison) -> list[Line]:
    """Return all contenders of a comparison with their figures."""
    content = comparison.model_dump()
    peer = best_peer(content)
    rate, to_base = rates(content), ratios(content, comparison.baseline)
    to_peer = ratios(content, peer) if peer is not None else None
    return [
        Line(
            name=name,
            about=one.about,
            peer=is_peer(content, name),
            rate=rate[name],
            to_base=to_base[name],
            to_peer=to_peer[name] if to_peer else None,
            goal=comparison.goals.get(name),
            goal_peer=comparison.goals_best_peer.get(name),
            ready_seconds=one.ready_seconds,
            peak_mib=one.peak_mib,
            peak_device_mib=one.peak_device_mib,
        )
        for name, one in comparison.contenders.items()
    ]


def ours(all_lines: Sequence[Line]) -> list[Line]:
    """Return the contenders of ours that stand for a comparison: those with goals, or else the fastest."""
    own = [line for line in all_lines if not line.peer]
    aimed = [line for line in own if line.met is not None]
    return aimed or sorted(own, key=lambda line: -statistics.median(line.rate))[:1]


def heights(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Return {series: [(x, y), …]}, y the median over samples."""
    return {
        name: sorted((point.x, height([s.model_dump() for s in point.samples], axes.y)) for point in points)
        for name, points in axes.series.items()
    }


# ------------------------------------------------------------------------------------------------- text


def number(value: float) -> str:
    """Write a figure with three digits, without powers of ten where that reads well."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2e}" if value < 0.001 else f"{value:.3g}"


def times(value: float) -> str:
    """Write a ratio."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def spread(values: Sequence[float], write: Callable[[float], str]) -> str:
    """Write a median with the lowest and the highest value."""
    if len(values) == 1:
        return write(values[0])
    return f"{write(statistics.median(values))} ({write(min(values))} to {write(max(values))})"


def verdict(line: Line) -> str:
    """Say whether the goals were met; a goal that was missed is shown as missed."""
    return {None: "–", True: "met", False: "**missed**"}[line.met]


def aims(line: Line) -> str:
    """Write the goals of a contender."""
    found = [f"{line.goal:g}×"] if line.goal is not None else []
    if line.goal_peer is not None:
        found.append(f"{line.goal_peer:g}× best peer")
    return ", ".join(found) or "–"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Write a Markdown table whose first `left` columns are text."""
    rules = [":---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rules, *rows))


def comparison_text(comparison: Comparison) -> str:
    """Write one comparison."""
    all_lines = lines(comparison)
    peer = best_peer(comparison.model_dump())
    on_device = any(line.peak_device_mib for line in all_lines)
    head = ["contender", f"{comparison.unit}/s", "× baseline", "× best peer", "goal", "", "memory, MiB", "ready, s"]
    head[7:7] = ["GPU memory, MiB"] if on_device else []
    rows = []
    for line in all_lines:
        marks = ["baseline"] if line.name == comparison.baseline else []
        if line.peer:
            marks.append("best peer" if line.name == peer else "peer")
        marked = f" ({', '.join(marks)})" if marks else ""
        row = [
            escape_markdown(line.name) + marked,
            spread(line.rate, number),
            spread(line.to_base, times),
            spread(line.to_peer, times) if line.to_peer else "–",
            aims(line),
            verdict(line),
            f"{line.peak_mib:,.0f}" if comparison.memory_is_known else "–",
            f"{line.ready_seconds:.1f}",
        ]
        row[7:7] = [f"{line.peak_device_mib:,.0f}"] if on_device else []
        rows.append(row)
    told = [f"{line.name}: {line.about}" for line in all_lines if line.about]
    rounds = len(all_lines[0].rate)
    checks = list(map(str, comparison.checks))
    unknown = [] if comparison.memory_is_known else ["Memory is not shown: what was kept is not that of the work."]
    notes = [
        *checks,
        *told,
        *comparison.notes,
        *unknown,
        f"{rounds} round{'s' if rounds > 1 else ''}. {provenance(comparison)}",
    ]
    return "\n\n".join([f"### {escape_markdown(comparison.title)}", table(head, rows), bullets(notes)])


def curve_text(curve: Curve) -> str:
    """Write one growth curve, sizes downwards, with the exponent of each series below."""
    axes, found = curve.curve, heights(curve.curve)
    sizes = sorted({x for points in found.values() for x, _ in points})
    columns = {name: dict(points) for name, points in found.items()}
    rows = [[f"{x:,.12g}", *(number(column[x]) if x in column else "–" for column in columns.values())] for x in sizes]
    fits = {name: exponent(points) for name, points in found.items()}
    rows.append(["**exponent**", *(f"**{fit}**" if fit else "–" for fit in fits.values())])
    head = [escape_markdown(text) for text in (axes.x, *(f"{name}, {axes.y}" for name in columns))]
    parts = [f"### {escape_markdown(curve.title)}", table(head, rows, left=0)]
    parts.append(f"![{escape_markdown(curve.title)}]({FIGURES}/{curve.benchmark}.svg)")
    return "\n\n".join(
        [*parts, bullets([*map(str, curve.checks), *growth_notes(axes, fits), *curve.notes, provenance(curve)])]
    )


def finding_text(finding: Finding) -> str:
    """Write figures as a table."""
    columns = list(dict.fromkeys(name for row in finding.figures.values() for name in row))
    rows = [
        [escape_markdown(name), *("–" if (value := row.get(column)) is None else f"{value:.4g}" for column in columns)]
        for name, row in finding.figures.items()
    ]
    notes = [*map(str, finding.checks), *finding.notes, provenance(finding)]
    head = ["", *map(escape_markdown, columns)]
    return "\n\n".join([f"### {escape_markdown(finding.title)}", table(head, rows), bullets(notes)])


def growth_notes(axes: Axes, fits: dict[str, Exponent | None]) -> list[str]:
    """Name the series of times that grow faster than their size beyond doubt: by more than two standard errors."""
    if axes.y.endswith("/s"):
        return []
    bound = 0.0 if axes.y.startswith("seconds per ") else 1.0
    above = [name for name, fit in fits.items() if fit and fit.error is not None and fit.b - 2 * fit.error > bound]
    return [f"Above linear: {', '.join(above)}."] if above else []


def bullets(items: Sequence[str]) -> str:
    """Write sentences as a list."""
    return "\n".join(f"- {escape_markdown(item)}" for item in items)


def provenance(measurement: Measurement) -> str:
    """Say when, where and with what something was measured."""
    taken = measurement.taken
    machine = f"{taken.hardware.cpu}, {taken.hardware.cores} cores, {taken.hardware.memory_gib:.0f} GiB"
    if taken.hardware.bf16:
        machine += f" ({taken.hardware.bf16})"
    device = "; ".join(f"{key} {value}" for key, value in measurement.device.items() if value is not None)
    commit = "no commit" if taken.git.commit is None else f"commit {taken.git.commit[:12]}"
    parts = [f"Measured {taken.date[:10]} at {commit}{' with changes' if taken.git.dirty else ''} on {machine}"]
    parts += [device] if device else []
    parts += [versions(taken.versions)] if any(taken.versions.values()) else []
    parts += [f"peers: {versions(taken.peer_versions)}"] if taken.peer_versions else []
    return "; ".join(parts) + "."


def versions(found: dict[str, str | None]) -> str:
    """List the versions of packages; that of the project itself is its commit."""
    return ", ".join(f"{name} {version}" for name, version in found.items() if version and name != "bench")


INTRO = """# Performance

Derived from `results/benchmarks/*.json` by `benchmarks/render.py`; never edited.

    make bench                                       # all CPU benchmarks and this page; about 20 minutes on two cores
    make bench ARGS="--only views knn"               # some of them
    make bench ARGS="--images DIR"                   # your photographs instead of rendered ones
    .venv/bin/python benchmarks/gpu.py               # the same on a GPU, in one sitting of under 9 minutes

`make peers`, which `make bench` runs first, installs the peers into an environment of their own (`.venv-peers`, pinned
and hashed in `benchmarks/peers.lock`).

## What the figures mean

- **Interleaved ratios.** Each contender of a comparison is a process of its own. All are alive together, where memory
  allows it, and take one sample each in turn while the others sleep, beginning with another one each round. A ratio
  is taken between samples of the *same* round, and the figure is the median over the rounds (in brackets the lowest
  and the highest). A machine that drifts, or is shared, drifts for all alike: ratios hold there, rates don't.
- **Baseline and best peer.** The baseline is the peer as shipped, or, where there is none, what this project did
  before. The best peer is the fastest one at any of its settings that were tried.
- **Goals** were set before the work. One is met when the median ratio reaches it, else it is shown as missed.
- **Memory** is the most that the contender's process held (resident, with its libraries) from its start to its end, in
  MiB; its ratios are those of single figures, and less is better. *Ready* is the time from the start to the end of the
  warm-up, compilation included.
- **Exponents** are the slope of a straight line through the logarithms (least squares over the medians, ± its standard
  error): for seconds, 1 is linear growth; for seconds a unit, 0; for rates, 1 is perfect scaling and 0 none."""

SOLO_LEARN = """## Peers

lightly is measured as it is installed. solo-learn is not installed: its only release on PyPI (1.0.2) pins torch 1.9.1,
which has no wheel for Python 3.11 or newer. Its files are pinned by hash (`benchmarks/sololearn.lock`) and laid
beside the peers' environment without what it depends on. Its BYOL transform, heads, loss and momentum update run
from there as they are, in a plain loop (`benchmarks/sololearn.py`); its trainer, written for PyTorch Lightning 1.4,
does not."""

NO_GPU = (
    "No GPU was at hand when these results were taken. `benchmarks/gpu.py` measures the same there, on one machine "
    "without network; its path is tested on a CPU with tiny sizes. Not measured, and aimed at: an epoch of 50,000 "
    'images of 32 pixels (BYOL, ResNet-18, two views, `view_backend="resident"`) in less than 3 s on an H200, 5 times '
    "lightly's loop or more."
)
NOTHING = "Nothing has been measured yet: `make bench` does it."


def page(measurements: Sequence[Measurement]) -> str:
    """Write the whole page."""
    here = [m for m in measurements if not m.benchmark.startswith(GPU)]
    gpu = [m for m in measurements if m.benchmark.startswith(GPU)]
    parts = [INTRO, "## In short"]
    parts += short(here) if any(isinstance(m, Comparison) for m in here) else [NOTHING]
    parts += memory(here)
    parts += sections("Comparisons", here, Comparison) + sections("Growth", here, Curve)
    parts += sections("Do results stay the same?", here, Finding)
    parts.append("## On a GPU")
    parts += [text(m) for m in gpu] or [NO_GPU]
    return "\n\n".join([*parts, SOLO_LEARN]) + "\n"


def sections(heading: str, measurements: Sequence[Measurement], kind: type[Measurement]) -> list[str]:
    """Write all measurements of a kind under one heading."""
    found = [text(m) for m in measurements if isinstance(m, kind)]
    return [f"## {heading}", *found] if found else []


def text(measurement: Measurement) -> str:
    """Write one measurement."""
    if isinstance(measurement, Comparison):
        return comparison_text(measurement)
    return curve_text(measurement) if isinstance(measurement, Curve) else finding_text(measurement)


def short(measurements: Sequence[Measurement]) -> list[str]:
    """Write the tables and the figure that hold the gist: of all comparisons, and of the goals that are no ratios."""
    rows = []
    for comparison in measurements:
        if isinstance(comparison, Comparison) and not comparison.benchmark.startswith(PLAIN):
            rows += [
                [
                    escape_markdown(comparison.title),
                    escape_markdown(line.name),
                    times(statistics.median(line.to_base)),
                    times(statistics.median(line.to_peer)) if line.to_peer else "–",
                    aims(line),
                    verdict(line),
                ]
                for line in ours(lines(comparison))
            ]
    head = ["comparison", "ours", "× baseline", "× best peer", "goal", ""]
    checks = [
        [
            escape_markdown(check.what),
            f"{number(check.found)} {check.unit}".rstrip(),
            f"{'≤' if check.at_most else '≥'} {number(check.goal)}",
            "met" if check.met else "**missed**",
        ]
        for measurement in measurements
        for check in measurement.checks
    ]
    other = [table(["other goals", "found", "goal", ""], checks, left=1)] if checks else []
    figure = f"![Ours and the best peer against the baseline]({FIGURES}/ratios.svg)"
    return [table(head, rows, left=2), *other, figure]


def memory(measurements: Sequence[Measurement]) -> list[str]:
    """Write the peak memory of what stands for each comparison, against the baseline's and the best peer's."""
    rows = []
    for comparison in measurements:
        if not isinstance(comparison, Comparison) or comparison.benchmark.startswith(PLAIN):
            continue
        if not comparison.memory_is_known:
            continue
        all_lines, peer = lines(comparison), best_peer(comparison.model_dump())
        held = {line.name: line.peak_mib for line in all_lines}
        for line in ours(all_lines):
            others = [held.get(name) if name else None for name in (comparison.baseline, peer)]
            compared = [times(line.peak_mib / other) if other else "–" for other in others]
            rows.append([*map(escape_markdown, (comparison.title, line.name)), f"{line.peak_mib:,.0f}", *compared])
    head = ["comparison", "ours", "peak memory, MiB", "× baseline", "× best peer"]
    return ["## Memory", table(head, rows, left=2)] if rows else []


# ---------------------------------------------------------------------------------------------- drawing


def drawing() -> Any:
    """Return pyplot, set so that the same figures give the same bytes (imported late: it takes half a second)."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "bench",
            "svg.fonttype": "none",  # text as text: the reader's fonts, no outlines
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.axisbelow": True,
        }
    )
    from matplotlib import pyplot

    return pyplot


def svg(figure: Any) -> str:
    """Return a figure as text, without the date and the version of what drew it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing().close(figure)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def bars(measurements: Sequence[Comparison]) -> str:
    """Draw for each comparison the best peer and ours, as ratios to the baseline, with goals as strokes."""
    groups: list[tuple[str, list[tuple[str, float, bool, float | None]]]] = []
    for comparison in measurements:
        all_lines, peer = lines(comparison), best_peer(comparison.model_dump())
        chosen = [line for line in all_lines if line.name == peer] + ours(all_lines)
        found = [(line.name, statistics.median(line.to_base), line.peer, line.goal) for line in chosen]
        groups.append((comparison.title, found))
    rows = sum(len(found) + 1 for _, found in groups)
    from matplotlib import ticker

    words = max(len(word) for title, found in groups for word in (title, *(name for name, *_ in found)))
    pyplot = drawing()
    inches, margin = 0.22 * rows + 0.7, 0.4 + 0.07 * words
    figure = pyplot.figure(figsize=(margin + 5.5, inches))
    axes = figure.add_axes((margin / (margin + 5.5), 0.5 / inches, 5 / (margin + 5.5), 1 - 0.6 / inches))
    position, ticks = 0.0, {}
    for title, found in groups:
        ticks[position] = title
        for name, ratio, peer_line, goal in found:
            position += 1
            ticks[position] = f"{name} "
            axes.barh(position, ratio - 1, 0.75, left=1, color="#9a9a9a" if peer_line else "#2a6fb0")
            axes.text(ratio, position, f" {times(ratio)}", va="center", fontsize=8)
            if goal is not None:
                axes.plot([goal, goal], [position - 0.45, position + 0.45], color="#d1495b", linewidth=2)
        position += 1
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(axis="y", visible=False)
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
    titles = {title for title, _ in groups}
    for label in axes.get_yticklabels():
        if label.get_text() in titles:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(position - 0.5, -0.7)
    axes.set_xlabel("× baseline (grey: the best peer; blue: ours; red: a goal)")
    return svg(figure)


def plot(curve: Curve) -> str:
    """Draw one growth curve; on logarithmic axes where no size is 0."""
    pyplot = drawing()
    figure = pyplot.figure(figsize=(7, 4))
    axes = figure.add_axes((0.11, 0.13, 0.86, 0.84))
    found = heights(curve.curve)
    for name, points in found.items():
        fit = exponent(points)
        label = f"{name} (exponent {fit})" if fit else name
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=4, label=label)
    sizes = sorted({x for points in found.values() for x, _ in points})
    if sizes[0] > 0:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if len(sizes) <= 10:
        axes.set_xticks(sizes, [f"{x:,.12g}" for x in sizes])
        axes.xaxis.set_minor_formatter("")
    axes.set_xlabel(curve.curve.x)
    axes.set_ylabel(curve.curve.y)
    axes.legend(frameon=False)
    return svg(figure)


# ------------------------------------------------------------------------------------------------ files


def render(results: Path) -> dict[str, str]:
    """Return all files below docs/ that a folder of results gives: {relative name: text}. Raises BadInput."""
    measurements = read_all(results)
    files = {PAGE: page(measurements)}
    comparisons = [m for m in measurements if isinstance(m, Comparison) and not m.benchmark.startswith(GPU)]
    if comparisons:
        files[f"{FIGURES}/ratios.svg"] = bars(comparisons)
    curves = [m for m in measurements if isinstance(m, Curve)]
    return files | {f"{FIGURES}/{curve.benchmark}.svg": plot(curve) for curve in curves}


def differences(wanted: dict[str, str], docs: Path) -> list[str]:
    """Say how the files below `docs` differ from those wanted; [] if they don't."""
    there = {PAGE, *(f"{FIGURES}/{file.name}" for file in (docs / FIGURES).glob("*"))}
    found = [f"{docs / name} belongs to no result" for name in sorted(there - set(wanted))]
    for name, content in wanted.items():
        file = docs / name
        if not file.is_file():
            found.append(f"{file} is missing")
        elif (old := file.read_bytes().decode("utf-8", "replace")) != content:
            pairs = zip(old.splitlines(), content.splitlines(), strict=False)
            line = next((n for n, (a, b) in enumerate(pairs, 1) if a != b), "after the last")
            found.append(f"{file} differs from what the results give (line {line})")
    return found


def write(wanted: dict[str, str], docs: Path) -> None:
    """Write the files, and remove figures that belong to no result."""
    (docs / FIGURES).mkdir(parents=True, exist_ok=True)
    for file in (docs / FIGURES).glob("*.svg"):
        if f"{FIGURES}/{file.name}" not in wanted:
            file.unlink()
    for name, content in wanted.items():
        (docs / name).write_bytes(content.encode())
    if not any((docs / FIGURES).iterdir()):
        (docs / FIGURES).rmdir()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 when files differ, 2 for a result that cannot be read."""
    parser = argparse.ArgumentParser(description="Derive docs/performance.md from results/benchmarks/*.json.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the files differ")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR")
    options = parser.parse_args(arguments)
    say = functools.partial(print, file=sys.stderr)
    try:
        wanted = render(options.results)
    except BadInput as error:
        say(error)
        return 2
    if not options.check:
        write(wanted, options.docs)
        print(f"wrote {', '.join(str(options.docs / name) for name in wanted)}")
        return 0
    found = differences(wanted, options.docs)
    for sentence in found:
        say(sentence)
    if found:
        say("Run .venv/bin/python benchmarks/render.py and commit what it writes.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
