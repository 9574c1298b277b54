"""The first screen of the page: how long usual work takes on each class of machine, and what it takes elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from measurements import Compared, Measurement
from writing import escaped, number, spread, table, times

from bench.execute.words import duration
from bench.processor import CLASSES, MachineClass


class Work(NamedTuple):
    """Something that people do, and the comparison that says how fast it is."""

    what: str
    benchmark: str  # without "gpu_"
    names: tuple[str, ...]  # of our contender; the first that a result has
    amounts: tuple[tuple[str, float], ...]  # in words, and in the comparison's units; {bank} and the like are filled in
    against: str = ""  # the baseline in plain words, where its name is none


IMAGES = (("10,000 images", 10_000.0), ("ImageNet's 1,281,167", 1_281_167.0))
SMALL = (("10,000 images", 10_000.0), ("CIFAR-10's 50,000", 50_000.0))
WORK = (
    Work("Pretraining: BYOL, ResNet-50, 224 pixels, from JPEG files", "step_from_files", ("ours, default",), IMAGES),
    Work("The same from packed images", "step_from_files", ("ours, fast views, uint8 pack",), IMAGES,
         "lightly as shipped, from JPEG files"),
    Work("The same from memory: its training step alone", "step", ("ours, default",), IMAGES),
    Work("Pretraining: BYOL, ResNet-18, 32 pixels", "small_step", ("ours, resident",), SMALL),
    Work("The same on a GPU", "small", ("ours, resident, compiled, CUDA graphs", "ours, resident"), SMALL),
    Work("Linear evaluation of a ResNet-50, from JPEG files", "frozen_linear", ("ours",), IMAGES),
    Work("The same from memory: its training step alone", "frozen", ("bf16 folded", "float32 folded"), IMAGES,
         "float32 as usually written"),
    Work("Nearest neighbours", "knn", ("ours",), (("10,000 queries against {bank:,} features", 10_000.0),)),
    # A step has two images.
    Work("PSPNet, ResNet-50, 512×1024: training", "segmentation_training",
         ("ours, as shipped", "ours, bf16", "ours, float32"), (("Cityscapes' 2,975 images", 2975 / 2),)),
    Work("Its evaluation at 1024×2048", "segmentation_evaluation", ("ours, bf16", "ours, float32"),
         (("Cityscapes' 500 for validation", 500.0),)),
)  # fmt: skip
ON_GPUS = ("small",)  # that have no counterpart on a CPU
NOT_ON_GPUS = ("step_from_files", "small_step", "frozen_linear")

INTRO = """
`bench doctor` names the class of your machine. Times are for one epoch, or for the work that is named, at the rate of
the machine that is named below the heading. More cores take less; where others used the machine, too, times are longer
than they need be, and ratios, which were taken in turn, suffer less. In brackets are the lowest and the highest ratio
of all rounds; "–" was not measured. Other settings, and other peers, some of which are faster than the one here, are
[further down](#in-short).""".lstrip()

SIMULATED = """
Simulated: environment variables make torch and oneDNN leave instructions unused that the processor has. Its caches and
its clock remain its own, and MKL's matrix products may ignore the variables.""".lstrip()


def row(work: Work, results: Mapping[str, Measurement]) -> list[str]:
    """Return the cells of one line."""
    comparison = results.get(work.benchmark)
    names = [name for name in work.names if isinstance(comparison, Compared) and name in comparison.contenders]
    if not names or not isinstance(comparison, Compared):
        return [work.what, "–", "–", "–"]
    rates, ours = comparison.rates(), comparison.contenders[names[0]]
    rate = rates[names[0]].median()
    amounts = [f"{words.format_map(ours.arguments)}: {duration(units / rate)}" for words, units in work.amounts]
    ratio = rates[names[0]] / rates[comparison.baseline]
    against = f"{spread(ratio, times)} × {escaped(work.against or comparison.baseline)}"
    if len(rates) < 3:
        against += f", {'one round' if len(rates) == 1 else 'two rounds'} only"
    return [work.what, f"{number(rate)} {comparison.unit}/s", "; ".join(amounts), against]


def one_class(machine: MachineClass, measurements: Sequence[Measurement]) -> str:
    """Return the table of one class of machine."""
    gpu = any(one.gpu for one in measurements)
    results = {one.benchmark.removeprefix("gpu_"): one for one in measurements}
    rows = [row(work, results) for work in WORK if work.benchmark not in (NOT_ON_GPUS if gpu else ON_GPUS)]
    said = sorted({f"{one.taken.hardware.cpu}, {one.taken.hardware.cores} cores" for one in measurements})
    title = f"### `{machine.name}`: {escaped(machine.words.removeprefix('simulated: '))}"
    parts = [title, *([SIMULATED] if machine.simulated else [])]
    head = ["what", "rate", "takes about", "speed against"]
    return "\n\n".join([*parts, f"Measured on {escaped('; '.join(said))}.", table(head, rows, left=4)])


def everyday(classes: Mapping[MachineClass, Sequence[Measurement]]) -> list[str]:
    """Return the parts of the first screen."""
    missing = [f"`{name}` ({words})" for name, _, words in CLASSES if name not in {one.name for one in classes}]
    last = [f"Not measured yet: {'; '.join(missing)}."] if missing else []
    return [INTRO, *(one_class(machine, measurements) for machine, measurements in classes.items()), *last]
