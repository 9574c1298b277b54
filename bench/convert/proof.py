"""The load proof: every tensor arrived, by name, shape and hash, and the network computes the same maps.

mmengine loads checkpoints non-strictly: a wrong prefix leaves all 318 tensors of a ResNet-50 random and raises
nothing. So a trunk is loaded strictly, and a stage downstream refuses a trunk whose proof does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import torch
from pydantic import (
    BaseModel,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from torch import Tensor, nn

from bench.convert.matching import Match, digest, match_contents, match_shapes, trunk_hash
from bench.convert.trunk import TRUNK, Trunk, read_trunk
from bench.errors import BadInput, one_line
from bench.files import CHECKSUM, checked, with_checksum, write_text

PROOF = "proof.json"
TOLERANCE = 1e-5  # of a map's largest difference to its largest value; equal code on one machine gives exactly 0
MAPS = ("C2", "C3", "C4", "C5")
IMAGE = "1×3×64×96, value sin((c+1)(7i+1)/11) + cos((c+2)(5j+1)/13)"
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ProvenTensor(BaseModel, extra="forbid", strict=True, frozen=True):
    """A tensor of the loaded network."""

    shape: tuple[NonNegativeInt, ...]
    sha256: Sha256


class Proof(BaseModel, extra="forbid", strict=True, frozen=True, ser_json_inf_nan="constants"):
    """What was compared between a checkpoint and the network that its trunk was loaded into.

    A proof that passed agrees with itself: all tensors matched, no fault, and each map within the tolerance.
    """

    arch: Annotated[str, StringConstraints(pattern=r"^\w+$")]
    trunk_hash: Sha256
    matched: NonNegativeInt
    of: PositiveInt
    passed: bool
    fault: str  # the first thing that did not fit, or ""
    tensors: dict[str, ProvenTensor]  # by name
    maps: dict[str, NonNegativeFloat]  # map -> largest difference, relative to the map's largest value
    tolerance: float = TOLERANCE
    stem: Annotated[str, StringConstraints(pattern=r"^[a-z]+$")] = "imagenet"
    image: str = IMAGE
    network: Annotated[str, StringConstraints(pattern=r"^\w*$")] = ""  # of the objective; "" in older proofs

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if tuple(self.maps) != MAPS:
            raise ValueError(f"its maps are {', '.join(self.maps) or 'none'}, not {', '.join(MAPS)}")
        if (self.tolerance, self.image) != (TOLERANCE, IMAGE):
            raise ValueError("its tolerance or its image are not those of a load proof")
        if self.passed != (not self.fault):
            raise ValueError("it passed and names a fault" if self.passed else "it failed and names no fault")
        if self.passed and not self.matched == self.of == len(self.tensors):
            raise ValueError(f"it passed with {self.matched} of {self.of} tensors and lists {len(self.tensors)}")
        if self.passed and not max(self.maps.values()) <= TOLERANCE:
            raise ValueError(f"it passed with maps that differ by {max(self.maps.values()):.2g}")
        return self


def fixed_image() -> Tensor:
    """Return the image that maps are compared on, 1×3×64×96 float32: a formula, so the same everywhere."""
    c, i, j = (torch.arange(n, dtype=torch.float64) for n in (3, 64, 96))
    c = c[:, None, None]
    wave = torch.sin((c + 1) * (7 * i[None, :, None] + 1) / 11) + torch.cos((c + 2) * (5 * j[None, None, :] + 1) / 13)
    return wave[None].float()


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], what: str = "the backbone") -> Match:
    """Load a trunk into a network and check each tensor by hash afterwards; return what matched.

    Nothing is loaded unless every name and shape fits. Raises BadInput, saying how many tensors of how many matched.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    match = match_shapes(wanted, state)
    if match.complete:
        module.load_state_dict(dict(state), strict=True)
        match = match_contents(state, module.state_dict())
    if not match.complete:
        raise BadInput(
            f"Weights refused by {what}: {match.counts}, and {match.first_fault}; "
            "give a trunk with the same depth and stem (mmseg's type='ResNet')."
        )
    return match


def prove(
    source: Mapping[str, Tensor],
    arch: str,
    encoder_maps: Callable[[Tensor], Sequence[Tensor]],
    network: nn.Module,
    stem: str = "imagenet",
    exported: str = "",
) -> Proof:
    """Compare a checkpoint's trunk with the network that it was loaded into.

    Args:
        source: the checkpoint's trunk, {torchvision's key name: tensor}.
        encoder_maps: the pretraining encoder in eval mode, image N×3×H×W -> (C2, C3, C4, C5).
        network: the network downstream; it is called in eval mode and returns (C2, C3, C4, C5).
        stem: of the trunk.
        exported: the name that the trunk's network has in the objective: `encoder`, or that of a copy.
    """
    match = match_contents(source, network.state_dict())
    maps = compare_maps(encoder_maps, network)
    worst = max(maps, key=lambda name: maps[name])
    fault = match.first_fault
    if not fault and not maps[worst] <= TOLERANCE:
        fault = f"map {worst} differs by {maps[worst]:.2g} of its largest value"
    tensors = {name: ProvenTensor(shape=tuple(t.shape), sha256=digest(t)) for name, t in network.state_dict().items()}
    return Proof(
        arch=arch,
        trunk_hash=trunk_hash(source),
        matched=match.matched,
        of=match.of,
        passed=not fault,
        fault=fault,
        tensors=tensors,
        maps=maps,
        stem=stem,
        network=exported,
    )


@torch.no_grad()
def compare_maps(encoder_maps: Callable[[Tensor], Sequence[Tensor]], network: nn.Module) -> dict[str, float]:
    """Return {"C2": largest difference / largest value, …} on the fixed image, with the network in eval mode."""
    image = fixed_image()
    training = network.training
    network.eval()
    try:
        pairs = zip(MAPS, encoder_maps(image), network(image), strict=True)
        return {name: _difference(ours, theirs) for name, ours, theirs in pairs}
    finally:
        network.train(training)


def _difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape or not (torch.isfinite(ours).all() and torch.isfinite(theirs).all()):
        return float("inf")
    largest = ours.abs().max().item()
    return (ours - theirs).abs().max().item() / (largest or 1.0)


def write_proof(folder: Path, proof: Proof) -> None:
    """Write `proof.json`, with a checksum, whole or not at all."""
    write_text(folder / PROOF, with_checksum(json.loads(proof.model_dump_json())))


def read_proof(folder: Path) -> Proof:
    """Read the load proof in a folder, whether it passed or not.

    Raises BadInput where there is none, or where a field is not what a load proof has, or the whole not what was
    written.
    """
    file = folder / PROOF
    try:
        content = checked(text := file.read_text(encoding="utf-8"))
        proof = Proof.model_validate_json(json.dumps(content))
        if proof.network and CHECKSUM not in json.loads(text):
            raise ValueError("it has no checksum")
        return proof
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"Weights refused: {folder} has no load proof; {_remedy(folder)}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        said = first["msg"].removeprefix("Value error, ")
        reason = f"{where}: {said}" if where else said
    except (OSError, ValueError, RecursionError) as error:
        reason = one_line(error)
    raise BadInput(f"Weights refused: {file} is not a load proof ({reason}); {_remedy(folder)}")


def _remedy(folder: Path) -> str:
    return f"run the convert stage again: remove {folder}, then bench run"


def verify_proof(folder: Path, state: Mapping[str, Tensor], stem: str = "imagenet", arch: str | None = None) -> Proof:
    """Check that the load proof in `folder` holds for exactly these tensors behind that stem, and return it.

    Raises BadInput when it is missing, damaged, did not pass, or is about other tensors (saying how many of how many
    matched), another stem or another architecture.
    """
    proof, remedy = read_proof(folder), _remedy(folder)
    proven = {name: (entry.shape, entry.sha256) for name, entry in proof.tensors.items()}
    loaded = {name: (tuple(tensor.shape), digest(tensor)) for name, tensor in state.items()}
    matched = sum(loaded.get(name) == entry for name, entry in proven.items())
    faults = [name for name in sorted(proven.keys() | loaded.keys()) if proven.get(name) != loaded.get(name)]
    if faults or not proven:
        where = f" ({faults[0]} differs)" if faults else ""
        raise BadInput(f"Weights refused: {matched} of {len(proven)} tensors matched the load proof{where}; {remedy}")
    if not proof.passed:
        raise BadInput(f"Weights refused: the load proof failed ({proof.fault}); {remedy}")
    if proof.trunk_hash != trunk_hash(state):
        raise BadInput(f"Weights refused: the load proof is about another trunk; {remedy}")
    if proof.stem != stem:
        raise BadInput(f"Weights refused: the load proof is about the stem {proof.stem}, not {stem}; {remedy}")
    if arch is not None and proof.arch != arch:
        raise BadInput(f"Weights refused: the load proof is about a {proof.arch}, not a {arch}; {remedy}")
    return proof


def load_proven(folder: Path, export: str | None = None) -> Trunk:
    """Read the trunk that a convert stage left in `folder`, and verify its proof; BadInput when either fails.

    With `export`, as a recipe says it, the trunk must be that of the network that is trained (`online`), or of a copy
    of it (`target`). A proof of an older version does not say which it is about.
    """
    trunk = read_trunk(folder / TRUNK, check=False)  # the proof says more: which tensors, and how many
    proof = verify_proof(folder, trunk.state, trunk.stem, trunk.arch)
    if trunk.metadata.get("trunk_hash") != trunk.hash:
        raise BadInput(f"Weights refused: {folder / TRUNK} names another hash than it has; {_remedy(folder)}")
    if export is not None:
        check_twin(folder, export, proof)
    return trunk


def check_twin(folder: Path, export: str, proof: Proof | None = None) -> None:
    """Check that a folder's trunk is the network that a recipe's `export` asks for; else BadInput."""
    network = (proof or read_proof(folder)).network
    if network and (network == "encoder") != (export == "online"):
        raise BadInput(
            f"Weights refused: {folder / TRUNK} is the {network} of its objective, but export={export!r} asks for "
            f"{'the encoder itself' if export == 'online' else 'a copy of the encoder'}; {_remedy(folder)}"
        )
