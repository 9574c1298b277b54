"""What would end every process of a stage alike is refused before a launcher starts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.errors import BadInput
from bench.execute import stage as stages
from bench.execute.grid import Request, plan_grid
from bench.execute.stage_file import write_stage


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for CUDA with two GPUs; nothing is started on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla X")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 0))
    monkeypatch.setattr(stages, "launch", lambda *_, **__: pytest.fail("processes were started"))


def folder_of(tmp_path: Path, *assignments: str) -> Path:
    request = Request(pretrain=["coco"], profile="smoke", work_dir=tmp_path, assignments=list(assignments))
    return write_stage(plan_grid(request, act=False).stages[0], tmp_path, {}, tmp_path, "fail")


@pytest.mark.usefixtures("two_gpus")
def test_compiling_with_synchronised_norms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="do not go together on 2 GPUs"):
        stages.run_stage(folder_of(tmp_path, "compile=True"), 2)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_that_torch_was_not_built_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (6, 1))
    for gpus in (1, 2):
        with pytest.raises(BadInput, match="no programs for Tesla X"):
            stages.run_stage(folder_of(tmp_path), gpus)
