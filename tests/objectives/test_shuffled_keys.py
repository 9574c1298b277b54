"""Keys of DenseCL and CAST are normalised in other groups than their queries, and come back in the batch's order.

Those of MoCo and CLSA are in their own tests. Groups here are of two images, 0 and 2, 1 and 3.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import apart
from torch import Tensor

from bench.nn.norm import convert_norms
from bench.objectives import cast

QUERIES = [[0, 2], [1, 3]]


def orders(count: int) -> list[list[list[int]]]:
    """The groups of each of several shuffles: rows 0 and 2, 1 and 3 of the shuffled batch."""
    torch.manual_seed(9)
    drawn = [torch.rand(4).argsort().tolist() for _ in range(count)]
    groups = [[order[0::2], order[1::2]] for order in drawn]
    torch.manual_seed(9)
    return groups


def by_group(network, images: Tensor, groups: list[list[int]]) -> Tensor:
    """The network's output of each image, normalised in its group."""
    outputs = {}
    for group in groups:
        for image, output in zip(group, network(images[group]).detach(), strict=True):
            outputs[image] = output
    return torch.stack([outputs[image] for image in range(len(images))])


def differ(groups: list[list[int]], others: list[list[int]]) -> bool:
    """Whether they are other groups, whatever the order of the two and of the images in one."""
    return sorted(map(sorted, groups)) != sorted(map(sorted, others))


def test_densecls_keys_and_maps_of_both_queues(make, batch):
    objective = apart(make("densecl", queue_size=8, dense_queue_size=8))
    plain, data = copy.deepcopy(objective), batch(64, 64)
    convert_norms(objective, "cpu", parts=2)
    (groups,) = orders(1)
    assert differ(groups, QUERIES)  # else this draw would not tell
    objective(data)
    maps = by_group(plain.key_encoder.last_map, data.views[0], groups)  # the first view is the key's
    k = plain.key_projector(maps.mean((2, 3)))
    t = plain.key_dense_projector(maps.flatten(2).transpose(1, 2)).mean(1)
    torch.testing.assert_close(objective.queue.keys[:4], F.normalize(k, dim=1).detach())
    torch.testing.assert_close(objective.dense_queue.keys[:4], F.normalize(t, dim=1).detach())


def test_casts_keys_and_masked_keys_in_orders_of_their_own(make, batch, monkeypatch):
    objective, data = apart(make("cast", queue_size=8)), batch(64, 64)
    plain = copy.deepcopy(objective)
    half = torch.zeros(4, 64, 64, dtype=torch.uint8)
    half[:, :, 20:] = 255
    data = replace(data, masks=[half, half])
    convert_norms(objective, "cpu", parts=2)
    seen = []
    whole = cast.grad_cam
    monkeypatch.setattr(cast, "grad_cam", lambda *given: seen.append(given[3]) or whole(*given))
    of_keys, of_masked = orders(2)
    assert differ(of_keys, QUERIES)
    assert differ(of_masked, QUERIES)
    assert differ(of_keys, of_masked)
    objective(data)

    def key(images):
        return plain.key_projector(plain.key_encoder(images))

    keys = by_group(key, data.views[1], of_keys)
    torch.testing.assert_close(objective.queue.keys[:4], F.normalize(keys, dim=1))
    masked = by_group(key, data.views[1] * (half[:, None] > 0), of_masked)
    (given,) = seen
    assert given.numpy() == pytest.approx(masked.numpy())
