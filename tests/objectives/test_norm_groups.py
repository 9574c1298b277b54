"""Norms over groups of images: 1, 2 and 4 processes train the same, as long as groups have as many images."""

from __future__ import annotations

from pathlib import Path

import norm_groups
import pytest
from cases import distance

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(on_ranks):
    """What one process, the first of two, and each of four computed."""
    alone, first, _, *four = on_ranks(Path(__file__).with_name("norm_groups.py"), worlds=(1, 2, 4))
    return alone, first, *four


@pytest.mark.slow
@pytest.mark.parametrize("run", norm_groups.RUNS)
def test_any_number_of_processes_trains_the_same(results, run):
    alone, *others = results
    for one in others:
        for kind in ("loss", "grad", "weight", "buffer"):
            assert distance(one[run], alone[run], kind) < 1e-8, kind


def test_groups_matter(results):
    alone = results[0]
    assert distance(alone["moco, 4 images"], alone["moco, 4 images, 2 parts"], "weight") > 1e-3


@pytest.mark.parametrize("mistake", norm_groups.BROKEN)
def test_the_comparison_can_fail(results, mistake):
    run = norm_groups.BROKEN[mistake][0]
    kind = "buffer" if mistake.startswith("statistics") else "loss"
    assert distance(results[2][mistake], results[0][run], kind) > 1e-5
