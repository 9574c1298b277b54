"""A frozen trunk: loaded only with its proof, always in eval mode, and proven unchanged at the end.

Linear and kNN evaluation share it. Batch norm in train mode would let the images that are evaluated on change the
features, so that the encoder is in eval mode throughout (as in MoCo's linear evaluation) and its hash is taken again
when all is done.

In the form `folded` a copy of the trunk does the work, whose batch norms are folded into its convolutions; where there
are enough images to pay for it, that copy is compiled. The chain of proof then has these links: the trunk has the hash
of the load proof; the copy in float32 computes the trunk's maps; the copy's own hash stays; and the compiled program
computes what the copy computes, at the start and at the end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bench.config.recipe import Precision, TrunkForm
from bench.config.tasks import KnnTask, LinearTask
from bench.convert.matching import trunk_hash
from bench.convert.proof import fixed_image, load_proven, load_strictly
from bench.data.images import Batch, EvalDataset, Sample, in_order, loader
from bench.data.sets import Index, part
from bench.data.views import normalised
from bench.errors import BadInput, StageFailed
from bench.nn.encoder import Encoder, build_encoder
from bench.progress import Progress
from bench.randomness import generator
from bench.stages.compiled_trunk import amx, compile_frozen, pays
from bench.stages.feature_cache import FeatureCache
from bench.stages.folded_trunk import FoldedEncoder, fold
from bench.stages.job import Job
from bench.train.distributed import Ranks
from bench.train.precision import is_bf16
from bench.train.signals import shielded

FOLDED = 1e-4  # largest difference of the folded copy's maps in float32, relative to the largest value
COMPILED = {torch.float32: 1e-3, torch.bfloat16: 3e-2}  # of the compiled program's features to the copy's, in norm
PIECE = 16  # images that a CPU runs through a folded trunk at once: their maps stay in its cache


class FrozenTrunk:
    """A proven trunk as a function from images to features.

    Args:
        folder: of the convert stage.
        precision: `bf16` runs the trunk in bf16; features are float32 either way.
        device: where it runs; None takes the GPU if there is one.
        form: `autocast` runs the trunk as it is, under autocast for bf16. `folded` runs a copy with folded batch norms
            and weights of that precision; its pooled feature is a mean taken in float32.

    Raises BadInput when the trunk or its proof is missing or does not hold, StageFailed when the folded copy does not
    compute the trunk's maps.
    """

    def __init__(
        self,
        folder: Path,
        precision: Precision = "float32",
        device: torch.device | None = None,
        form: TrunkForm = "autocast",
    ) -> None:
        trunk = load_proven(folder)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision, self.bf16 = precision, is_bf16(precision)
        self.form: TrunkForm = form
        self.hash = trunk.hash
        encoder = build_encoder(trunk.arch, seed=0, stem=trunk.stem)
        load_strictly(encoder, trunk.state, "the encoder")
        encoder.requires_grad_(False).eval()
        self.folded: FoldedEncoder | None = None
        self.compiled: Callable[[Tensor], Tensor] | None = None
        self.piece: int | None = None  # images at once; None: all that are given
        if form == "folded":
            folded = fold(encoder)
            _compare_maps(encoder, folded)
            self.folded = folded.to(self.device, self.dtype, memory_format=torch.channels_last)
            self._folded_hash = trunk_hash(self.folded.state_dict())
            self.piece = PIECE if self.device.type == "cpu" else None
        self.encoder: Encoder = encoder.to(self.device, memory_format=torch.channels_last)

    @property
    def feature_dim(self) -> int:
        """D, the length of a feature."""
        return self.encoder.feature_dim

    @property
    def dtype(self) -> torch.dtype:
        """The type of a folded trunk's weights and maps."""
        return torch.bfloat16 if self.bf16 else torch.float32

    @property
    def words(self) -> dict[str, str]:
        """What decides a feature's bits besides the trunk's weights and the image."""
        return {
            "precision": self.precision,
            "form": self.form,
            "compiled": str(self.compiled is not None),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _cpu_kind(),
            "torch": torch.__version__,
        }

    @property
    def metrics(self) -> dict[str, int]:
        """What a record says of the form: with folded batch norms, whether the trunk was compiled."""
        return {} if self.folded is None else {"trunk_compiled": int(self.compiled is not None)}

    def compile(self, images: int, size: int, batch_size: int, wanted: bool | None = None) -> None:
        """Compile a folded trunk for size×size images, if `images` are enough for that to pay.

        Args:
            images: how many will go through the trunk.
            size: their side in pixels.
            batch_size: how many `features` will be given at once, at most.
            wanted: True compiles however few the images are, False never; None lets their number decide.

        Where it fails, for want of a C++ compiler for instance, one sentence says so, and the trunk runs as before.
        """
        if self.folded is None or wanted is False:
            return
        if wanted is None and not pays(self.encoder.arch, images, size, self.device, self.encoder.stem):
            return
        piece = min(batch_size, PIECE) if self.device.type == "cpu" else batch_size
        probe = self._probe(piece, size)
        compiled = compile_frozen(self.folded, probe)
        if compiled is None:
            return
        difference = self._difference(compiled, probe)
        if not difference <= COMPILED[self.dtype]:
            print(f"compiled features differ by {difference:.2g}: the trunk is not compiled", flush=True)
            return
        self.compiled, self.piece, self._compiled_for = compiled, piece, size

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features, N×D float32 on the device, of images N×3×H×W; they carry no gradient.

        Images in uint8 are normalised first.
        """
        if self.folded is not None:
            return self._folded_features(images)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            images = normalised(images.to(self.device, non_blocking=True), torch.channels_last)
            features = self.encoder(images)
        return features.to(torch.float32, copy=True)  # a copy made here is no inference tensor: a head may train on it

    def _folded_features(self, images: Tensor) -> Tensor:
        assert self.folded is not None
        network = self.folded if self.compiled is None else self.compiled
        found = torch.empty(len(images), self.feature_dim, device=self.device)  # no inference tensor
        with torch.inference_mode():
            piece = self.piece or max(1, len(images))
            for start in range(0, len(images), piece):
                part = normalised(images[start : start + piece].to(self.device, non_blocking=True))
                part = part.to(self.dtype, memory_format=torch.channels_last)
                n = len(part)
                if self.compiled is not None and n < piece:  # the program is for one shape
                    part = torch.cat([part, part[:1].expand(piece - n, -1, -1, -1)])
                    part = part.contiguous(memory_format=torch.channels_last)
                found[start : start + n] = network(part)[:n]
        return found

    def _probe(self, count: int, size: int) -> Tensor:
        """The fixed image, count×3×size×size."""
        image = torch.nn.functional.interpolate(fixed_image(), size=(size, size), mode="bilinear")
        shift = torch.linspace(-0.5, 0.5, count).view(-1, 1, 1, 1)  # no two alike
        return (image + shift).to(self.device, self.dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def _difference(self, compiled: Callable[[Tensor], Tensor], probe: Tensor) -> float:
        assert self.folded is not None
        expected = self.folded(probe)
        return float((compiled(probe) - expected).norm() / expected.norm())

    def check(self) -> None:
        """Prove that nothing changed: not a bit of the trunk, nor of its folded copy; no layer in train mode.

        Raises StageFailed.
        """
        networks: list[Encoder] = [self.encoder] + ([self.folded] if self.folded is not None else [])
        named = [pair for network in networks for pair in network.named_modules()]
        training = [name or "the encoder" for name, module in named if module.training]
        if training:
            raise StageFailed(
                f"The frozen trunk is in train mode ({training[0]}), so that its features are not its own."
            )
        changed = trunk_hash(self.encoder.state_dict()) != self.hash
        if self.folded is not None:
            changed |= trunk_hash(self.folded.state_dict()) != self._folded_hash
        if self.compiled is not None:
            probe = self._probe(self.piece or 1, self._compiled_for)
            changed |= not self._difference(self.compiled, probe) <= COMPILED[self.dtype]
        if changed:
            raise StageFailed("The frozen trunk changed while it was evaluated, so that the result is not about it.")

    @contextmanager
    def watched(self) -> Iterator[FrozenTrunk]:
        """Check before and after what is done with the trunk."""
        self.check()
        yield self
        self.check()


@torch.no_grad()
def _compare_maps(encoder: Encoder, folded: FoldedEncoder) -> None:
    """Check on the fixed image that a float32 copy computes the trunk's last map and its mean; else StageFailed."""
    image = fixed_image()
    ours, theirs = folded.last_map(image), encoder.last_map(image)
    for name, one, other in (("C5", ours, theirs), ("the feature", folded.pool(ours), encoder.pool(theirs))):
        difference = float((one - other).abs().max() / other.abs().max())
        if not difference <= FOLDED:  # not a number fails, too
            raise StageFailed(
                f"The trunk with folded batch norms differs in {name} by {difference:.2g} of its largest value; "
                "set trunk='autocast' for it."
            )


def _cpu_kind() -> str:
    """Which kernels a CPU runs."""
    kind = torch.backends.cpu.get_cpu_capability()
    return f"cpu {kind} amx" if amx() else f"cpu {kind}"


# --------------------------------------------------------------------------------------- which images


def subset(index: Index, count: int | None, seed: int) -> Index:
    """Return `count` images drawn by the seed alone (all, if there are no more)."""
    if count is None or count >= len(index.files):
        return index
    return part(index, generator(seed, "subset").permutation(len(index.files))[:count])


def hold_out(index: Index, share: float, seed: int) -> tuple[Index, Index]:
    """Split into (rest, held out): the share of each class, rounded, drawn by the seed alone.

    Raises BadInput when the share leaves nothing on a side.
    """
    labels = np.asarray(index.labels)
    order = generator(seed, "selection").permutation(len(labels))
    held: list[int] = []
    for label in range(len(index.classes)):
        mine = order[labels[order] == label]
        held += mine[: round(share * len(mine))].tolist()
    if not held or len(held) == len(labels):
        raise BadInput(
            f"selection_share {share} of {len(labels)} training images leaves none on one side; raise it or subset."
        )
    return part(index, sorted(set(range(len(labels))) - set(held))), part(index, held)


# ------------------------------------------------------------------------------------------- batches


@contextmanager
def loaded(
    dataset: Dataset[Sample],
    sampler: Iterable[list[Any]],
    workers: int | None,
    device: torch.device,
) -> Iterator[Iterator[Batch]]:
    """Iterate over a sampler's batches; the loader's workers never get the signals, and end with the block.

    `workers` None: half of the cores, at most 8. No result depends on it.
    """
    if workers is None:
        workers = max(1, min(8, (os.cpu_count() or 1) // 2))
    with shielded():
        batches = iter(loader(dataset, sampler, workers, pin=device.type == "cuda"))
    try:
        yield batches
    finally:
        shut = getattr(batches, "_shutdown_workers", None)
        if shut is not None:
            shut()


def evaluated(
    job: Job,
    task: LinearTask | KnnTask,
    trunk: FrozenTrunk,
    images: Index,
    title: str,
    ranks: Ranks | None = None,
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield (features N×D, labels N, skipped images) of every image once, in order, under the test transform.

    Features that an earlier stage left are read, not computed; bit for bit they are the same. With several ranks, each
    gets its run of whole batches, so that no feature depends on the number of ranks.

    Raises BadInput for an image that cannot be read (under `skip`: when none can, on any rank).
    """
    ranks = ranks or Ranks(device=trunk.device)
    batches = in_order(len(images.files), task.batch_size)
    first, last = (len(batches) * part // ranks.world for part in (ranks.rank, ranks.rank + 1))
    mine = batches[first:last]
    count = 0
    kept = cache_of(job, task, trunk, images, (first, last))
    found = kept.read() if kept is not None else None
    if found is not None:
        print(f"{title} {task.name}: {len(found.labels)} features read from {found.folder.name}", flush=True)
        for features, labels, missing in found.batches(task.batch_size):
            yield features.to(trunk.device), labels.to(trunk.device), missing
            count += len(labels)
    elif mine:
        for features, labels, missing in _forward(job, task, trunk, images, mine, title):
            if kept is not None:
                kept.add(features, labels, missing)
            yield features, labels, missing
            count += len(labels)
        if kept is not None:
            trunk.check()  # what is kept must be this trunk's
            kept.publish()
    if not ranks.sums(count)[0]:
        raise BadInput(f"No image of {images.split} below {images.root} can be read; bench data check says why.")


def _forward(
    job: Job, task: LinearTask | KnnTask, trunk: FrozenTrunk, images: Index, batches: list[list[int]], title: str
) -> Iterator[tuple[Tensor, Tensor, int]]:
    pack = job.pack(task.dataset, images.split, "evaluation")
    dataset = EvalDataset(images, task.size, task.resize, job.unreadable, pack=pack)
    with (
        loaded(dataset, batches, task.workers, trunk.device) as found,
        Progress(f"{title} {task.name}", sum(map(len, batches)), "images") as progress,
    ):
        for batch in found:
            moved = batch.to(trunk.device, memory_format=torch.channels_last, non_blocking=True)
            assert moved.labels is not None
            yield trunk.features(moved.views[0]), moved.labels, batch.skipped  # N may be 0
            progress.update(len(batch) + batch.skipped)


def cache_of(
    job: Job, task: LinearTask | KnnTask, trunk: FrozenTrunk, images: Index, span: tuple[int, int]
) -> FeatureCache | None:
    """Return where the features of a run of batches are kept; None where nothing says what the data are, or no."""
    if job.features is None or not task.reuse_features or task.dataset not in job.data:
        return None
    files = hashlib.sha256("\0".join(images.files).encode("utf-8", "surrogateescape"))
    files.update(np.asarray(images.labels, np.int64).tobytes())
    about = {
        "trunk": trunk.hash,
        **trunk.words,
        "views": f"centre {task.size} of {task.resize}",
        "data": job.data[task.dataset],
        "files": files.hexdigest(),
        "batches": f"{task.batch_size} {span[0]} {span[1]}",
        "unreadable": job.unreadable,
    }
    rows = min(len(images.files), span[1] * task.batch_size) - span[0] * task.batch_size
    return FeatureCache(job.features, about, rows, trunk.feature_dim)
