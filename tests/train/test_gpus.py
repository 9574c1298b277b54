from __future__ import annotations

import pytest
import torch

from bench.errors import BadInput
from bench.train.gpus import built_for, check_built_for_gpus

BUILDS = ["sm_75", "sm_80", "sm_90a", "compute_90"]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), False), ((7, 0), False), ((7, 5), True), ((8, 9), True), ((9, 0), True), ((12, 0), True)],
)
def test_which_gpus_a_build_of_torch_runs_on(capability: tuple[int, int], expected: bool) -> None:
    assert built_for(capability, BUILDS) is expected
    assert built_for(capability, [])
    assert not built_for((12, 0), BUILDS[:-1])


def test_a_build_for_a_generation_of_two_digits() -> None:
    assert built_for((12, 0), ["sm_120"])
    assert not built_for((1, 2), ["sm_120"])


def test_a_gpu_that_torch_was_not_built_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for CUDA of two GPUs."""
    capabilities = [(8, 0), (7, 0)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_built_for_gpus(8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: BUILDS)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Tesla {index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    check_built_for_gpus()
    with pytest.raises(BadInput, match=r"no programs for Tesla 1, a GPU of compute capability 7\.0; install"):
        check_built_for_gpus(2)
