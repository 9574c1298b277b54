"""Our results against those of lightly's objectives under the same settings, with 95 % intervals.

    python benchmarks/peer_agreement.py [--ours results] [--theirs results/peers] [--write]

Which records are compared is decided by what they say, not by their names: the same task and protocol, and
pretrainings that differ in nothing but the objective, whose settings are the same as far as both have them. The
difference is that of the means over seeds, its interval Welch's (Student's distribution, unequal variances; seeds are
taken as independent, and their results as normal). `--write` keeps what is printed in results/experiments/peers.json,
of which `section` makes a part of a page.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from peer_pairs import PAIRS, Pair
from writing import escaped, table

from bench.checkout import git
from bench.errors import BadInput
from bench.files import write_text
from bench.record import Record, read_all
from bench.results.as_now import as_now
from bench.results.frame import without_repeats
from bench.results.statistics import difference_of, singly, variance

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "results" / "experiments" / "peers.json"
MODULE = "peer_objectives.py:"
MARGIN = 1.5  # points
METRIC = "top1_percent"


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs in one column, in points of per cent."""

    objective: str
    theirs: str  # the class
    task: str
    rows: tuple[str, str]  # names of the pretrainings
    ours_by_seed: dict[str, float]
    theirs_by_seed: dict[str, float]
    difference: float
    low: float | None  # of the interval; None where it is not defined
    high: float | None
    settings: dict[str, Any] = field(default_factory=dict)  # of the pretraining, that a reader wants to know

    @property
    def verdict(self) -> str:
        """What the difference and its interval say about MARGIN."""
        if abs(self.difference) > MARGIN:
            return f"more than {MARGIN} apart"
        if self.low is None or self.high is None:
            return f"within {MARGIN}; no interval with so few seeds"
        inside = max(-self.low, self.high) <= MARGIN
        return f"within {MARGIN}, and so is the interval" if inside else f"within {MARGIN}; the interval reaches beyond"


def interval(values: Sequence[float], others: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the difference of means by Welch's t; (None, None) where there is no spread."""
    found = difference_of(singly(values), singly(others))
    return (None, None) if found is None else (found.low, found.high)


def differences(ours: Sequence[Record], theirs: Sequence[Record]) -> tuple[list[Difference], list[str]]:
    """Return the differences, by objective and task, and a line for each row of theirs that has no partner of ours.

    Raises BadInput where theirs has two rows of one objective and task.
    """
    found, alone = [], []
    for (name, task), records in grouped(theirs).items():
        pair, first = PAIRS[name], records[0]
        candidates = [record for record in ours if record.task == task and objective_of(record)["name"] == pair.ours]
        partners = [record for record in candidates if not unlike(record, first, pair)]
        if not partners:
            what = [unlike(record, first, pair) for record in candidates]
            nearest = f"the nearest has other {', '.join(min(what, key=len))}" if what else "none"
            alone.append(f"{first.pretrain} on {task}: no row of {pair.ours} with these settings; {nearest}")
            continue
        mine, others = by_seed(partners), by_seed(records)
        low, high = interval(list(mine.values()), list(others.values()))
        settings = first.settings["pretrain"]
        found.append(
            Difference(
                objective=pair.ours,
                theirs=pair.theirs,
                task=task,
                rows=(partners[0].pretrain, first.pretrain),
                ours_by_seed=mine,
                theirs_by_seed=others,
                difference=fmean(mine.values()) - fmean(others.values()),
                low=low,
                high=high,
                settings={key: settings.get(key) for key in ("dataset", "arch", "epochs", "batch_size")},
            )
        )
    return found, alone


def records_in(results: Path) -> list[Record]:
    """Return the records of a results folder as tables take them: each trunk and seed of a task once."""
    return without_repeats(as_now(read_all(results / "records")))


def grouped(theirs: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Return {(class, task): records} of lightly's objectives, in the order of PAIRS."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in theirs:
        name = objective_of(record)["name"].removeprefix(MODULE)
        if name in PAIRS and METRIC in record.metrics:
            groups.setdefault((name, record.task), []).append(record)
    for (name, task), records in groups.items():
        if len({(record.fingerprints.recipe, record.fingerprints.protocol) for record in records}) > 1:
            raise BadInput(
                f"There are runs of {name} on {task} with different settings; keep each kind in a results folder of "
                "its own, and name one in --theirs."
            )
    order = list(PAIRS)
    return dict(sorted(groups.items(), key=lambda group: (order.index(group[0][0]), group[0][1])))


def objective_of(record: Record) -> dict[str, Any]:
    """Return the objective's settings; its name is "" where a record says nothing of it."""
    return {"name": "", **record.settings.get("pretrain", {}).get("objective", {})}


def unlike(ours: Record, theirs: Record, pair: Pair) -> tuple[str, ...]:
    """Return what makes two results incomparable beside the objective; () for nothing."""
    mine, others = dict(ours.settings["pretrain"]), dict(theirs.settings["pretrain"])
    one, two = mine.pop("objective"), others.pop("objective")
    found = [key for key in sorted({*mine, *others}) if mine.get(key) != others.get(key)]
    common = (one.keys() & two.keys()) - {"name"}
    found += [f"objective.{key}" for key in sorted(common) if one[key] != two[key]]
    found += [f"objective.{key}" for key, value in pair.must.items() if one.get(key, value) != value]
    facts = {
        "protocol": lambda record: record.fingerprints.protocol,
        "data": lambda record: record.data,
        "profile": lambda record: record.profile,
        "precision": lambda record: sorted(set(record.precision.values())),
    }
    return (*found, *(name for name, fact in facts.items() if fact(ours) != fact(theirs)))


def by_seed(records: Sequence[Record]) -> dict[str, float]:
    """Return {seed of the pretraining: mean of its results}."""
    values: dict[int, list[float]] = {}
    for record in records:
        value = record.metrics[METRIC]
        assert not isinstance(value, dict)
        values.setdefault(record.seed, []).append(float(value))
    return {str(seed): fmean(values[seed]) for seed in sorted(values)}


def keep(part: str, results: Any, file: Path = KEPT) -> None:
    """Put a part of the results in the place of what the file had of it, with when and by what it was made."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    checkout = git()
    kept[part] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": checkout.commit,
        "dirty": checkout.dirty,
        "versions": {"python": sys.version.split()[0]}
        | {name: version(name) for name in ("torch", "lightly", "numpy")},
        "results": results,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def section(file: Path = KEPT) -> str:
    """Return what is kept as a part of a page in Markdown, under a heading of the second level."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return "\n\n".join(
        filter(None, (INTRO, *results_of(kept.get("agreement")), *steps_of(kept.get("steps")), defaults()))
    )


INTRO = """## The same runs by a peer's code

`benchmarks/peer_objectives.py` has objectives from outside whose loss, heads, memory bank and momentum updates are
lightly's. Network, views, order of the images, optimizer, schedule and evaluation are this harness's. Each has the
settings of the run of ours that it is compared with. To repeat it, with CIFAR-10 below DIR:

    bench run --pretrain benchmarks/peer_configs/*.py --downstream cifar10_knn cifar10_linear_adam --seeds 0-2 \\
        --data-root DIR --results-dir results/peers
    .venv/bin/python benchmarks/peer_agreement.py --write"""


def results_of(kept: Mapping[str, Any] | None) -> list[str]:
    """Return the table of differences, with what it means."""
    if not kept:
        return ["No such run has been recorded yet."]
    found = [Difference(**{**each, "rows": tuple(each["rows"])}) for each in kept["results"]["differences"]]
    rows = [
        [
            escaped(each.objective),
            escaped(each.task),
            shown(each.ours_by_seed),
            shown(each.theirs_by_seed),
            f"{each.difference:+.2f}",
            "–" if each.low is None or each.high is None else f"{each.low:+.2f} to {each.high:+.2f}",
            each.verdict,
        ]
        for each in found
    ]
    head = ["objective", "task", "ours", "lightly's", "difference", "95 % interval", f"within ±{MARGIN} points?"]
    within = sum(abs(each.difference) <= MARGIN for each in found)
    names = {each.objective for each in found if abs(each.difference) <= MARGIN}
    blocks = [
        "Top-1 in per cent, mean ± standard deviation over seeds. The interval is of the difference of means, by "
        "Welch's t over seeds: it covers the start of the weights, the order of the images and the views, not the "
        "choice of images. "
        f"{within} of {len(found)} differences, of {len(names)} objectives, are at most {MARGIN} points. Versions: "
        f"{', '.join(f'{name} {number}' for name, number in kept['versions'].items())}; {kept['date']}."
    ]
    blocks.append(table(head, rows, left=2))
    remaining = [
        f"- `{each}`: {PAIRS[each].differs}." for each in dict.fromkeys(e.theirs for e in found) if PAIRS[each].differs
    ]
    if remaining:
        blocks += ["What remains different between a run and its counterpart:", "\n".join(remaining)]
    if kept["results"]["alone"]:
        blocks += ["Without a counterpart:", "\n".join(f"- {escaped(line)}." for line in kept["results"]["alone"])]
    return blocks


def steps_of(kept: Mapping[str, Any] | None) -> list[str]:
    """Return the table of single steps."""
    if not kept:
        return []
    rows = [
        [
            f"`{name}`",
            f"`{each['ours']}`",
            *(f"{each[key]:.0e}" if each[key] else "identical" for key in ("loss", "gradient", "weights")),
        ]
        for name, each in kept["results"].items()
    ]
    steps = max(each["steps"] for each in kept["results"].values())
    return [
        f"Step by step: with the same weights, the same batches in float64 and SGD, {steps} steps of both agree to "
        "these relative differences (`benchmarks/peer_steps.py`). Biases and shifts that one of both lacks are held at "
        "0 for that, and norms of SwAV are taken by their running statistics.",
        table(["lightly's", "ours", "loss", "encoder's gradient", "encoder's weights"], rows, left=2),
    ]


def defaults() -> str:
    """Return the list of what lightly has otherwise by default."""
    rows = [
        [escaped(pair.ours), escaped(each.what), escaped(each.lightly), escaped(each.here)]
        for pair in PAIRS.values()
        for each in pair.defaults
    ]
    text = "Where lightly's own defaults, examples or benchmarks are others, the settings of our run are taken:"
    return f"{text}\n\n{table(['objective', 'what', 'lightly', 'here'], rows, left=4)}"


def shown(by: Mapping[str, float]) -> str:
    """Write mean ± standard deviation (number of seeds)."""
    values = list(by.values())
    spread = f" ± {math.sqrt(variance(values)):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread} ({len(values)})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, default=ROOT / "results", help="results folder of our runs")
    parser.add_argument("--theirs", type=Path, default=ROOT / "results" / "peers", help="that of lightly's objectives")
    parser.add_argument("--write", action="store_true", help="keep the result in results/experiments/peers.json")
    chosen = parser.parse_args(arguments)
    try:
        theirs = records_in(chosen.theirs)
        found, alone = differences(records_in(chosen.ours), theirs)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    if not found and not alone:
        print(
            f"There are no runs of lightly's objectives in {chosen.theirs / 'records'}; name the folder of the results "
            "in --theirs.",
            file=sys.stderr,
        )
        return 2
    for each in found:
        low_high = "no interval" if each.low is None else f"95 % {each.low:+.2f} to {each.high:+.2f}"
        means = f"ours {shown(each.ours_by_seed)}, lightly's {shown(each.theirs_by_seed)}"
        print(
            f"{each.objective} on {each.task}: {means}, difference {each.difference:+.2f}, {low_high}: {each.verdict}"
        )
    for line in alone:
        print(line)
    if chosen.write:
        keep("agreement", {"differences": [asdict(each) for each in found], "alone": alone})
    return 0


if __name__ == "__main__":
    sys.exit(main())
