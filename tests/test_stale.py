"""What other code made is named, and never taken for what the code of now makes; on a copy of this package."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import Forks

from bench.code.modules import OURS

RATE = 'group["lr"] = (peak if group.get("constant") else rate) * group.get("rate", 1.0)'
GRID = ("--smoke", "--pretrain", "coco", "--downstream", "imagenet_knn", "--set", "pretrain.arch=resnet18w16")
GRID += ("objective.hidden_dim=16", "objective.projection_dim=8")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, render_into: Callable[[Path], Path]) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for name in ("bench", "pretrain_configs", "downstream_configs"):
        shutil.copytree(OURS.parent / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(OURS.parent / "results" / "reference", folder / "results" / "reference")
    render_into(folder / "runs")
    return folder


@pytest.fixture(scope="module")
def run(tree: Path, forks: Forks) -> Run:
    """Run `bench WORDS` of the copy."""

    def bench(*words: object) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("BENCH_")}
        environ |= {"PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(tree / "cache")}
        return forks.run(["-m", "bench", *words], tree, environ)

    return bench


def edit(tree: Path, old: str, new: str) -> None:
    file = tree / "bench" / "train" / "optim.py"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def record(tree: Path) -> dict:
    (file,) = (tree / "runs" / "smoke" / "results" / "records").glob("*.json")
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_learning_rate_that_is_tripled_makes_what_was_trained_stale(tree: Path, run: Run) -> None:
    first = run("run", *GRID)
    assert first.returncode == 0, first.stderr
    before = record(tree)
    assert set(before["code"]) == {"pretrain", "convert", "knn"}
    assert before["code"]["pretrain"][0]["libraries"]["torch"]
    digest = before["code"]["pretrain"][0]["digest"]
    again = run("run", *GRID)
    assert again.returncode == 0
    assert "recorded already" in again.stdout

    # An edit that changes nothing.
    edit(tree, RATE, f"# of each group\n        {RATE}")
    assert " stale" not in run("plan", *GRID).stdout

    edit(tree, RATE, f"{RATE} * 3")
    plan = run("plan", *GRID).stdout
    assert "stale      pretrain coco-s0\n           because   bench/train/optim.py (set_rates)" in plan
    assert "stale      knn coco--imagenet_knn-s0\n           because   pretrain coco-s0: bench/train/optim.py" in plan
    assert "done       convert coco-s0" in plan

    refused = run("run", *GRID)
    assert refused.returncode == 2
    assert "Made by other code than that of now: pretrain coco-s0 (bench/train/optim.py (set_rates))" in refused.stderr
    assert ", and 1 more; give" in refused.stderr
    assert "--stale keep" in refused.stderr
    assert "--stale redo" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert record(tree) == before

    (folder,) = (tree / "runs" / "pretrain").iterdir()
    by_hand = run("stage", folder)
    assert by_hand.returncode == 2
    assert "bench/train/optim.py (set_rates)" in by_hand.stderr
    assert "--stale keep" in by_hand.stderr

    kept = run("run", *GRID, "--stale", "keep")
    assert kept.returncode == 0, kept.stderr
    assert record(tree) == before
    assert "(1) §" in kept.stdout
    assert "§ Made by other code than that of now (stage, and of how many runs): coco, " in kept.stdout
    assert "pretrain of 1 of 1 run." in kept.stdout

    redone = run("run", *GRID, "--stale", "redo")
    assert redone.returncode == 0, redone.stderr
    after = record(tree)
    assert after["code"]["pretrain"][0]["digest"] != digest
    assert after["code"]["knn"] == before["code"]["knn"]
    assert after["metrics"] != before["metrics"] or after["pretrain_metrics"] != before["pretrain_metrics"]
    aside = f"replaced-{digest[:8]}"
    assert (tree / "runs" / "pretrain" / f"{folder.name}.{aside}" / "last.ckpt").is_file()
    old, outcomes = sorted((tree / "runs" / "smoke" / "results" / "records" / "replaced").iterdir())
    assert json.loads(old.read_text(encoding="utf-8")) == before
    assert outcomes.name == f"{old.stem}.outcomes.npz"
    assert hashlib.sha256(outcomes.read_bytes()).hexdigest() == before["outcomes"]["sha256"]
    assert " stale" not in run("plan", *GRID).stdout


@pytest.mark.slow
def test_an_unfinished_training_goes_on_under_other_code_only_if_that_is_said(tree: Path, run: Run) -> None:
    words = ("--smoke", "--pretrain", "random_init", "--set", "arch=resnet18w16")
    assert run("run", *words).returncode == 0
    (folder,) = (place for place in (tree / "runs" / "pretrain").iterdir() if place.name.startswith("random_init"))
    (folder / "done.json").unlink()
    shutil.rmtree(tree / "runs" / "convert")
    content = json.loads((folder / "code.json").read_text(encoding="utf-8"))
    was = content["sittings"][0]["digest"]
    edit(tree, "def set_rates(", "SPARE = 1\n\n\ndef set_rates(")  # reaches nothing
    assert "stale" not in run("plan", *words).stdout
    edit(tree, RATE, f"{RATE} * 1")
    assert "stale      pretrain random_init-s0" in run("plan", *words).stdout
    assert run("run", *words).returncode == 2
    kept = run("run", *words, "--stale", "keep")
    assert kept.returncode == 0, kept.stderr
    assert f"goes on under other code than it was begun with ({was} and " in kept.stdout
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    first, second = (each["digest"] for each in done["code"])
    assert first == was != second
