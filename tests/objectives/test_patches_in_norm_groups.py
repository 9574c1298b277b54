"""Norms over groups of images, of objectives that cut images into patches: a group has all patches of its images."""

from __future__ import annotations

import pytest
import torch
from cases import images_batch, rows
from narrow import NarrowEncoder

from bench.nn.norm import convert_norms
from bench.objectives import build

SHARED = {"patch_size": 32, "gap": 8, "jitter": 0}
OBJECTIVES = {
    "jigsaw": {"permutations": 2, "patch_dim": 6, "standardise": False},
    "relative_patch": {"hidden_dim": 12, "downsample": 0.0, "drop_colours": False, "standardise": False},
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_groups_are_two_batches_of_every_second_image(name, monkeypatch):
    """The loss of six images in two groups is the mean of those of images 0, 2, 4 and of 1, 3, 5, each a batch."""
    monkeypatch.setattr("bench.nn.draws.integers", lambda n, *_, **__: torch.ones(n, dtype=torch.int64))
    together, apart = (build({"name": name, **SHARED, **OBJECTIVES[name]}, NarrowEncoder()).double() for _ in range(2))
    batch = images_batch(6, (112,))
    loss = convert_norms(together, "cpu", parts=2)(batch)["loss"]
    loss.backward()
    halves = [apart(rows(batch, slice(start, None, 2)))["loss"] for start in (0, 1)]
    (sum(halves) / 2).backward()
    torch.testing.assert_close(loss, sum(halves) / 2, rtol=1e-9, atol=0)
    assert abs(halves[0] - halves[1]) > 1e-3
    for one, other in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-10)
