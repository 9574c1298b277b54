"""Compare the tensors that are wanted with those that are there, by name, shape and content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Match:
    """How a set of tensors fits a set of wanted names: all four lists empty means that it fits."""

    of: int
    missing: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()  # "name is 64×3×3×3, not 64×3×7×7"
    surplus: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()  # same name and shape, other content

    @property
    def matched(self) -> int:
        """How many of the wanted tensors are there."""
        return self.of - len(self.missing) - len(self.misshapen) - len(self.altered)

    @property
    def complete(self) -> bool:
        """Whether every wanted tensor is there, and no other."""
        return self.matched == self.of and not self.surplus

    @property
    def counts(self) -> str:
        """`312 of 318 tensors matched`."""
        return f"{self.matched} of {self.of} tensors matched"

    @property
    def first_fault(self) -> str:
        """The first thing that does not fit, in words; "" if all fits."""
        if self.misshapen:
            return self.misshapen[0]
        if self.altered:
            return f"{self.altered[0]} has other values"
        if self.missing:
            return f"{self.missing[0]} is missing"
        return f"{self.surplus[0]} is left over" if self.surplus else ""


def match_shapes(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor]) -> Match:
    """Compare by name and shape."""
    misshapen = [
        f"{name} is {_times(given[name].shape)}, not {_times(shape)}"
        for name, shape in wanted.items()
        if name in given and tuple(given[name].shape) != shape
    ]
    return Match(
        of=len(wanted),
        missing=tuple(name for name in wanted if name not in given),
        misshapen=tuple(misshapen),
        surplus=tuple(name for name in given if name not in wanted),
    )


def match_contents(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Match:
    """Compare by name, shape, and content bit by bit."""
    by_shape = match_shapes({name: tuple(tensor.shape) for name, tensor in wanted.items()}, given)
    same_shape = [n for n, t in wanted.items() if n in given and given[n].shape == t.shape]
    altered = tuple(name for name in same_shape if digest(wanted[name]) != digest(given[name]))
    return Match(by_shape.of, by_shape.missing, by_shape.misshapen, by_shape.surplus, altered)


def digest(tensor: Tensor) -> str:
    """Return the sha256 of a tensor's type, shape and values; its memory layout and device do not count."""
    content = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    content.update(plain_bytes(tensor))
    return content.hexdigest()


def plain_bytes(tensor: Tensor) -> memoryview:
    """Return a tensor's values in logical order, whatever its layout in memory and its device."""
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data


def trunk_hash(state: Mapping[str, Tensor]) -> str:
    """Return one sha256 over the names and contents of all tensors, whatever their order."""
    lines = (f"{name} {digest(state[name])}\n" for name in sorted(state))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape) or "a single number"
