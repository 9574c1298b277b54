"""The load proof: every tensor arrived, by name, shape and hash, and the network computes the same maps.

mmengine loads checkpoints non-strictly: a wrong prefix leaves all 318 tensors of a ResNet-50 random and raises
nothing. So a trunk is loaded strictly, and a stage downstream refuses a trunk whose proof does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.convert.matching import Match, digest, match_contents, match_shapes, trunk_hash
from bench.convert.trunk import TRUNK, Trunk, read_trunk
from bench.errors import BadInput
from bench.files import write_text

PROOF = "proof.json"
TOLERANCE = 1e-5  # of a map's largest difference to its largest value; equal code on one machine gives exactly 0
MAPS = ("C2", "C3", "C4", "C5")


@dataclass(frozen=True)
class Proof:
    """What was compared between a checkpoint and the network that its trunk was loaded into."""

    arch: str
    trunk_hash: str
    matched: int
    of: int
    passed: bool
    fault: str  # the first thing that did not fit, or ""
    tensors: dict[str, dict[str, Any]]  # name -> {"shape": [...], "sha256": "..."} of the loaded network
    maps: dict[str, float]  # map -> largest difference, relative to the map's largest value
    tolerance: float = TOLERANCE
    stem: str = "imagenet"
    image: str = "1×3×64×96, value sin((c+1)(7i+1)/11) + cos((c+2)(5j+1)/13)"


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
) -> Proof:
    """Compare a checkpoint's trunk with the network that it was loaded into.

    Args:
        source: the checkpoint's trunk, {torchvision's key name: tensor}.
        encoder_maps: the pretraining encoder in eval mode, image N×3×H×W -> (C2, C3, C4, C5).
        network: the network downstream; it is called in eval mode and returns (C2, C3, C4, C5).
    """
    match = match_contents(source, network.state_dict())
    maps = compare_maps(encoder_maps, network)
    worst = max(maps, key=lambda name: maps[name])
    fault = match.first_fault
    if not fault and not maps[worst] <= TOLERANCE:
        fault = f"map {worst} differs by {maps[worst]:.2g} of its largest value"
    tensors = {name: {"shape": list(t.shape), "sha256": digest(t)} for name, t in network.state_dict().items()}
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
    """Write `proof.json` whole or not at all."""
    write_text(folder / PROOF, json.dumps(asdict(proof), indent=1, ensure_ascii=False) + "\n")


def verify_proof(folder: Path, state: Mapping[str, Tensor], stem: str = "imagenet") -> None:
    """Check that the load proof in `folder` holds for exactly these tensors behind that stem.

    Raises BadInput when it is missing, did not pass, or is about other tensors (saying how many of how many matched)
    or another stem.
    """
    file = folder / PROOF
    remedy = f"run the convert stage again: remove {folder}, then bench run"
    try:
        proof = Proof(**json.loads(file.read_text(encoding="utf-8")))
        proven = {name: (tuple(entry["shape"]), entry["sha256"]) for name, entry in proof.tensors.items()}
    except FileNotFoundError:
        raise BadInput(f"Weights refused: {folder} has no load proof; {remedy}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"Weights refused: {file} is not a load proof; {remedy}") from error
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


def load_proven(folder: Path) -> Trunk:
    """Read the trunk that a convert stage left in `folder`, and verify its proof; BadInput when either fails."""
    trunk = read_trunk(folder / TRUNK, check=False)  # the proof says more: which tensors, and how many
    verify_proof(folder, trunk.state, trunk.stem)
    return trunk
