"""Two gloo processes find what one process finds: neighbours in a bank in parts, and linear heads, to the bit."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

STAGES = [f"stage {precision} {batch}" for precision in ("bf16", "float32", "euclidean") for batch in (4, 16)]


@pytest.fixture(scope="module")
def results(
    on_ranks: Callable[..., list[dict[str, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
    trunk_folder: Path,
    imagenet: Path,
) -> list[dict[str, Any]]:
    """What (world 1), (world 2, rank 0) and (world 2, rank 1) computed."""
    data = tmp_path_factory.mktemp("ranks") / "data"
    shutil.copytree(imagenet, data)
    next((data / "train" / "n01440764").iterdir()).write_bytes(b"no image")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return on_ranks(Path(__file__).with_name("two_ranks.py"), trunk_folder, data, port, imagenet)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["halves", "few on one"])
def test_neighbours_are_those_of_one_process(results: list[dict[str, Any]], case: str) -> None:
    alone, *ranks = results
    for rank in ranks:
        assert torch.equal(rank[case][0], alone[case][0])
        assert torch.equal(rank[case][1], alone[case][1])


@pytest.mark.parametrize("case", STAGES)
def test_the_stage_finds_the_same_on_two_ranks(results: list[dict[str, Any]], case: str) -> None:
    alone, *ranks = results
    metrics, scores, labels = alone[case]
    assert (metrics["bank_images"], metrics["validation_images"], metrics["images_skipped"]) == (17, 9, 1)
    for theirs, their_scores, their_labels in (rank[case] for rank in ranks):
        assert theirs == metrics
        rtol = 1e-5 if "euclidean" in case else 0  # distances are as large as the features are
        torch.testing.assert_close(their_scores, scores, rtol=rtol, atol=0 if "bf16" in case else 1e-6)
        assert torch.equal(their_labels, labels)


@pytest.mark.parametrize("case", ["augmented", "resident", "centre", "adam"])
def test_linear_heads_are_to_the_bit_those_of_one_process(results: list[dict[str, Any]], case: str) -> None:
    alone, *ranks = results
    metrics, tensors = alone[f"linear {case}"]
    assert metrics["images_skipped"] > 0 or case == "resident"
    assert tensors["weight"].abs().max() > 0.05  # they did learn: N(0, 0.01) is where they start
    for theirs, their_tensors in (rank[f"linear {case}"] for rank in ranks):
        assert theirs == metrics
        assert tensors.keys() == their_tensors.keys()
        assert all(torch.equal(tensors[name], their_tensors[name]) for name in tensors)


def test_what_was_said_of_each_image_is_on_two_ranks_that_of_one(results: list[dict[str, Any]]) -> None:
    alone, first, _ = results
    names = [name for name in alone if name.startswith("outcomes")]
    assert len(names) == len(STAGES) + 5
    assert [alone[name] == first[name] for name in names] == [True] * len(names)


def test_linear_heads_stopped_on_one_rank_stop_on_all_and_go_on(results: list[dict[str, Any]]) -> None:
    alone, *ranks = results
    for rank in ranks:
        assert rank["stopped"] == [3]  # the signal came to the second rank alone
        metrics, tensors = rank["linear resumed"]
        assert metrics == alone["linear augmented"][0]
        assert all(torch.equal(tensors[name], value) for name, value in alone["linear augmented"][1].items())
