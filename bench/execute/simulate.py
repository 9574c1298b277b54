"""`bench plan --simulate`: what pretrainings would take on so many GPUs, with every assumption beside the numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.config.processes import check_shares
from bench.config.recipe import Recipe
from bench.errors import BadInput, nearest_or_all
from bench.execute.cluster_time import GB, Cluster, Simulated, Work, simulate
from bench.execute.request import Request
from bench.execute.resolve import resolve
from bench.execute.speed import known, machine

# Images of an epoch by name: as the data sets' authors count them; 100m is a round number for sets from the web.
IMAGES = {"coco": 118_287, "imagenet": 1_281_167, "imagenet22k": 14_197_122, "100m": 100_000_000}
CLASSES = 1000  # assumed for objectives that have a head of classes
# Images a second that a core makes two views of 224 pixels of, from JPEG files of 500×375: measured (an AMD EPYC core
# with AVX-512, docs/performance.md), and rounded down.
CORE_RATES = {"reference": 140.0, "fast": 680.0}


@dataclass(frozen=True)
class Assumption:
    """A value that numbers rest on, and where it comes from."""

    name: str
    value: float
    unit: str
    source: str

    def line(self) -> str:
        """Return this as a line of text."""
        return f"  {self.name:<16} {f'{self.value:,.6g} {self.unit}':<28} {self.source}"


# What `--assume` may say, with what stands in its place: (value, unit, why).
DEFAULTS: dict[str, tuple[float, str, str]] = {
    "link": (25.0, "GB/s a GPU", "a 200 Gb/s port for each GPU between nodes"),
    "node_link": (200.0, "GB/s a GPU", "between the GPUs of a node"),
    "storage": (2.0, "GB/s a node", "read and written over the network"),
    "gpus_per_node": (8, "GPUs", "a common node"),
    "cores_per_node": (96, "cores", "a common node"),
    "image_bytes": (115_000, "bytes an image", "ImageNet's training images: an archive of 148 GB for 1,281,167"),
}
OF_RECIPE = ("core_rate", "parameters", "state_values")  # what follows from the recipe, unless it is given


@dataclass(frozen=True)
class Size:
    """How many values a pretraining's objective has: those that are trained, and all that a checkpoint keeps."""

    trained: int
    kept: int


def size_of(recipe: Recipe, images: int) -> Size:
    """Count an objective's values by building it; a bank of all images is counted without being made.

    Imports torch. Raises BadInput as building does.
    """
    from bench.nn.encoder import build_encoder
    from bench.objectives import build

    def counts(number: int) -> tuple[int, int]:
        encoder = build_encoder(recipe.arch, 0, recipe.stem, recipe.zero_init_residual)
        objective = build(recipe.objective, encoder, CLASSES, number)
        trained = sum(each.numel() for each in objective.parameters() if each.requires_grad)
        return trained, sum(each.numel() for each in objective.state_dict().values())

    few, more = counts(1000), counts(1001)
    trained, kept = (low + (high - low) * (images - 1000) for low, high in zip(few, more, strict=True))
    return Size(trained, kept)


@dataclass(frozen=True)
class Simulation:
    """A pretraining on several numbers of GPUs."""

    name: str
    work: Work
    cluster: Cluster
    assumptions: tuple[Assumption, ...]
    results: tuple[Simulated, ...]

    def lines(self) -> list[str]:
        """Return this as lines of text."""
        work = self.work
        title = (
            f"{self.name}: {work.images:,} images, {work.epochs} epochs of {work.images // work.batch_size:,} steps at "
            f"batch {work.batch_size}; simulated, nothing was run"
        )
        rows = [list(HEAD), *(self.row(result) for result in self.results)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return [title, *table, "assumed:", *(one.line() for one in self.assumptions), *NOT_COUNTED]

    def row(self, result: Simulated) -> list[str]:
        """Return the cells of a number of GPUs, in the order of HEAD."""
        hours = (f"{result.hours:,.1f}", f"{result.hours_not_hidden:,.1f}")
        return [
            f"{result.gpus:,}",
            f"{result.nodes:,}",
            f"{result.images_per_gpu:,}",
            hours[0] if hours[0] == hours[1] else f"{hours[0]} to {hours[1]}",
            f"{result.gpu_hours:,.0f}",
            f"{result.read_per_node / GB:.2f} GB/s",
            f"{result.all_reduce_share:.1%}",
            f"{self.work.checkpoint_bytes / GB:.2f} GB, {result.checkpoint_seconds:.1f} s",
            result.bound,
        ]

    def content(self) -> dict[str, Any]:
        """Return this for JSON."""
        return {
            "pretrain": self.name,
            "simulated": True,
            "work": asdict(self.work) | {"steps": self.work.steps},
            "assumptions": [asdict(one) for one in self.assumptions],
            "gpus": [asdict(one) | {"gpu_hours": one.gpu_hours} for one in self.results],
            "not_counted": [line.strip() for line in NOT_COUNTED[1:]],
        }


HEAD = ("GPUs", "nodes", "images a GPU", "hours", "GPU-hours", "read a node", "all-reduce", "checkpoint", "bound")
NOT_COUNTED = (
    "not counted:",
    "  how a GPU slows down where it has few images of a step",
    "  what norms and losses exchange over GPUs, and the latency of links",
    "  starts, pre-emptions, validation, and machines that fail",
)


def simulate_request(
    request: Request, gpus: str, images: str | None, rate: float | None, given: Mapping[str, float]
) -> list[Simulation]:
    """Simulate each pretraining of a request.

    Args:
        gpus: numbers of GPUs, such as `8,64,512`.
        images: of an epoch: a number, or a name of IMAGES; None: that of the recipe's data set, where IMAGES has it.
        rate: images a second on one GPU; None: as `bench plan --estimate` and `bench reproduce` timed it here.
        given: other assumptions by name; see `assumed`.

    Raises BadInput for what cannot be simulated, with the remedy.
    """
    numbers = _numbers(gpus)
    simulations = []
    for recipe in resolve(request).recipes:
        if recipe.epochs == 0 or recipe.optimizer is None:
            raise BadInput(f"{recipe.name} trains nothing, so there is nothing to simulate; leave it out.")
        count = _images(recipe, images)
        for number in numbers:
            check_shares(recipe, number)
        simulations.append(simulated(recipe, count, numbers, _rate(recipe, rate, request), given))
    return simulations


def simulated(
    recipe: Recipe, images: int, gpus: Sequence[int], rate: Assumption, given: Mapping[str, float]
) -> Simulation:
    """Simulate a pretraining of so many images on so many GPUs, with a rate and other assumptions."""
    assert recipe.optimizer is not None
    if images < recipe.batch_size:
        raise BadInput(f"{images} images fill no batch of {recipe.batch_size}; give more --images.")
    if "parameters" in given:
        trained = int(given["parameters"])
        size, source = Size(trained, int(given.get("state_values", trained))), "from --assume"
    else:
        size, source = size_of(recipe, images), f"counted: {recipe.objective['name']} on a {recipe.arch}"
    slots = 2 if recipe.optimizer.name in {"adam", "adamw"} else 1
    every = recipe.checkpoint.every_steps
    steps = recipe.epochs * (images // recipe.batch_size)
    work = Work(
        images=images,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        gradient_bytes=4 * size.trained,
        checkpoint_bytes=4 * (size.kept + slots * size.trained),
        checkpoints=recipe.epochs if every is None else steps // every,
        background=recipe.checkpoint.background,
    )
    backend = recipe.view_backend if recipe.view_backend in CORE_RATES else "fast"
    measured = f"measured on a core of an AMD EPYC: view_backend={backend}, two views of 224 pixels from JPEG"
    values = {name: Assumption(name, *default) for name, default in DEFAULTS.items()}
    values = {name: replace(one, source=f"assumed: {one.source}") for name, one in values.items()}
    values["core_rate"] = Assumption("core_rate", CORE_RATES[backend], "images/s a core", measured)
    for name, value in given.items():
        if name in values:
            values[name] = replace(values[name], value=value, source="given")
    cluster = Cluster(
        rate=rate.value,
        link=values["link"].value * GB,
        node_link=values["node_link"].value * GB,
        storage=values["storage"].value * GB,
        gpus_per_node=int(values["gpus_per_node"].value),
        cores_per_node=int(values["cores_per_node"].value),
        core_rate=values["core_rate"].value,
        image_bytes=values["image_bytes"].value,
    )
    sizes = (
        Assumption("gradients", work.gradient_bytes / GB, "GB a step", f"float32; {source}"),
        Assumption("checkpoint", work.checkpoint_bytes / GB, "GB", f"weights, copies, {slots} of the optimizer's each"),
    )
    results = tuple(simulate(work, cluster, number) for number in gpus)
    return Simulation(recipe.name, work, cluster, (rate, *values.values(), *sizes), results)


def assumed(words: Sequence[str], link: float | None, storage: float | None) -> dict[str, float]:
    """Return {name: value} of the words of --assume, and of the options that have names of their own.

    `parameters` are the values that are trained, `state_values` all that a checkpoint keeps of the networks. Raises
    BadInput for other words.
    """
    values: dict[str, float] = {}
    names = [*DEFAULTS, *OF_RECIPE]
    for word in words:
        name, equals, text = word.partition("=")
        if name not in names:
            raise BadInput(f"--assume knows no {name!r}{nearest_or_all(name, names)}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        if not equals or type(value) not in {int, float} or not 0 < value < 1e18:
            raise BadInput(f"--assume takes NAME=NUMBER above 0, not {word!r}; write {name}=8.")
        if name in {"gpus_per_node", "cores_per_node", "parameters", "state_values"} and value != int(value):
            raise BadInput(f"--assume {name} is a whole number, not {text}; write {name}={max(1, int(value))}.")
        values[name] = float(value)
    if "state_values" in values and "parameters" not in values:
        raise BadInput(
            "--assume state_values is what a checkpoint holds beside parameters; give parameters=NUMBER, too."
        )
    return values | {name: one for name, one in (("link", link), ("storage", storage)) if one is not None}


def _numbers(words: str) -> list[int]:
    numbers = [int(word) for word in words.split(",") if word.strip().isdecimal() and len(word) < 9]
    if len(numbers) != len(words.split(",")) or not all(numbers):
        raise BadInput(f"--simulate takes numbers of GPUs, not {words!r}; write --simulate 8,64,512.")
    return numbers


def _images(recipe: Recipe, given: str | None) -> int:
    name = recipe.dataset if given is None else given
    if name in IMAGES:
        count = IMAGES[name]
    elif given is not None and re.fullmatch(r"[1-9][0-9]{0,14}", given):
        count = int(given)
    elif given is None:
        raise BadInput(f"How many images {name} has is not known without its data; give --images.")
    else:
        raise BadInput(
            f"--images takes a number, or one of {', '.join(IMAGES)}, not {given!r}; write --images 14197122."
        )
    return count if recipe.subset is None else min(count, recipe.subset)


def _rate(recipe: Recipe, given: float | None, request: Request) -> Assumption:
    if given is not None:
        return Assumption("rate", given, "images/s a GPU", "given by --rate")
    speed = known(recipe, request.work_dir, 1)
    if speed is None or speed.images_per_second is None:
        raise BadInput(
            f"How fast {recipe.name} trains on one GPU was not timed in {request.work_dir}; give "
            "--rate IMAGES_PER_SECOND_PER_GPU."
        )
    return Assumption("rate", speed.images_per_second, "images/s a GPU", f"measured on {machine(1)}: {speed.words}")
