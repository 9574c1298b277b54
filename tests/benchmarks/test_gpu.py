"""The GPU benchmark's own contenders on a CPU, with tiny sizes, and what it says when it cannot run."""

from __future__ import annotations

import gpu
import pytest
import torch


def test_its_contenders_do_their_work_on_a_cpu():
    assert gpu.gemm(8, "cpu", repeats=2)() == pytest.approx(2 * 2 * 8**3 / 1e9)
    assert gpu.neighbours(300, 5, "cpu", how="float32", dim=16)() == 5
    assert gpu.frozen(2, 32, "cpu", arch="resnet18")() == 2
    assert gpu.frozen(2, 32, "cpu", arch="resnet18", precision="bf16")() == 2


def test_folded_trunks():
    assert gpu.frozen(2, 32, "cpu", how="folded", arch="resnet18", precision="bf16")() == 2


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        gpu.main([])
    assert end.value.code == 2
    assert "there is no GPU that torch can use" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "said"), [(["--only", "x"], "no part"), (["--device", "cpu"], "give --quick")])
def test_bad_words(words, said, capsys):
    with pytest.raises(SystemExit):
        gpu.main(words)
    assert said in capsys.readouterr().err


def test_a_part_that_fails_does_not_take_the_others_along(monkeypatch, capsys):
    ran = []

    def fails(sitting):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu, "PARTS", {"fails": fails, "good": lambda sitting: ran.append(sitting.rounds)})
    assert gpu.main(["--device", "cpu", "--quick"]) == 1
    assert ran == [1]
    assert "Failed: fails (RuntimeError: out of memory)." in capsys.readouterr().err
