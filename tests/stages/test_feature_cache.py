"""Kept features: bit for bit those that would be computed, whole or not there, found only by what they are of."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.config.tasks import KnnTask, LinearTask
from bench.errors import StageFailed
from bench.stages import knn, linear
from bench.stages.feature_cache import ABOUT, FEATURES, FeatureCache, clean
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.stages.load_proof import SIZES
from bench.timing_gaps import forget_gaps, noted_gaps

COMMON: dict[str, Any] = {"name": "t", "summary": "", "source": "", "profile": "smoke", "dataset": "imagenet"}
COMMON |= {"batch_size": 4, "size": 32, "resize": 36, "precision": "float32", "workers": 0}


def neighbours(**changes: Any) -> KnnTask:
    return KnnTask(**(COMMON | {"kind": "knn", "k": 5} | changes))


def heads(**changes: Any) -> LinearTask:
    values = {"kind": "linear", "epochs": 8, "learning_rates": (10.0,), "features": "centre"}
    return LinearTask(**(COMMON | values | changes))


@pytest.fixture
def stage(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> Callable[..., dict[str, Any]]:
    """Run a task in a folder of its own, with the cache that all share; returns its metrics."""
    number = iter(range(99))

    def run(task: KnnTask | LinearTask, **changes: Any) -> dict[str, Any]:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        values: dict[str, Any] = {"inputs": {"convert": trunk_folder}, "data_roots": {"imagenet": imagenet}}
        values |= {"data": {"imagenet": "0123"}, "features": tmp_path / "features"}
        job = Job(config=task, seed=changes.pop("seed", 0), folder=folder, **(values | changes))
        return (knn if isinstance(task, KnnTask) else linear).run(job)

    return run


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the trunk had, but that of its load proof."""
    seen: list[int] = []
    real = FrozenTrunk.features

    def features(self: FrozenTrunk, images: Tensor) -> Tensor:
        if images.shape[-2:] != SIZES["imagenet"]:
            seen.append(len(images))
        return real(self, images)

    monkeypatch.setattr(FrozenTrunk, "features", features)
    return seen


def entries(folder: Path) -> list[Path]:
    return [place for place in (folder / "features").iterdir() if not place.name.startswith(".")]


@pytest.mark.slow
def test_a_second_stage_reads_what_the_first_one_left(
    stage: Callable[..., dict[str, Any]], forwards: list[int], tmp_path: Path
) -> None:
    without = stage(neighbours(reuse_features=False))
    assert not (tmp_path / "features").exists()
    forget_gaps()
    first = stage(neighbours())
    assert sum(forwards) == 2 * 27
    assert noted_gaps() == []
    assert stage(neighbours()) == first == without
    assert [words.split()[:2] for words in noted_gaps()] == [["18", "features"], ["9", "features"]]
    assert stage(neighbours(k=3, temperature=0.5))["k"] == 3
    assert sum(forwards) == 2 * 27
    # The validation images of a linear evaluation are the queries; with centre features, training images the bank.
    centre = stage(heads())
    assert sum(forwards) == 2 * 27
    assert centre["top1_percent"] > 60
    assert centre == stage(heads(reuse_features=False))


@pytest.mark.slow
def test_kept_features_are_the_trunks_to_the_last_bit(
    stage: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    real = knn.classify
    monkeypatch.setattr(knn, "classify", lambda *words, **more: seen.append(words[:2]) or real(*words, **more))
    for task in (neighbours(reuse_features=False), neighbours(), neighbours()):
        stage(task)
    for queries, bank in seen[1:]:
        assert torch.equal(queries, seen[0][0])
        assert torch.equal(bank, seen[0][1])
    assert len(entries(tmp_path)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"size": 34}, {"resize": 40}, {"precision": "bf16"}, {"trunk": "folded"}, {"subset": 12}, {"batch_size": 5}],
    ids=str,
)
def test_other_features_are_other_entries(
    change: dict[str, Any], stage: Callable[..., dict[str, Any]], forwards: list[int]
) -> None:
    stage(neighbours())
    before = sum(forwards)
    stage(neighbours(**change))
    assert sum(forwards) - before == (12 if "subset" in change else 27)  # of 12, the queries are there


@pytest.mark.slow
def test_other_data_and_another_trunk_are_other_entries(
    stage: Callable[..., dict[str, Any]], forwards: list[int], new_trunk_folder: Callable[[int], Path]
) -> None:
    stage(neighbours())
    stage(neighbours(), data={"imagenet": "4567"})
    stage(neighbours(), inputs={"convert": new_trunk_folder(5)})
    stage(neighbours(), data={})  # nothing says what the data are
    assert sum(forwards) == 4 * 27
    stage(neighbours(), data={})
    assert sum(forwards) == 5 * 27


@pytest.mark.slow
@pytest.mark.parametrize("file", [FEATURES, ABOUT, "labels.npy"])
def test_a_damaged_entry_is_computed_anew(
    file: str, stage: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = stage(neighbours())
    for place in entries(tmp_path):
        content = bytearray((place / file).read_bytes())
        content[-20] ^= 1
        (place / file).write_bytes(bytes(content))
    assert stage(neighbours()) == expected
    assert capsys.readouterr().out.count("are damaged: computed anew") == 2
    assert stage(neighbours()) == expected
    assert "damaged" not in capsys.readouterr().out


def test_what_ends_early_leaves_no_entry(
    stage: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FrozenTrunk.features
    left = [3]

    def features(self: FrozenTrunk, images: Tensor) -> Tensor:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError("power cut")
        return real(self, images)

    monkeypatch.setattr(FrozenTrunk, "features", features)
    with pytest.raises(RuntimeError):
        stage(neighbours())
    assert entries(tmp_path) == []


@pytest.mark.usefixtures("nudged_trunk")
def test_features_of_a_trunk_that_changed_are_not_kept(stage: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="The frozen trunk changed"):
        stage(neighbours())
    assert entries(tmp_path) == []


@pytest.mark.slow
def test_too_much_is_not_kept_and_said_so(
    stage: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = stage(neighbours(reuse_features=False))
    monkeypatch.setenv("BENCH_FEATURES_GIB", "0")
    assert stage(neighbours()) == expected
    assert capsys.readouterr().out.count("features are not kept: 0.0 GiB are too much; BENCH_FEATURES_GIB") == 2
    assert entries(tmp_path) == []


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    for age, name in ((30, "old"), (20, "used"), (10, "new")):
        cache = FeatureCache(tmp_path, {"name": name}, 10, 8)
        cache.add(torch.ones(7, 8), torch.arange(7), 3)
        cache.publish()
        os.utime(cache.place, (time.time() - age,) * 2)
    entry = FeatureCache(tmp_path, {"name": "used"}, 10, 8).read()  # and so it is used now
    assert entry is not None
    assert (entry.features.shape, entry.labels.tolist(), entry.skipped) == ((7, 8), list(range(7)), 3)
    abandoned = tmp_path / ".abandoned.1"
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))
    size = sum(file.stat().st_size for file in entry.folder.iterdir())
    clean(tmp_path, 2 * size, keep=None)
    names = {json.loads((place / ABOUT).read_text())["about"]["name"] for place in tmp_path.iterdir()}
    assert names == {"used", "new"}


def test_rows_come_back_in_batches_with_what_was_skipped_at_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, {}, 5, 2)
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32))
    for part in (slice(0, 2), slice(2, 2), slice(2, 5)):
        cache.add(rows[part], torch.arange(5)[part], 1)
    cache.publish()
    entry = FeatureCache(tmp_path, {}, 5, 2).read()
    assert entry is not None
    batches = list(entry.batches(2))
    assert torch.equal(torch.cat([features for features, _, _ in batches]), rows)
    assert [len(labels) for _, labels, _ in batches] == [2, 2, 1]
    assert [skipped for _, _, skipped in batches] == [3, 0, 0]
