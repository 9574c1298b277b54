"""How a pretraining's outputs spread over their dimensions, on validation images: the trunk's, and the projector's.

Reads the proven trunk, and the pretraining's `last.ckpt`, whose encoder must be that trunk to the bit. Writes
`spectrum.json`: {"backbone": singular values of the centred covariance of normalised outputs, the largest first, and
"projector" where the objective has one}, and `spectrum.svg`, which shows their logarithms.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from bench.config.tasks import DiagnosticsTask
from bench.convert.matching import trunk_hash
from bench.convert.proof import load_proven
from bench.data.images import EvalDataset, ViewDataset, in_order
from bench.data.sets import index, pretraining_index
from bench.data.views import SIMCLR_VIEWS, normalised
from bench.errors import BadInput, StageFailed, one_line
from bench.files import write_text
from bench.nn.representation import spectrum
from bench.objectives.base import Objective
from bench.progress import Progress
from bench.stages.features import loaded, subset
from bench.stages.job import Job
from bench.stages.load_proof import SIZES, fixed_pixels, prove_network
from bench.stages.pretrain import exported, start
from bench.train.checkpoint import LAST, read
from bench.train.monitor import measures
from bench.train.precision import is_bf16

SEED = 0  # of the choice of images and of their views, whatever the seed of the run


def run(job: Job) -> dict[str, Any]:
    """Measure the outputs of the objective that `inputs["pretrain"]` holds, whose encoder `inputs["convert"]` proved.

    Returns, with the prefixes `backbone_` and `projector_`: std_sqrt_dim (1 where outputs spread over the sphere),
    effective_rank and rankme (in dimensions), uniformity, alignment, with classes tolerance and knn_percent (each image
    by its neighbours among the others), dims, and log10_spectrum at the powers of two (None: 0); images, and how many
    were skipped as unreadable.

    Raises BadInput for missing data or weights, StageFailed when the encoder is not the proven trunk, or an output is
    not finite.
    """
    task = job.config
    assert isinstance(task, DiagnosticsTask)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = subset(index(task.dataset, job.data_root(task.dataset), "val"), task.images, SEED)
    objective = restored(job).to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    trunk = load_proven(job.inputs["convert"], job.recipe.export if job.recipe is not None else None)
    _same(objective, trunk.hash)
    pixels = fixed_pixels(*SIZES[trunk.stem])
    seen = normalised(pixels.to(device), torch.channels_last)
    name, encoder = "the objective's encoder", objective.encoder
    proof = prove_network(trunk, name, encoder, seen, encoder.maps, pixels=pixels, precisions=(task.precision,))
    print(proof.words, flush=True)

    pack = job.pack(task.dataset, "val", "evaluation")
    centre = EvalDataset(images, task.size, task.resize, job.unreadable, pack=pack)
    order = in_order(len(images.files), task.batch_size)
    outputs, labels, skipped = _outputs(objective, task, centre, order, device, 1)
    some = subset(images, task.pairs, SEED)
    pair = ViewDataset(some, SIMCLR_VIEWS(task.size, 0.5), SEED, job.unreadable)
    keys = [[(i, i) for i in batch] for batch in in_order(len(some.files), task.batch_size)]
    pairs, _, _ = _outputs(objective, task, pair, keys, device, 2)
    _same(objective, trunk.hash)

    metrics: dict[str, Any] = {"images": len(outputs["backbone"][0]), "images_skipped": skipped}
    spectra: dict[str, list[float]] = {}
    for name, (z,) in outputs.items():
        values = measures(z, (pairs[name][0], pairs[name][1]), labels, k=task.neighbours, temperature=task.temperature)
        if not values:
            raise StageFailed(f"The {name}'s outputs are not finite; its pretraining diverged.")
        spectra[name] = spectrum(z).tolist()
        metrics |= {f"{name}_{key}": value for key, value in values.items()}
        metrics |= {f"{name}_dims": z.shape[1], f"{name}_log10_spectrum": at_powers_of_two(spectra[name])}
    write_text(job.folder / "spectrum.json", json.dumps(spectra))
    write_text(job.folder / "spectrum.svg", plot(spectra))
    return metrics


def restored(job: Job) -> Objective:
    """Return the objective of the job's pretraining, with the weights of its last checkpoint.

    Raises BadInput when the checkpoint is missing or does not fit, or its data set, which is counted, is missing.
    """
    recipe = job.recipe
    assert recipe is not None
    counts = {}
    if recipe.dataset != "none":
        train = pretraining_index(recipe.dataset, job.data_root(recipe.dataset))
        counts = {"num_classes": len(train.classes), "num_images": len(train.files)}
    objective, _ = start(recipe, job.pretraining_seed, None, **counts)
    file = job.inputs["pretrain"] / LAST
    try:
        objective.load_state_dict(read(file)["objective"])
    except RuntimeError as error:
        raise BadInput(f"{file} does not fit its recipe ({one_line(error)}); run its pretrain stage again.") from error
    if (network := exported(objective, recipe)) != "encoder":  # then its head, too, is the copy
        copied = network.removesuffix("encoder") + "projector"
        objective.encoder = objective.get_submodule(network)  # type: ignore[assignment]
        if hasattr(objective, copied):
            objective.projector = objective.get_submodule(copied)
    return objective


def _same(objective: Objective, proven: str) -> None:
    """Check that the encoder is the proven trunk."""
    if trunk_hash(objective.encoder.state_dict()) != proven:
        raise StageFailed("The encoder that is looked at is not the trunk of the proof; run the convert stage again.")


@torch.no_grad()
def _outputs(
    objective: Objective,
    task: DiagnosticsTask,
    dataset: Dataset[Any],
    keys: Sequence[list[Any]],
    device: torch.device,
    views: int,
) -> tuple[dict[str, list[Tensor]], Tensor | None, int]:
    """Return ({output: for each view N×D float32}, labels N if there are any, skipped images), all on the CPU."""
    parts: dict[str, list[list[Tensor]]] = {}
    labels: list[Tensor] = []
    skipped = 0
    with (
        loaded(dataset, keys, task, device, views * sum(map(len, keys))) as batches,
        Progress(f"{'images' if views == 1 else 'pairs'} {task.name}", len(keys), "batches") as progress,
    ):
        for batch in batches:
            skipped += batch.skipped
            if batch.labels is not None:
                labels.append(batch.labels)
            for view, pixels in enumerate(batch.views):
                if not len(pixels):
                    continue
                images = normalised(pixels.to(device), torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16(task.precision)):
                    outputs = objective.outputs(images)
                for name, z in outputs.items():
                    parts.setdefault(name, [[] for _ in range(views)])[view].append(z.float().cpu())
            progress.update(1, **batches.waits.shown())
    if not parts or sum(map(len, next(iter(parts.values()))[0])) < 2:
        raise BadInput("Fewer than two validation images can be read; bench data check says why.")
    joined = {name: [torch.cat(rows) for rows in of_views] for name, of_views in parts.items()}
    return joined, torch.cat(labels) if labels else None, skipped


def at_powers_of_two(values: Sequence[float]) -> dict[str, float | None]:
    """Return {place (1 is the largest): log₁₀ σ} at the powers of two and the last place; None where σ is 0."""
    places = sorted({*(2**i for i in range(len(values).bit_length()) if 2**i <= len(values)), len(values)})
    return {str(k): math.log10(values[k - 1]) if values[k - 1] > 0 else None for k in places}


def plot(spectra: Mapping[str, Sequence[float]], width: int = 480, height: int = 300) -> str:
    """Return an SVG with log₁₀ σ_k over k for each output, down to 10⁻¹² of the largest σ of all."""
    colours = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
    longest = max(map(len, spectra.values()))
    top = math.log10(max(max(values) for values in spectra.values()) or 1.0)
    lowest = min((v for values in spectra.values() for v in values if v > 0), default=1.0)
    bottom = max(top - 12, min(math.log10(lowest), top - 1))
    left, right, above, below = 50, 12, 12, 36
    x: Callable[[int], float] = lambda k: left + (width - left - right) * k / max(1, longest - 1)  # noqa: E731
    y: Callable[[float], float] = lambda v: above + (height - above - below) * (top - v) / (top - bottom)  # noqa: E731
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11"><rect width="100%" height="100%" fill="white"/>',
        f'<path d="M{left},{above}V{height - below}H{width - right}" fill="none" stroke="black"/>',
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">k, of {longest}</text>',
        f'<text x="4" y="{above + 10}">log₁₀ σ</text>',
        *(f'<text x="{left - 4}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.1f}</text>' for v in (top, bottom)),
    ]
    for number, (name, values) in enumerate(spectra.items()):
        colour, line = colours[number % len(colours)], above + 12 + 14 * number
        points = " ".join(f"{x(k):.1f},{y(max(bottom, math.log10(v))):.1f}" for k, v in enumerate(values) if v > 0)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{width - 16}" y="{line}" text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
