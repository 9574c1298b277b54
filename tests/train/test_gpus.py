from __future__ import annotations

import pytest
import torch

from bench.errors import BadInput
from bench.train.gpus import built_for, check_gpus

BUILDS = ["sm_75", "sm_80", "sm_90a", "compute_90"]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), False), ((7, 0), False), ((7, 5), True), ((8, 9), True), ((9, 0), True), ((12, 0), True)],
)
def test_which_gpus_a_build_of_torch_runs_on(capability: tuple[int, int], expected: bool) -> None:
    assert built_for(capability, BUILDS) is expected
    assert built_for(capability, [])
    assert not built_for((12, 0), BUILDS[:-1])


def test_gpus_that_are_not_there_or_too_old_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for CUDA of two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_gpus(8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: BUILDS)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla X")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 0))
    check_gpus(2)
    with pytest.raises(BadInput, match="--gpus 3 is more than this machine has, which is 2; give --gpus 2 or fewer"):
        check_gpus(3)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))
    with pytest.raises(BadInput, match=r"no programs for Tesla X, a GPU of compute capability 7\.0; install"):
        check_gpus()
