"""A frozen trunk: loaded only with its proof, always in eval mode, and proven unchanged at the end.

Batch norm in train mode would let the images that are evaluated on change the features (see MoCo's linear evaluation).

In the form `folded` a copy of the trunk does the work, whose batch norms are folded into its convolutions; where there
are enough images to pay for it, that copy is compiled. The chain of proof then has these links: the trunk has the hash
of the load proof; the copy in float32 computes the trunk's maps; the copy's own hash stays; and the compiled program
computes what the copy computes, at the start and at the end. Before any of that a fixed image goes all the way from
its pixels to the feature, and has to give the pretraining encoder's (`load_proof`).

On a GPU cuDNN chooses its algorithms by rules and not by the clock (`torch.backends.cudnn.benchmark` stays off), though
shapes are fixed: two processes that time them may choose differently, and features that are kept would no longer be
those that another process computes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from bench.config.recipe import Precision, TrunkForm
from bench.config.trunk_inputs import TrunkInputs
from bench.convert.matching import match_contents, trunk_hash
from bench.convert.proof import MAPS, fixed_image, load_proven, load_strictly
from bench.convert.trunk import Trunk
from bench.data.views import normalised
from bench.errors import StageFailed, one_line
from bench.nn.colour import halves, lightness_alone
from bench.nn.encoder import Encoder, build_encoder
from bench.stages.compiled_trunk import amx, compile_frozen, pays
from bench.stages.folded_trunk import FoldedEncoder, fold
from bench.stages.load_proof import (
    SIZES,
    LoadProof,
    Reference,
    check,
    check_norms,
    difference,
    fixed_pixels,
)
from bench.train.precision import is_bf16, without_tf32

FOLDED = 1e-4  # largest difference of the folded copy's maps in float32, relative to the largest value
COMPILED = {torch.float32: 1e-3, torch.bfloat16: 3e-2}  # of the compiled program's features to the copy's, in norm
FORMS: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {  # of normalised images, whose features are joined
    "grey": lambda images: (lightness_alone(images),),
    "halves": halves,
}
PIECE = 16  # images that a CPU runs through a folded trunk at once: their maps stay in its cache


class FrozenTrunk:
    """A proven trunk as a function from images to features.

    Args:
        folder: of the convert stage.
        precision: of the trunk; features are float32 either way.
        device: where it runs; None takes the GPU if there is one.
        form: `autocast` runs the trunk as it is, `folded` a copy with folded batch norms and weights of that precision,
            whose pooled feature is a mean taken in float32.
        inputs: what it is shown of each image: `rgb` the image, `grey` its lightness, `halves` its lightness and its
            colours, whose features are joined.

    Raises BadInput when the trunk or its proof is missing or does not hold, StageFailed when the folded copy does not
    compute the trunk's maps.
    """

    def __init__(
        self,
        folder: Path,
        precision: Precision = "float32",
        device: torch.device | None = None,
        form: TrunkForm = "autocast",
        inputs: TrunkInputs = "rgb",
    ) -> None:
        trunk = load_proven(folder)
        self.folder = folder
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision, self.bf16, self.form, self.hash = precision, is_bf16(precision), form, trunk.hash
        self.inputs = inputs
        self.dtype = torch.bfloat16 if self.bf16 else torch.float32  # of a folded trunk's weights and maps
        encoder = build_encoder(trunk.arch, seed=0, stem=trunk.stem)
        load_strictly(encoder, trunk.state, "the encoder")
        encoder.requires_grad_(False).eval()
        self.passes = 2 if inputs == "halves" else 1  # of an image through the trunk
        self.feature_dim = self.passes * encoder.feature_dim  # D
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
        self.load_proof = self._prove(trunk, SIZES[trunk.stem])
        self._said = ""

    @property
    def words(self) -> dict[str, str]:
        """What decides a feature's bits besides the trunk's weights and the image."""
        kernels = f"cpu {torch.backends.cpu.get_cpu_capability()}{' amx' if amx() else ''}"
        shown = {} if self.inputs == "rgb" else {"inputs": self.inputs}  # features that are kept already have none
        return {
            **shown,
            "precision": self.precision,
            "form": self.form,
            "compiled": str(self.compiled is not None),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else kernels,
            "torch": torch.__version__,
        }

    @property
    def metrics(self) -> dict[str, int]:
        """What a record says of the form: with folded batch norms, whether the trunk was compiled."""
        return {} if self.folded is None else {"trunk_compiled": int(self.compiled is not None)}

    def compile(self, images: int, size: int, batch_size: int, wanted: bool | None = None) -> None:
        """Compile a folded trunk for size×size images, at most `batch_size` at once, if so many `images` make it pay.

        `wanted`: True compiles however few they are, False never. Where it fails, for want of a C++ compiler for
        instance, one sentence says so, and the trunk runs as before.
        """
        if wanted is None:
            wanted = pays(self.encoder.arch, self.passes * images, size, self.device, self.encoder.stem)
        if self.folded is None or not wanted:
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
        self.load_proof = self._prove(load_proven(self.folder), (size, size))

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features, N×D float32 on the device, of images N×3×H×W; they carry no gradient.

        Images in uint8 are normalised first.
        """
        if self.inputs == "rgb":
            return self._of(images)
        images = normalised(images.to(self.device, non_blocking=True))
        return torch.cat([self._of(form) for form in FORMS[self.inputs](images)], dim=1)

    def _of(self, images: Tensor) -> Tensor:
        if self.folded is not None:
            return self._folded_features(images)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            images = normalised(images.to(self.device, non_blocking=True), torch.channels_last)
            features = self.encoder(images)
        return features.to(torch.float32, copy=True)  # a copy made here is no inference tensor: a head may train on it

    def _folded_features(self, images: Tensor) -> Tensor:
        assert self.folded is not None
        network = self.folded if self.compiled is None else self.compiled
        features = torch.empty(len(images), self.encoder.feature_dim, device=self.device)  # no inference tensor
        with torch.inference_mode():
            piece = self.piece or max(1, len(images))
            for start in range(0, len(images), piece):
                part = normalised(images[start : start + piece].to(self.device, non_blocking=True))
                part = part.to(self.dtype, memory_format=torch.channels_last)
                n = len(part)
                if self.compiled is not None and n < piece:  # the program is for one shape
                    part = torch.cat([part, part[:1].expand(piece - n, -1, -1, -1)])
                    part = part.contiguous(memory_format=torch.channels_last)
                features[start : start + n] = network(part)[:n]
        return features

    def _prove(self, trunk: Trunk, size: tuple[int, int]) -> LoadProof:
        """Prove on pixels of a size that the features are the pretraining encoder's; StageFailed if not."""
        what = f"the frozen trunk ({', '.join(self._form())})"
        reference, pixels = Reference(trunk, self.device), fixed_pixels(*size)
        match = match_contents(trunk.state, self.encoder.state_dict())
        if not match.complete:
            raise StageFailed(f"The load proof failed: {match.counts} in {what}, and {match.first_fault}.")
        check_norms(self.encoder, reference, what)
        expected = reference.normalised(pixels)
        try:
            with torch.inference_mode(), without_tf32():
                images = normalised(pixels.to(self.device), torch.channels_last)
                maps = self.encoder.maps(images)
                feature = self.features(pixels)
        except RuntimeError as error:  # shapes that do not go together
            raise StageFailed(f"The load proof failed: {what} takes no image ({one_line(error)}).") from error
        seen = (expected,) if self.inputs == "rgb" else FORMS[self.inputs](expected)
        name = "feature bf16" if self.bf16 else "feature"
        wanted = torch.cat([reference.feature(form) for form in seen], dim=1)
        if not wanted.isfinite().all():
            raise StageFailed("The trunk gives features that are not finite; its pretraining diverged.")
        differences = {"input": difference(images, expected)}
        differences |= {one: difference(*pair) for one, *pair in zip(MAPS, maps, reference.maps(expected), strict=True)}
        differences[name] = difference(feature, wanted, in_norm=True)
        compiled = self.compiled is not None and not self.bf16
        check(differences, what, trunk.arch, {name: COMPILED[torch.float32]} if compiled else None)
        return LoadProof(what, trunk.hash, match.matched, match.of, differences).note()

    def _form(self) -> list[str]:
        """What is done to the trunk, in words."""
        words = [self.form, self.precision, *(["compiled"] if self.compiled is not None else [])]
        return words if self.inputs == "rgb" else [*words, self.inputs]

    def _probe(self, count: int, size: int) -> Tensor:
        """The fixed image, count×3×size×size."""
        image = torch.nn.functional.interpolate(fixed_image(), size=(size, size), mode="bilinear")
        shift = torch.linspace(-0.5, 0.5, count).view(-1, 1, 1, 1)  # no two alike
        return (image + shift).to(self.device, self.dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def _difference(self, compiled: Callable[[Tensor], Tensor], probe: Tensor) -> float:
        assert self.folded is not None
        with without_tf32():
            expected = self.folded(probe)
            return float((compiled(probe) - expected).norm() / expected.norm())

    def check(self) -> None:
        """Prove that nothing changed: not a bit of the trunk, nor of its folded copy; no layer in train mode.

        Raises StageFailed.
        """
        networks: list[Encoder] = [self.encoder] + ([self.folded] if self.folded is not None else [])
        modules = (pair for network in networks for pair in network.named_modules())
        training = [name or "the encoder" for name, module in modules if module.training]
        if training:
            raise StageFailed(
                f"The frozen trunk is in train mode ({training[0]}), so that its features depend on the batch."
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
        """Check before and after what is done with the trunk, and say once what its load proof saw."""
        self.check()
        if self._said != self.load_proof.words and os.environ.get("RANK", "0") == "0":
            self._said = self.load_proof.words
            print(self._said, flush=True)
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
