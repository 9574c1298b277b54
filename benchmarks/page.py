"""Derive docs/performance.md from results/benchmarks/*/*.json. It is never edited.

    python benchmarks/page.py            # write it
    python benchmarks/page.py --check    # say whether the committed one is what the results give

The same results give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from comparisons import COMPARISONS, CPU, GPU
from everyday import everyday
from measurements import ROOT, Compared, Curve, Figures, Measurement, exponent, read
from untried import untried
from writing import escaped, number, spread, table, times

from bench.errors import BadInput
from bench.processor import CLASSES, MachineClass

DOCS, RESULTS = ROOT / "docs", ROOT / "results" / "benchmarks"
PAGE = "performance.md"
PLACES = {comparison.name: place for place, comparison in enumerate(COMPARISONS)}
Classes = Mapping[MachineClass, Sequence[Measurement]]
PLAIN = "harness_"  # what has no peers: goals are seconds
PARTS = ("view_stages",)  # contenders there are parts of one whole, of which the fastest says nothing
# What is timed there runs in processes that the contender starts, of which its own peak memory says nothing.
STARTS_OTHERS = ("ranks", "harness_commands", "harness_starts")
CAMPAIGNS = ("faults", "fuzz", "concurrency")  # what was attacked, and what came of it: docs/reliability.md has these
OF_THEIR_OWN = ("estimates",)  # measured by a script of that name, not by run.py
# The commit that has the scripts of what was measured once and is not repeated.
ONCE = "5830159"

MINUTES = {name: round(sum(one.seconds for one in part) / 60) for name, part in (("cpu", CPU), ("cuda", GPU))}

INTRO = """# Performance

Derived from `results/benchmarks/*/*.json` by `benchmarks/page.py`; never edited."""

MEASURE = f"""## Measuring

    make bench                                       # all on the CPU, and this page; {MINUTES["cpu"]} minutes at most
    make bench ARGS="--only views knn"               # some areas or comparisons
    make bench ARGS="--images DIR"                   # your photographs instead of rendered ones
    .venv/bin/python benchmarks/run.py --device cuda # the same on a GPU; {MINUTES["cuda"]} minutes at most

`make peers`, which `make bench` runs first, installs the peers into an environment of their own (`.venv-peers`, pinned
and hashed in `benchmarks/peers.lock`). What is compared is a table: `benchmarks/comparisons.py`.

Results go into the folder of the machine's class, and leave those of other classes as they are. A class is decided by
the best instructions that a processor reports, or by the name of a GPU. Where environment variables such as
`ATEN_CPU_CAPABILITY` leave some unused, it is a class of its own, never that of a processor without them."""

MEANING = """## What the figures mean

- **Interleaved ratios.** Each contender of a comparison is a process of its own. All are alive together, where memory
  allows it, and take one sample each in turn while the others wait, beginning with another one each round. A ratio
  is taken between samples of the *same* round, and the figure is the median over the rounds (in brackets the lowest
  and the highest). A machine whose speed drifts, or that is shared, affects all alike: ratios hold there, rates don't.
- **Baseline and best peer.** The baseline is the peer as shipped, or, where there is none, what this project did
  before. The best peer is the fastest one at any of its settings that were tried.
- **Goals** were set before the work, some for one class of machine alone. One is met when the median ratio reaches it,
  else it is shown as missed.
- **bf16** is measured where the processor multiplies it natively. Elsewhere it is emulated, and every contender in bf16
  is measured in float32 instead (see `benchmarks/emulation.py`); a note below the comparison says so.
- **Memory** is the most that the contender's process held (resident, with its libraries) from its start to its end, in
  MiB; its ratios are those of single figures, and less is better. *Ready* is the time from the start to the end of the
  warm-up, compilation included.
- **Exponents** are the slope of a straight line through the logarithms (least squares over the medians, ± its standard
  error): for seconds, 1 is linear growth; for rates, 1 is perfect scaling and 0 none."""

SOLO_LEARN = """## Peers

lightly is measured as it is installed. solo-learn is not installed: its only release on PyPI (1.0.2) pins torch 1.9.1,
which has no wheel for Python 3.11 or newer. Its files are pinned by hash (`benchmarks/sololearn.lock`) and laid
beside the peers' environment without what it depends on. Its BYOL transform, heads, loss and momentum update run
from there as they are, in a plain loop (`benchmarks/sololearn.py`); its trainer, written for PyTorch Lightning 1.4,
does not."""

NO_GPU = (
    "No GPU was at hand when these results were taken. `benchmarks/run.py --device cuda` measures there, without "
    "network; its path is tested on a CPU with tiny sizes. Not measured, and aimed at: an epoch of 50,000 "
    'images of 32 pixels (BYOL, ResNet-18, two views, `view_backend="resident"`) in less than 3 s on an H200, 5 times '
    "lightly's loop or more."
)
VERDICTS = {None: "–", True: "met", False: "**missed**"}
REPEATED_NO_MORE = f"The scripts of these are not kept; they are in the repository's history, at commit {ONCE}."
IN_SHORT = """
A column for each class of machine: how many times as fast as the baseline (in brackets the lowest and the highest of
all rounds) and as the best peer, the memory against the baseline's, and the goal for that class. "–" was not measured
there.""".lstrip()
NOTHING = "Nothing has been measured yet: `make bench` does it."


# ------------------------------------------------------------------------------------------------- text


def provenance(measurement: Measurement) -> str:
    """Say when, where and with what something was measured."""
    taken = measurement.taken
    machine = f"{taken.hardware.cpu}, {taken.hardware.cores} cores, {taken.hardware.memory_gib:.0f} GiB"
    limits = [f"{name}={value}" for name, value in taken.hardware.limits.items()]
    if taken.hardware.features:
        machine += f" ({', '.join([taken.hardware.features, *limits])})"
    commit = "no commit" if taken.git.commit is None else f"commit {taken.git.commit[:12]}"
    parts = [f"Measured {taken.date[:10]} at {commit}{' with changes' if taken.git.dirty else ''} on {machine}"]
    parts += ["; ".join(f"{key} {value}" for key, value in measurement.device.items() if value is not None)]
    parts += [versions(taken.versions), f"peers: {versions(taken.peer_versions)}" if taken.peer_versions else ""]
    return "; ".join(filter(None, parts)) + "."


def versions(packages: dict[str, str | None]) -> str:
    """List the versions of packages; that of the project itself is its commit."""
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version and name != "bench")


# ------------------------------------------------------------------------------------------ comparisons


class Line:
    """One contender of a comparison, with what the tables say of it."""

    def __init__(self, comparison: Compared, name: str) -> None:
        rates, base, best = comparison.rates(), comparison.baseline, comparison.best_peer()
        self.name, self.result, self.peer = name, comparison.contenders[name], comparison.is_peer(name)
        self.rate, self.to_base = rates[name], rates[name] / rates[base]
        self.to_peer = None if best is None else rates[name] / rates[best]
        self.memory = self.result.peak_mib / (comparison.contenders[base].peak_mib or float("nan"))
        aims = {"": (comparison.goals, self.to_base), " best peer": (comparison.goals_best_peer, self.to_peer)}
        aimed = {words: (goals[name], ratio) for words, (goals, ratio) in aims.items() if name in goals}
        reached = [ratio is not None and ratio.median() >= goal for goal, ratio in aimed.values()]
        self.met = all(reached) if reached else None
        self.aims = ", ".join(f"{goal:g}×{words}" for words, (goal, _) in aimed.items()) or "–"
        marks = ["baseline"] if name == base else []
        marks += ["best peer" if name == best else "peer"] if self.peer else []
        self.title = escaped(name) + (f" ({', '.join(marks)})" if marks else "")


def ours(lines: Sequence[Line]) -> list[Line]:
    """Return the contenders of ours that stand for a comparison: those with goals, or else the fastest."""
    mine = [line for line in lines if not line.peer]
    aimed = [line for line in mine if line.met is not None]
    return aimed or sorted(mine, key=lambda line: -line.rate.median())[:1]


def memory_is_known(comparison: Compared) -> bool:
    """Whether the peak memory of its contenders is that of what was timed.

    Where it is the same for all, it is what the process held that started them: results of before a contender read its
    own say so of those that hold less.
    """
    alike = len(comparison.contenders) > 1 and len({one.peak_mib for one in comparison.contenders.values()}) == 1
    return not alike and comparison.benchmark.removeprefix("gpu_") not in STARTS_OTHERS


def section(measurement: Measurement, head: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str]) -> str:
    """Write a measurement: its table, its goals that are no ratios, notes, and where it was measured."""
    goals = [
        f"Goal: {check.what}, {'at most' if check.at_most else 'at least'} "
        + f"{number(check.goal)} {check.unit}".rstrip()
        + f": {'met' if check.met else 'missed'}, {number(check.value)} {check.unit}".rstrip()
        + "."
        for check in measurement.checks
    ]
    items = "\n".join(f"- {escaped(item)}" for item in (*goals, *notes, provenance(measurement)))
    return "\n\n".join([f"### {escaped(measurement.title)}", table(list(map(escaped, head)), rows), items])


def compared(comparison: Compared) -> str:
    """Write one comparison."""
    lines, known = [Line(comparison, name) for name in comparison.contenders], memory_is_known(comparison)
    on_device = any(line.result.peak_device_mib for line in lines)
    rows = [
        [
            line.title,
            spread(line.rate, number),
            spread(line.to_base, times),
            "–" if line.to_peer is None else spread(line.to_peer, times),
            line.aims,
            VERDICTS[line.met],
            f"{line.result.peak_mib:,.0f}" if known else "–",
            *([f"{line.result.peak_device_mib:,.0f}"] if on_device else []),
            f"{line.result.ready_seconds:.1f}",
        ]
        for line in lines
    ]
    head = ["contender", f"{comparison.unit}/s", "× baseline", "× best peer", "goal", "", "memory, MiB"]
    head += [*(["GPU memory, MiB"] if on_device else []), "ready, s"]
    notes = [f"{line.name}: {line.result.about}" for line in lines if line.result.about] + comparison.notes
    notes += [] if known else ["Memory is not shown: what was kept is not that of the work."]
    return section(comparison, head, rows, [*notes, f"Rounds: {len(lines[0].rate)}."])


def curve(measurement: Curve) -> str:
    """Write one growth curve, sizes downwards, with the exponent of each series below."""
    axes, heights = measurement.curve, measurement.curve.heights()
    rows = [[f"{x:,.12g}", *("–" if y != y else number(y) for y in row)] for x, row in heights.iterrows()]
    slopes = {name: exponent(heights[name]) for name in heights}
    rows.append(["**exponent**", *(f"**{slope}**" if slope else "–" for slope in slopes.values())])
    steep = [name for name, slope in slopes.items() if slope is not None and slope.certainly_above(1)]
    above = [f"Above linear: {', '.join(steep)}."] if steep and axes.y == "seconds" else []
    return section(
        measurement, [axes.x, *(f"{name}, {axes.y}" for name in heights)], rows, [*above, *measurement.notes]
    )


def figures(measurement: Figures) -> str:
    """Write figures as a table."""
    frame = pd.DataFrame(measurement.figures).T
    rows = [[escaped(str(name)), *("–" if y != y else f"{y:.4g}" for y in row)] for name, row in frame.iterrows()]
    return section(measurement, ["", *frame], rows, measurement.notes)


# ------------------------------------------------------------------------------------------------- page


def text(measurement: Measurement) -> str:
    """Write one measurement."""
    if isinstance(measurement, Compared):
        return compared(measurement)
    return curve(measurement) if isinstance(measurement, Curve) else figures(measurement)


def in_float32(name: str) -> str:
    """Return the name that a contender has on a machine that emulates bf16, see emulation.py."""
    return name.replace("bf16", "float32")


def cell(comparison: Compared | None, name: str) -> str:
    """Say of a contender of ours what a class of machine gave: ratios, and what became of its goals."""
    if comparison is None:
        return "–"
    lines = [Line(comparison, own) for own in comparison.contenders if in_float32(own) == name]
    if not lines:
        return "–"
    line = ours(lines)[0]
    parts = [spread(line.to_base, times) + (" (one round)" if len(line.rate) == 1 else "")]
    parts += [] if line.to_peer is None else [f"best peer {times(line.to_peer.median())}"]
    parts += [f"memory {times(line.memory)}"] if memory_is_known(comparison) else []
    return ", ".join(parts) + ("" if line.met is None else f"; {line.aims}: {VERDICTS[line.met]}")


def short(classes: Classes) -> list[str]:
    """Write the two tables at the top, a column for each class: comparisons, and the goals that are no ratios."""
    named = {
        machine: {one.benchmark: one for one in measurements if isinstance(one, Compared)}
        for machine, measurements in classes.items()
    }
    order = sorted({name for of in named.values() for name in of if not name.startswith((PLAIN, *PARTS))}, key=place)
    rows = []
    for benchmark in order:
        found = [of[benchmark] for of in named.values() if benchmark in of]
        lines = [line for one in found for line in ours([Line(one, name) for name in one.contenders])]
        for name in dict.fromkeys(in_float32(line.name) for line in lines):
            title = next(line.name for line in lines if in_float32(line.name) == name)
            cells = [cell(of.get(benchmark), name) for of in named.values()]
            rows.append([escaped(found[0].title), escaped(title), *cells])
    checks: dict[str, dict[MachineClass, str]] = {}
    for machine, measurements in classes.items():
        for check in (check for one in measurements for check in one.checks):
            bound = f"{'≤' if check.at_most else '≥'} {number(check.goal)}"
            value = f"{number(check.value)} {check.unit}".rstrip()
            checks.setdefault(check.what, {})[machine] = f"{value}; {bound}: {VERDICTS[check.met]}"
    head = [f"`{machine.name}`" for machine in classes]
    parts = [table(["comparison", "ours", *head], rows, left=2)] if rows else []
    others = [[escaped(what), *(cells.get(machine, "–") for machine in classes)] for what, cells in checks.items()]
    return [*parts, *([table(["other goals", *head], others)] if others else [])]


def place(benchmark: str) -> tuple[int, str]:
    """Return where a benchmark stands on the page: as in the table of comparisons, others behind."""
    return PLACES.get(benchmark, len(PLACES)), benchmark


def by_class(results: Path) -> Classes:
    """Read all results: processors by their instructions, then simulated ones, then GPUs. Raises BadInput."""
    classes: dict[MachineClass, list[Measurement]] = {}
    for file in sorted([*results.glob("*.json"), *results.glob("*/*.json")], key=lambda file: place(file.stem)):
        if file.stem in CAMPAIGNS:
            continue
        one = read(file)
        classes.setdefault(one.machine, []).append(one)
    known = [name for name, *_ in CLASSES]

    def order(machine: MachineClass) -> tuple[bool, bool, int, str]:
        rank = known.index(machine.name) if machine.name in known else len(known)
        return any(one.gpu for one in classes[machine]), machine.simulated, rank, machine.name

    return {machine: classes[machine] for machine in sorted(classes, key=order)}


def details(machine: MachineClass, measurements: Sequence[Measurement]) -> list[str]:
    """Write all that was measured on a class of machine."""
    once = [one for one in measurements if one.benchmark not in (*PLACES, *OF_THEIR_OWN)]
    parts = [f"## Measured on `{machine.name}`", *(text(one) for one in measurements if one not in once)]
    return parts + ([f"## Measured once on `{machine.name}`", REPEATED_NO_MORE, *map(text, once)] if once else [])


def render(results: Path) -> str:
    """Return the page that a folder of results gives. Raises BadInput for a file that is broken."""
    classes = by_class(results)
    parts = [INTRO, "## On your kind of machine", *(everyday(classes) if classes else [NOTHING])]
    parts += ["## In short", IN_SHORT, *short(classes)] if classes else []
    parts += [MEANING, MEASURE]
    for machine, measurements in classes.items():
        parts += details(machine, measurements)
    gpu = any(one.gpu for measurements in classes.values() for one in measurements)
    return "\n\n".join([*parts, "## On a GPU", *([] if gpu else [NO_GPU]), untried(), SOLO_LEARN]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 when the page differs, 2 for a result that cannot be read."""
    parser = argparse.ArgumentParser(description="Derive docs/performance.md from results/benchmarks/*/*.json.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the page differs")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR")
    options = parser.parse_args(arguments)
    file = options.docs / PAGE
    try:
        wanted = render(options.results)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    if not options.check:
        options.docs.mkdir(parents=True, exist_ok=True)
        file.write_bytes(wanted.encode())
        print(f"wrote {file}")
        return 0
    if file.is_file() and file.read_bytes() == wanted.encode():
        return 0
    print(f"{file} is not what the results give; run make performance and commit what it writes.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
