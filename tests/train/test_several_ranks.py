"""One, two and three processes compute the same, and what formulas in NumPy and float64 say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import made_of_numbers as numbers
import numpy as np
import pytest
import torch
from forked import Forks

pytestmark = pytest.mark.slow

RANKS = [(world, rank) for world in (1, 2, 3) for rank in range(world)]
TIGHT = {"rtol": 1e-11, "atol": 1e-12}  # of float64: sums are taken in another order


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> dict[tuple[int, int], dict[str, Any]]:
    """{(processes, rank): what it found}."""
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("forked_ranks.py")
    done = forks.run([script, folder], Path.cwd(), os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        (world, rank): torch.load(folder / f"world_{world}_rank_{rank}.pt", weights_only=False) for world, rank in RANKS
    }


@pytest.fixture(params=RANKS, ids=lambda one: f"rank {one[1]} of {one[0]}")
def here(request: pytest.FixtureRequest, found: dict[tuple[int, int], dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    return request.param[0], found[request.param]


def dealt(rows: np.ndarray, world: int) -> np.ndarray:
    """Rows of a batch in the order in which ranks hand them in: rank r has r, r + world, …."""
    return np.concatenate([rows[rank::world] for rank in range(world)])


def test_batch_norm_over_ranks_with_unequal_rows(here: tuple[int, dict[str, Any]]) -> None:
    world, results = here
    weight, bias = np.array([0.5, 1.0, 1.5, 2.0]), np.array([0.1, -0.2, 0.3, -0.4])
    for name, expected in numbers.batch_norm(weight.astype(np.float32), bias.astype(np.float32)).items():
        expected = dealt(expected, world) if name in "xy" else expected
        np.testing.assert_allclose(results["norms"][name], expected, err_msg=name, **TIGHT)


def test_negatives_of_all_ranks(here: tuple[int, dict[str, Any]]) -> None:
    world, results = here
    views = list(numbers.projections())
    np.testing.assert_allclose(results["contrast"]["loss"], numbers.nt_xent(*views), **TIGHT)
    for which, name in enumerate(("z1", "z2")):
        expected = dealt(numbers.slopes(numbers.nt_xent, views, which), world)
        np.testing.assert_allclose(results["contrast"][name], expected, rtol=1e-6, atol=1e-9)


def test_a_queue_has_the_last_keys_in_the_order_of_their_batch(here: tuple[int, dict[str, Any]]) -> None:
    _, results = here
    expected = np.concatenate([numbers.keys(4), numbers.keys(3)])  # of five pushes, two fit; the last is where 0 was
    np.testing.assert_array_equal(results["queued"]["keys"], expected)
    assert results["queued"]["position"] == numbers.PUSHED


def test_a_target_follows_the_same_weights(here: tuple[int, dict[str, Any]]) -> None:
    """Gradient descent on the mean of squares, and ξ ← τ·ξ + (1 − τ)·θ, on batches that one process draws."""
    from bench.data.sampler import DrawSampler

    _, results = here
    x, y = numbers.regression()
    online = (np.arange(6, dtype=np.float32).reshape(2, 3) / np.float32(10)).astype(np.float64)
    target = online.copy()
    seen: list[int] = []
    for _, share in zip(range(4), DrawSampler(14, 6, seed=3).shares(), strict=False):
        seen += share.images.tolist()
        left = x[share.images] @ online.T - y[share.images]
        online = online - 0.05 * 2 * left.T @ x[share.images] / 6
        target = numbers.TAU * target + (1 - numbers.TAU) * online
    assert len(set(seen[:12])) == len(set(seen[12:])) == 12  # no image twice in an epoch
    np.testing.assert_allclose(results["averaged"]["online"], online, **TIGHT)
    np.testing.assert_allclose(results["averaged"]["target"], target, **TIGHT)


@pytest.mark.parametrize("temperature", [0.1, None])
@pytest.mark.parametrize("search", ["bf16", "float32"])
def test_neighbours_in_a_bank_in_unequal_parts(
    here: tuple[int, dict[str, Any]], temperature: float | None, search: str
) -> None:
    _, results = here
    np.testing.assert_array_equal(results["neighbours"][f"{search} {temperature}"][:, 0], numbers.voted(temperature))


def test_linear_heads_see_every_batch_once_in_order(here: tuple[int, dict[str, Any]]) -> None:
    _, results = here
    seen = results["turns"]
    assert seen["labels"].tolist() == list(range(14))
    assert seen["features"].tolist() == [[float(i), float(i * i)] for i in range(14)]
    assert seen["sizes"].tolist() == [3, 2, 0, 3, 1, 3, 2]
    assert seen["skipped"].tolist() == list(range(7))


def test_every_image_is_evaluated_once(here: tuple[int, dict[str, Any]]) -> None:
    world, results = here
    for length in (*range(1, 14), numbers.IMAGES):
        assert results["evaluated"][f"{length}"].tolist() == list(range(length))
    assert results["evaluated"]["sizes"] == [0, 2, 4][:world]
    assert results["evaluated"]["sums"] == (world * (world + 1) // 2, 10 * world)


def test_miou_counts_no_image_twice(here: tuple[int, dict[str, Any]]) -> None:
    world, results = here
    assert results["pixels"]["dealt"] == -(-numbers.MAPS // world)  # of three ranks, two images come twice
    np.testing.assert_allclose(results["pixels"]["scores"]["mIoU"], numbers.miou(), rtol=1e-12)
    _, true = numbers.label_maps()
    expected = [[int((one == c).sum()) for c in range(numbers.PIXEL_CLASSES)] for one in true]
    if results["pixels"]["true"] is not None:  # on the first rank alone
        assert results["pixels"]["true"].tolist() == expected


def test_the_first_rank_keeps_the_outcomes_of_each_image(found: dict[tuple[int, int], dict[str, Any]]) -> None:
    assert {key for key, results in found.items() if results["pixels"]["true"] is not None} == {(1, 0), (2, 0), (3, 0)}
