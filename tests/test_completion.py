"""What a shell completes, asked as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import run

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """Return complete(line): the words that bash is offered for the last word of a command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_WORK_DIR", raising=False)
    monkeypatch.delenv("BENCH_RESULTS_DIR", raising=False)

    def offered(line: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_BENCH_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit) as ended:
            run([])
        said = capsys.readouterr()
        assert (ended.value.code, said.err) == (0, "")
        return said.out.split("\n")[:-1]

    return offered


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bench stat", ["status"]),
        ("bench run --pro", ["--profile"]),
        ("bench run --profile m", ["mini"]),
        ("bench run --pretrain coco_two", ["coco_two_loss"]),
        ("bench run --pretrain coco random_init imagenet_simcl", ["imagenet_simclr", "imagenet_simclr_1000"]),
        ("bench run --pretrain coco --downstream imagenet_knn cityscapes", ["cityscapes_pspnet"]),
        ("bench plan --downstream cityscapes_pspnet --pretrain coco_two", ["coco_two_loss"]),
        ("bench show patch_b", ["patch_byol"]),
        ("bench show coco_two", ["coco_two_loss"]),
        ("bench canary simclr moco_v", ["moco_v2", "moco_v3"]),
        ("bench reproduce deck", ["deck-small"]),
        ("bench data check cifar", ["cifar10", "cifar100"]),
        ("bench run --seeds ", [""]),
        ("bench trace none", [""]),
    ],
)
def test_names_are_completed(complete: Complete, line: str, words: list[str]) -> None:
    assert complete(line) == words


def test_records_rows_and_stages_are_those_of_the_folders(complete: Complete, tmp_path: Path) -> None:
    for name in ("coco__imagenet_knn__s0__0123456789ab", "mine__imagenet_knn__s0__0123456789ab"):
        for folder in ("results", "others"):
            (tmp_path / folder / "records").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "records" / f"{name if folder == 'results' else f'x{name}'}.json").touch()
    for folder in ("runs", "mine"):
        stage = tmp_path / folder / "convert" / f"coco-s0-{folder}"
        stage.mkdir(parents=True)
        (stage / "stage.json").touch()
    assert complete("bench verify coco") == ["coco__imagenet_knn__s0__0123456789ab"]
    assert complete("bench trace --results-dir others xm") == ["xmine__imagenet_knn__s0__0123456789ab"]
    assert complete("bench pictures coco") == ["coco__imagenet_knn__s0__0123456789ab"]
    assert complete("bench compare coco m") == ["mine"]
    assert complete("bench plot transfer --rows coco m") == ["mine"]
    assert complete("bench table --baseline m") == ["mine"]
    assert complete("bench logs con") == ["convert/coco-s0-runs"]
    assert complete("bench cancel --work-dir mine con") == ["convert/coco-s0-mine"]
    assert complete("bench stage runs/c") == ["runs/convert/coco-s0-runs"]


def test_a_config_of_ones_own_is_completed_and_a_broken_folder_is_no_traceback(
    complete: Complete, tmp_path: Path
) -> None:
    (tmp_path / "pretrain_configs").mkdir()
    (tmp_path / "pretrain_configs" / "my_config.py").touch()
    assert complete("bench run --pretrain my") == ["my_config"]
    (tmp_path / "pretrain_configs" / "my_config.yaml").touch()  # two of one name, which commands refuse
    assert complete("bench run --pretrain my") == [""]


def test_other_shells_get_their_form(complete: Complete) -> None:
    assert complete("bench reproduce deck", "fish") == ["deck-small"]
    assert complete("bench reproduce deck", "zsh") == ["_arguments '*: :((\"deck-small\"))'"]


def test_completing_does_not_wait_for_heavy_imports() -> None:
    program = (
        "import sys\nfrom bench.cli import run\ntry:\n    run([])\nexcept SystemExit:\n    pass\n"
        "loaded = {'torch', 'pandas', 'numpy', 'mmengine', 'PIL'} & set(sys.modules)\nassert not loaded, loaded"
    )
    line = "bench run --pretrain coco_two"
    asked = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, check=True, capture_output=True, text=True
    )
    assert done.stdout == "coco_two_loss\n"
