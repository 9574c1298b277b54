"""The study of the second loss's readings measures what it says, and goes on where it stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import loss2
import pytest
import torch
from small_images import write_png

from bench.config.load import load_recipe
from bench.train.schedule import learning_rate

STEPS = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar")
    write_png("cifar10", folder / "cifar10")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["loss2.py", *map(str, words)])
    threads = torch.get_num_threads()
    try:
        loss2.main()
    finally:
        torch.set_num_threads(threads)


def test_what_is_logged_is_what_is_trained_on_and_what_follows_from_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study" / "loss2.json"
    words = ("--data-root", root, "--steps", STEPS, "--batch", 4, "--file", file, "--only")
    run(monkeypatch, *words, "cifar10/logistic")
    run(monkeypatch, *words, "cifar10/logistic", "cifar10/loss1")
    runs = json.loads(file.read_text())["runs"]
    assert list(runs) == ["cifar10/logistic/4x4/s0", "cifar10/loss1/4x4/s0"]
    both, one = (run["curve"][-1] for run in runs.values())
    for reading in (both, one):
        assert reading["step"] == STEPS
        assert reading["logistic"] == pytest.approx(reading["loss2"], abs=1e-4)
        assert reading["loss1"] == pytest.approx(4 - 4 * reading["positive"], abs=1e-4)
        expected = 0.5 * (1 - reading["positive"]) ** 2 + 0.5 * (1 + 2 * reading["negative_mean"])
        assert reading["least_squares"] == pytest.approx(expected + reading["negative_square"] / 2, abs=0.05)
    assert both["loss"] == pytest.approx(both["loss1"] + both["loss2"], abs=1e-4)
    assert one["loss"] == pytest.approx(one["loss1"], abs=1e-4)
    before = file.read_text()
    run(monkeypatch, *words, "cifar10/logistic", "cifar10/loss1")
    assert file.read_text() == before


def test_a_method_that_is_none_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as refused:
        run(monkeypatch, "--data-root", root, "--only", "cifar10/logistik")
    assert refused.value.code == 2


def test_the_learning_rate_is_that_of_the_recipe() -> None:
    """Whose 97,000 steps are a thousand epochs; of a run as long, each step has the same rate."""
    recipe, total = load_recipe("cifar10_byol_two_loss"), 97_000
    assert recipe.optimizer is not None
    theirs, ours = learning_rate(recipe.schedule, recipe.optimizer.lr, total, 97), loss2.rates(total)
    for step in (0, 1, 250, 499, 500, 50_000, 92_149, 92_150, 94_574, 94_575, total - 1):
        assert ours(step) == pytest.approx(theirs(step))
    assert ours(0) == pytest.approx(3e-3 / 500)
    assert loss2.rates(STEPS)(0) == pytest.approx(3e-3)
