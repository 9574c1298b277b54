"""Whether a step of ours and one of lightly's (`peer_objectives.py`) are the same: same weights in, same steps out.

    python benchmarks/peer_steps.py [--write]

Both objectives get the same weights (of the narrow ResNet that the tests have) and the same batches in float64, and
take the same steps of SGD with momentum. Where one has a parameter that the other lacks, it is held at 0 and named:
what is then left of a difference between two trainings is that parameter, rounding, or the start of the heads' weights.
SwAV's views go through the networks together in ours and each by itself in lightly's, so that its norms are compared by
their running statistics ("eval").

`--write` keeps what is printed in results/experiments/peers.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import peer_objectives
import torch
import torch.nn.functional as F
from peer_pairs import PAIRS
from torch import Tensor, nn

from bench.data.views import Batch
from bench.nn.encoder import Encoder
from bench.objectives import build
from bench.objectives.base import Objective

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "objectives"))

from narrow import NarrowEncoder

STEPS, IMAGES, SIZE = 5, 16, 32
HELD = "held at 0"


@dataclass(frozen=True)
class Agreement:
    """The largest differences over all steps, relative; and the parameters that only one of both has."""

    loss: float  # of the losses, to ours
    gradient: float  # of the encoder's gradients, ‖g − g′‖/‖g‖ of all parameters together
    weights: float  # of the encoder's weights after the last step, likewise, to how far they moved
    held: tuple[str, ...]


def compared(
    name: str, make: Callable[[int], Encoder] = NarrowEncoder, steps: int = STEPS, norms_seen: bool | None = None
) -> Agreement:
    """Train both objectives of a pair for some steps from the same weights, and return how far they come apart.

    `norms_seen` says whether norms have the statistics of the batch; by default as the pair says.
    """
    pair = PAIRS[name]
    ours = build({"name": pair.ours, **pair.must, **pair.small}, make(0)).double()
    theirs: Objective = getattr(peer_objectives, name)(make(1), **pair.small).double()
    held = share_weights(ours, theirs)
    seen = not pair.eval if norms_seen is None else norms_seen
    ours.train(seen)
    theirs.train(seen)
    start = flat(ours.encoder.parameters()).clone()
    optimizers = [optimizer_of(each) for each in (ours, theirs)]
    losses, gradients = [], []
    for step in range(steps):
        progress = step / steps
        taken = []
        for objective, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            torch.manual_seed(step)
            loss = objective(batch_of(step))["loss"]
            loss.backward()
            objective.before_step(progress)
            taken.append((loss.detach(), flat([p.grad for p in objective.encoder.parameters() if p.grad is not None])))
            optimizer.step()
            objective.after_step(progress)
        (loss, gradient), (other, other_gradient) = taken
        losses.append(float((loss - other).abs() / loss.abs()))
        gradients.append(apart(gradient, other_gradient, gradient))
    weights = [flat(each.encoder.parameters()) for each in (ours, theirs)]
    return Agreement(max(losses), max(gradients), apart(weights[0], weights[1], weights[0] - start), held)


def optimizer_of(objective: Objective) -> torch.optim.Optimizer:
    """Return SGD with momentum over an objective's groups, each at its rate."""
    groups = [
        {"params": list(group["params"]), "lr": 0.05 * group.get("rate", 1.0), "weight_decay": 1e-4 * group["decay"]}
        for group in objective.param_groups()
    ]
    return torch.optim.SGD([group for group in groups if group["params"]], momentum=0.9)


def batch_of(step: int) -> Batch:
    """Return two views of 16 images that have something in common, normal noise N×3×32×32."""
    generator = torch.Generator().manual_seed(step)
    common, *noise = (torch.randn(IMAGES, 3, SIZE, SIZE, dtype=torch.float64, generator=generator) for _ in range(3))
    views = [common + 0.5 * each for each in noise]
    nothing = torch.zeros(IMAGES, dtype=torch.int64)
    return Batch(views=views, boxes=[torch.zeros(IMAGES, 5)] * 2, labels=nothing, indices=nothing)


def share_weights(ours: Objective, theirs: Objective) -> tuple[str, ...]:
    """Give lightly's objective the weights of ours, and return which parameters only one of both has: they stay at 0.

    The networks have the same names. Of a head the linear layers and norms go together in their order.
    """
    held: list[str] = []
    children = dict(theirs.named_children())
    for name, network in ours.named_children():
        if name.endswith("encoder"):
            children[name].load_state_dict(network.state_dict())
        elif name == "queue":
            keys = F.normalize(ours.get_buffer("queue.keys"), dim=1)  # in float64; they were drawn in float32
            for buffer in (ours.get_buffer("queue.keys"), theirs.get_buffer("criterion.memory_bank.bank")):
                buffer.copy_(keys)
        elif any(True for _ in network.parameters()):
            mine, others = layers(network), layers(children[name])
            assert list(map(type, mine)) == list(map(type, others)), f"{name}: {mine} and {others}"
            for number, (layer, other) in enumerate(zip(mine, others, strict=True)):
                held += share_layer(layer, other, f"{name}, layer {number} ({type(layer).__name__})")
    return tuple(held)


@torch.no_grad()
def share_layer(layer: nn.Module, other: nn.Module, where: str) -> list[str]:
    """Give `other` the weights of `layer`; hold a weight or bias that one of both lacks, or does not train."""
    held = []
    for name in ("weight", "bias"):
        one, two = getattr(layer, name), getattr(other, name)
        if one is not None and two is not None:
            two.copy_(one)
            if one.requires_grad != two.requires_grad and "target" not in where and "key" not in where:
                held.append(f"{name} of {where}: lightly's is trained, ours is {HELD}")
                two.requires_grad_(False)
        elif (alone := two if one is None else one) is not None:
            held.append(f"{name} of {where}: {'ours' if two is None else 'lightly'} alone has it, {HELD}")
            alone.zero_().requires_grad_(False)
    return held


def layers(network: nn.Module) -> list[nn.Module]:
    """Return the linear layers and norms of a head, in order."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.BatchNorm1d)]


def flat(tensors: Any) -> Tensor:
    """Return all elements of tensors in one vector, detached."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def apart(one: Tensor, two: Tensor, scale: Tensor) -> float:
    """Return ‖one − two‖/‖scale‖."""
    return float((one - two).norm() / scale.norm())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the result in results/experiments/peers.json")
    write = parser.parse_args(arguments).write
    found = {name: compared(name) for name in PAIRS}
    for name, agreement in found.items():
        print(
            f"{name} and {PAIRS[name].ours}, {STEPS} steps: loss {agreement.loss:.1e}, gradient "
            f"{agreement.gradient:.1e}, weights {agreement.weights:.1e}{' (eval)' * PAIRS[name].eval}"
        )
        for line in agreement.held:
            print(f"    {line}")
    if write:
        import peer_agreement

        peer_agreement.keep(
            "steps",
            {
                name: {"ours": PAIRS[name].ours, "steps": STEPS, "eval": PAIRS[name].eval, **asdict(each)}
                for name, each in found.items()
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
