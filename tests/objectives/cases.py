"""Small settings of every objective, with the batch that it wants: what the tests of all objectives go through.

Each file of `families/` has a dictionary CASES = {name: Case}; the name is the objective's, or starts with it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from narrow import NarrowEncoder
from torch import Tensor

from bench.data.views import Batch
from bench.objectives import build
from bench.objectives.base import Objective

NUM_CLASSES, NUM_IMAGES = 3, 12


def images_batch(n: int, sizes: tuple[int, ...], seed: int = 0) -> Batch:
    """Normal noise N×3×size×size in float64 for each view, boxes that overlap, labels 0 to 2, indices 0 to N − 1."""
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(n, 3, size, size, dtype=torch.float64, generator=generator) for size in sizes]
    boxes = []
    for _ in sizes:
        corner = torch.rand(n, 2, dtype=torch.float64, generator=generator) * 0.3
        flipped = torch.rand(n, 1, dtype=torch.float64, generator=generator).round()
        boxes.append(torch.cat([corner, corner + 0.6, flipped], dim=1))
    return Batch(views=views, boxes=boxes, labels=torch.arange(n) % NUM_CLASSES, indices=torch.arange(n))


def known(n: int = 32, d: int = 64) -> tuple[Tensor, Tensor]:
    """Two related tensors n×d; of those 32×64 the reference values of several libraries are known."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(n, d, dtype=torch.float64, generator=generator)
    b = torch.randn(n, d, dtype=torch.float64, generator=generator)
    return 0.3 * a, 0.3 * (0.5 * a + b)


@dataclass(frozen=True)
class Case:
    """An objective in small, and what holds for it.

    Args:
        settings: of the objective, `name` among them.
        sizes: of the views in its batch.
        terms: what its forward returns.
        n: images in the batch.
        frozen: prefixes of the parameters that never get a gradient (targets, keys).
        symmetric: exchanging the first two views changes nothing.
        order: the order of the images changes nothing.
        lowers: a small step along the gradient lowers the loss (an adversarial loss has no such direction).
        ranks: two ranks with half of the batch each have the gradient, terms and state of one with all of it.
        bf16: how far the loss under bf16 autocast may be from float32's, relative.
        batch: makes the batch of n images, for objectives that want more than `sizes` says.
    """

    settings: dict[str, Any]
    sizes: tuple[int, ...]
    terms: frozenset[str] = frozenset({"loss"})
    n: int = 4
    frozen: tuple[str, ...] = ()
    symmetric: bool = False
    order: bool = True
    lowers: bool = True
    ranks: bool = True
    bf16: float = 0.05
    batch: Callable[[int], Batch] | None = None

    def make(self, seed: int = 0, **more: Any) -> Objective:
        """The objective in float64 on a narrow encoder."""
        return build({**self.settings, **more}, NarrowEncoder(seed), NUM_CLASSES, NUM_IMAGES).double()

    def data(self, n: int | None = None) -> Batch:
        """Its batch, float64."""
        n = n or self.n
        return self.batch(n) if self.batch is not None else images_batch(n, self.sizes)


def rows(batch: Batch, chosen: slice | Tensor) -> Batch:
    """The given images of a batch, with all that it has of them."""
    parts: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, list):
            parts[field.name] = [item[chosen] for item in value]
        elif isinstance(value, Tensor):
            parts[field.name] = value[chosen]
    return replace(batch, **parts)


def to(batch: Batch, dtype: torch.dtype) -> Batch:
    """The batch with floating-point tensors of that type."""
    parts: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, list):
            parts[field.name] = [item.to(dtype) if item.is_floating_point() else item for item in value]
        elif isinstance(value, Tensor) and value.is_floating_point():
            parts[field.name] = value.to(dtype)
    return replace(batch, **parts)


def load() -> dict[str, Case]:
    """All cases, by name."""
    cases: dict[str, Case] = {}
    for file in sorted((Path(__file__).parent / "families").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"families_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert not set(cases) & set(module.CASES), file
        cases |= module.CASES
    return cases


def apart(objective: Objective) -> Objective:
    """The objective, after what follows the online network was moved away from it: at first both are the same."""
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if not parameter.requires_grad:
                generator = torch.Generator().manual_seed(len(name))
                parameter += 0.1 * torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
    return objective


def assert_same_gradients(
    objective: Objective, reference: Objective, rtol: float = 1e-7, atol: float = 1e-11, frozen: str | None = None
) -> None:
    """Compare the gradients of all parameters; with `frozen`, exactly those whose name starts so have none."""
    for (name, parameter), expected in zip(objective.named_parameters(), reference.parameters(), strict=True):
        without = expected.grad is None if frozen is None else name.startswith(frozen)
        assert (parameter.grad is None) == without, name
        if not without:
            torch.testing.assert_close(parameter.grad, expected.grad, rtol=rtol, atol=atol, msg=name)


def distance(results, expected, kind):
    """How far the tensors of a kind are from those expected, relative to these, all taken as one vector."""
    names = [name for name in expected if name.startswith(kind)]
    assert names
    assert names == [name for name in results if name.startswith(kind)]
    one = torch.cat([results[name].double().flatten() for name in names])
    other = torch.cat([expected[name].double().flatten() for name in names])
    return ((one - other).norm() / other.norm()).item()
