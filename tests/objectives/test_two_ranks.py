"""Two gloo processes with half of the batch each have the gradient of one process with all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import distance, load
from two_ranks import UNGROUPED

from bench.config.objective_source import class_says

pytestmark = pytest.mark.slow

CASES = [name for name, case in load().items() if case.ranks]
GROUPED = [name for name in CASES if class_says(load()[name].settings["name"], "norm_groups")]
BROKEN = (
    "two_loss logistic",
    "two_loss align_uniform",
    "two_loss variance_covariance",
    "simclr",
    "simclr crops",
    "dclw crops",
    "moco_v3 crops",
    "barlow_twins crops",
)


@pytest.fixture(scope="module")
def results(on_ranks):
    """What (world 1), (world 2, rank 0) and (world 2, rank 1) computed."""
    return on_ranks(Path(__file__).with_name("two_ranks.py"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradients_terms_and_statistics_equal_those_of_one_process(results, case):
    alone, *ranks = results
    for rank in ranks:
        for kind in ("grad", "term", "buffer"):
            assert distance(rank[case], alone[case], kind) < 1e-9, kind


@pytest.mark.slow
@pytest.mark.parametrize("case", GROUPED)
def test_norms_over_halves_of_one_process_equal_those_of_two(results, case):
    """What `norm_groups` promises of an objective."""
    alone, *ranks = (one[f"{case}, halves"] for one in results)
    for rank in ranks:
        for kind in ("grad", "term", "buffer"):
            assert distance(rank, alone, kind) < 1e-9, kind


@pytest.mark.parametrize("case", UNGROUPED)
def test_an_objective_that_promises_no_norm_groups_has_none(results, case):
    assert not class_says(load()[case].settings["name"], "norm_groups")
    alone, first, _ = (one[f"{case}, halves"] for one in results)
    assert distance(first, alone, "grad") > 1e-3


@pytest.mark.parametrize("case", BROKEN)
def test_the_comparison_can_fail(results, case):
    alone, first, _ = results
    assert distance(first[f"broken {case}"], alone[case], "grad") > 1e-3
