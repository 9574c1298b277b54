"""Two gloo processes with a part of the bank each find what one process finds with all of it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

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
    return on_ranks(Path(__file__).with_name("two_ranks.py"), trunk_folder, data, port)


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
