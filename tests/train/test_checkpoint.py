from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forks
from stand_in import StandIn, recipe, same, train

from bench.errors import BadInput, StageFailed
from bench.train.checkpoint import LAST, assert_finite, epoch_file, read, write

GOOD = {"objective": {"w": torch.arange(3.0)}, "step": 1}


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / LAST, GOOD)
    assert same(read(tmp_path / LAST), {"format": 1, **GOOD})
    assert [file.name for file in tmp_path.iterdir()] == [LAST]
    assert epoch_file(79) == "epoch_0079.ckpt"


@pytest.mark.slow
def test_a_process_killed_while_writing_leaves_the_old_one(tmp_path: Path, forks: Forks) -> None:
    """Killed at each point between opening the new file and putting it in place."""
    write(tmp_path / LAST, GOOD)
    for place in ("torch.save", "os.fsync", "pathlib.Path.replace"):
        program = (
            "import os, pathlib, sys, torch\n"
            "from bench.train.checkpoint import write\n"
            f"{place} = lambda *_: os._exit(9)\n"
            "write(pathlib.Path(sys.argv[1]), {'objective': {}, 'step': 2})\n"
        )
        done = forks.run(["-c", program, tmp_path / LAST], Path.cwd(), os.environ)
        assert done.returncode == 9
        assert same(read(tmp_path / LAST), {"format": 1, **GOOD})
    assert (tmp_path / f".{LAST}.partial").exists()
    write(tmp_path / LAST, GOOD | {"step": 3})
    assert read(tmp_path / LAST)["step"] == 3
    assert same(read(tmp_path / "previous.ckpt"), {"format": 1, **GOOD})
    assert sorted(file.name for file in tmp_path.iterdir()) == [LAST, "previous.ckpt"]


def test_a_file_is_on_the_disk_before_it_replaces_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write(tmp_path / LAST, GOOD)
    assert order == ["fsync", "replace", "fsync"]


class Trap:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_unpickling_the_trap_runs_its_code(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, how: str) -> None:
    file, sprung = tmp_path / LAST, tmp_path / "sprung"
    content = {"format": 1, "objective": {}, "extra": Trap(sprung)}
    if how == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(BadInput, match="carries code"):
        read(file)
    with pytest.raises(BadInput, match=r"carries code .* remove .* to start this run anew"):
        train(tmp_path, recipe())
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 nor a zip file"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(BadInput, match="is not a checkpoint"):
        read(tmp_path / LAST)


def test_foreign_and_future_checkpoints_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(1)}}, tmp_path / LAST)
    with pytest.raises(BadInput, match="not a training checkpoint of this project"):
        read(tmp_path / LAST)
    torch.save({"format": 2, "objective": {}}, tmp_path / LAST)
    with pytest.raises(BadInput, match="has format 2, this version reads 1"):
        read(tmp_path / LAST)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite_is_named(value: float) -> None:
    model = StandIn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.projector.weight.grad = torch.ones_like(model.projector.weight)
    optimizer.step()
    assert_finite(model, optimizer, 5, "nothing")
    optimizer.state[model.projector.weight]["momentum_buffer"][0, 0] = value
    with pytest.raises(StageFailed, match=r"After step 5 the optimizer's momentum_buffer of projector\.weight held"):
        assert_finite(model, optimizer, 5, "nothing")
    model.encoder[1].running_var[0] = value
    with pytest.raises(StageFailed, match=r"encoder\.1\.running_var and 1 more tensors"):
        assert_finite(model, optimizer, 5, "nothing")
