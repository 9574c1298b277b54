"""Weighted nearest neighbours against a naive loop and lightly's function."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.config.load import load_task
from bench.config.tasks import KnnTask
from bench.data.sets import index
from bench.errors import BadInput, StageFailed
from bench.nn.neighbours import Bank, euclidean
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.stages.knn import classify, extract, nearest, run, vote
from bench.stages.load_proof import SIZES


def clusters(n: int, dim: int, classes: int, seed: int, noise: float = 1.5) -> tuple[Tensor, Tensor]:
    """Unit-length features around one centre a class, with classes that overlap."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (n,), generator=rng)
    return F.normalize(centres[labels] + noise * torch.randn(n, dim, generator=rng), dim=1), labels


def naive(queries: Tensor, bank: Tensor, labels: Tensor, k: int, temperature: float) -> list[list[int]]:
    """Each query's classes by vote, with a plain loop over float64 scores."""
    ranked = []
    for query in queries.double():
        scores = sorted(((float(query @ row), int(label)) for row, label in zip(bank.double(), labels, strict=True)))
        votes: dict[int, float] = {}
        for score, label in scores[::-1][:k]:
            votes[label] = votes.get(label, 0.0) + math.exp(score / temperature)
        ranked.append(sorted(votes, key=lambda label: -votes[label]))
    return ranked


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (7, 0.07), (20, 0.5), (150, 0.07)])
def test_votes_are_those_of_a_naive_loop(k: int, temperature: float) -> None:
    bank, labels = clusters(150, 24, 11, seed=0)
    queries, _ = clusters(60, 24, 11, seed=1)
    votes = classify(queries, bank, labels, 11, k, temperature, most=11)
    for ours, theirs in zip(votes.tolist(), naive(queries, bank, labels, k, temperature), strict=True):
        assert [label for label in ours if label >= 0] == theirs


@pytest.mark.parametrize(("k", "temperature"), [(5, 0.07), (20, 0.1), (200, 0.07)])
def test_votes_are_lightlys(k: int, temperature: float) -> None:
    from lightly.utils.benchmarking import knn_predict

    bank, labels = clusters(300, 32, 10, seed=0)
    queries, _ = clusters(100, 32, 10, seed=1)
    theirs = knn_predict(queries, bank.t(), labels, num_classes=10, knn_k=k, knn_t=temperature)
    ours = classify(queries, bank, labels, 10, k, temperature, most=10)
    voted = ours >= 0
    assert torch.equal(ours[:, 0], theirs[:, 0])
    assert torch.equal(ours[voted], theirs[voted])


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_neighbours_do_not_depend_on_the_chunk(chunk: int) -> None:
    bank, _ = clusters(130, 16, 5, seed=0)
    queries, _ = clusters(9, 16, 5, seed=1)
    scores, positions = nearest(queries, bank, 20, chunk)
    whole = (queries @ bank.t()).topk(20, dim=1)
    torch.testing.assert_close(scores, whole.values)
    assert torch.equal(positions, whole.indices)


def test_a_vote_by_hand() -> None:
    # Class 2: exp(.5 / .5) + exp(.4 / .5) = 2.718 + 2.226 = 4.944; class 0: exp(.7 / .5) = 4.055; class 1: none.
    ranked = vote(torch.tensor([[0.7, 0.5, 0.4]]), torch.tensor([[0, 2, 2]]), 3, 0.5)
    assert ranked.tolist() == [[2, 0, -1]]
    # At τ = .07 the nearest alone decides: exp(10) = 22026 against exp(7.143) + exp(5.714) = 1568.
    assert vote(torch.tensor([[0.7, 0.5, 0.4]]), torch.tensor([[0, 2, 2]]), 3, 0.07).tolist() == [[0, 2, -1]]


def test_a_tiny_temperature_overflows_nothing() -> None:
    assert vote(torch.tensor([[0.9, 0.8]]), torch.tensor([[1, 0]]), 2, 1e-4).tolist() == [[1, 0]]


# ------------------------------------------------------------------------------------------ the stage


def make_job(folder: Path, trunk: Path, data: Path, **changes: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    unreadable = changes.pop("unreadable", "fail")
    values: dict[str, Any] = {
        "name": "imagenet_knn",
        "summary": "",
        "source": "",
        "profile": "smoke",
        "kind": "knn",
        "dataset": "imagenet",
        "k": 5,
        "batch_size": 4,
        "size": 32,
        "resize": 36,
        "precision": "float32",
        "workers": 0,
    }
    task = KnnTask(**(values | changes))
    return Job(
        config=task,
        seed=0,
        folder=folder,
        inputs={"convert": trunk},
        data_roots={"imagenet": data},
        unreadable=unreadable,
    )


def features(trunk: Path, folder: Path) -> tuple[Tensor, Tensor]:
    """Features of a split by PIL and one image at a time."""
    from PIL import Image

    encoder = FrozenTrunk(trunk, "float32").encoder
    rows, labels = [], []
    for label, place in enumerate(sorted(folder.iterdir())):
        for file in sorted(place.iterdir()):
            image = Image.open(file).resize((round(36 * 48 / 40), 36), Image.Resampling.BILINEAR)
            left, top = round((image.width - 32) / 2), round((image.height - 32) / 2)
            pixels = np.asarray(image.crop((left, top, left + 32, top + 32)), np.float32) / 255
            pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            with torch.no_grad():
                rows.append(encoder(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])[0])
            labels.append(label)
    return F.normalize(torch.stack(rows), dim=1), torch.tensor(labels)


@pytest.mark.slow
def test_the_stage_equals_a_naive_loop_over_files(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    metrics = run(make_job(tmp_path / "a", trunk_folder, imagenet, temperature=0.5))
    bank, labels = features(trunk_folder, imagenet / "train")
    queries, truth = features(trunk_folder, imagenet / "val")
    ranked = naive(queries, bank, labels, 5, 0.5)
    right = [votes[0] == label for votes, label in zip(ranked, truth.tolist(), strict=True)]
    assert metrics["top1_percent"] == pytest.approx(100 * sum(right) / 9)
    within = [label in votes[:5] for votes, label in zip(ranked, truth.tolist(), strict=True)]
    assert metrics["top5_percent"] == pytest.approx(100 * sum(within) / 9)
    assert (metrics["bank_images"], metrics["validation_images"], metrics["k"]) == (18, 9, 5)
    assert metrics["images_skipped"] == 0


@pytest.mark.slow
def test_k_is_capped_to_the_bank_and_said_so(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = run(make_job(tmp_path / "a", trunk_folder, imagenet, k=200))
    assert metrics["k"] == 18
    assert "k is 18, not 200" in capsys.readouterr().out


def test_a_subset_of_the_bank_is_drawn_by_the_seed(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    assert run(make_job(tmp_path / "a", trunk_folder, imagenet, subset=7))["bank_images"] == 7


@pytest.mark.slow
def test_results_do_not_depend_on_batches_and_workers(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    one = run(make_job(tmp_path / "a", trunk_folder, imagenet))
    assert run(make_job(tmp_path / "b", trunk_folder, imagenet, batch_size=7, workers=1)) == one


@pytest.mark.slow
@pytest.mark.parametrize("vote", ["weighted", "majority"])
@pytest.mark.parametrize("trunk", ["autocast", "folded"])
def test_what_only_divides_the_work_changes_no_result(
    vote: str, trunk: str, tmp_path: Path, trunk_folder: Path, imagenet: Path
) -> None:
    """Hence `batch_size` and `search` are in no fingerprint, and a majority's has no temperature."""
    metric = "cosine" if vote == "weighted" else "euclidean"
    job = make_job(tmp_path / "a", trunk_folder, imagenet, vote=vote, metric=metric)

    def measured(**values: Any) -> dict[str, Any]:
        return run(replace(job, config=job.config.model_copy(update={"trunk": trunk, **values})))

    one = measured()
    unread = {"temperature": 0.5} if vote == "majority" else {}
    for size, search in ((1, "float32"), (18, "bf16"), (5, "bf16")):
        assert measured(batch_size=size, search=search, **unread) == one


@pytest.mark.slow
def test_features_do_not_depend_on_the_batch_beyond_rounding(trunk_folder: Path) -> None:
    images = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = FrozenTrunk(trunk_folder, "float32")
    one = torch.cat([network.features(image[None]) for image in images])
    assert one.std() > 0
    for size in (2, 7, 24):
        batches = torch.cat([network.features(part) for part in images.split(size)])
        torch.testing.assert_close(batches, one, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("nudged_trunk")
def test_a_trunk_that_changes_is_found(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    with pytest.raises(StageFailed, match="The frozen trunk changed"):
        run(make_job(tmp_path / "a", trunk_folder, imagenet))


def test_features_that_are_not_finite_are_found(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = FrozenTrunk.features

    def broken(self: FrozenTrunk, images: Tensor) -> Tensor:
        proof = images.shape[-2:] == SIZES["imagenet"]
        return features(self, images) * (1.0 if proof else math.nan)

    monkeypatch.setattr(FrozenTrunk, "features", broken)
    with pytest.raises(StageFailed, match="not finite"):
        run(make_job(tmp_path / "a", trunk_folder, imagenet))


@pytest.mark.slow
def test_an_unreadable_image_is_named_or_skipped_and_counted(
    tmp_path: Path, trunk_folder: Path, imagenet: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(imagenet, data)
    (data / "train/n01440764/n01440764_2.JPEG").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"n01440764_2\.JPEG"):
        run(make_job(tmp_path / "a", trunk_folder, data))
    for size in (4, 1):  # at 1 the broken image is a batch of its own
        metrics = run(make_job(tmp_path / str(size), trunk_folder, data, unreadable="skip", batch_size=size))
        assert (metrics["bank_images"], metrics["images_skipped"]) == (17, 1)
    for file in data.glob("val/*/*"):
        file.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"No image of val below .* can be read; bench data check says why"):
        run(make_job(tmp_path / "c", trunk_folder, data, unreadable="skip"))


@pytest.mark.slow
def test_the_shipped_config(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    full = load_task("imagenet_knn")
    assert isinstance(full, KnnTask)
    assert (full.k, full.temperature, full.size, full.resize) == (200, 0.07, 224, 256)
    mini = load_task("imagenet_knn", "mini")
    assert isinstance(mini, KnnTask)
    assert mini.k == 20
    smoke = load_task("imagenet_knn", "smoke", {"workers": 0, "precision": "bf16", "search": "bf16"})
    job = make_job(tmp_path / "a", trunk_folder, imagenet)
    metrics = run(Job(config=smoke, seed=0, folder=job.folder, inputs=job.inputs, data_roots=job.data_roots))
    assert metrics["top1_percent"] > 50


# --------------------------------------------------------------------------------- majority and distance


def naive_majority(queries: Tensor, bank: Tensor, labels: Tensor, k: int) -> tuple[list[int], int]:
    """Each query's class by a plain loop over float64 distances, and how often two classes had as many votes."""
    winners, ties = [], 0
    for query in queries.double():
        near = sorted(
            (float((query - row).norm()), int(label)) for row, label in zip(bank.double(), labels, strict=True)
        )
        counts: dict[int, int] = {}
        for _, label in near[:k]:
            counts[label] = counts.get(label, 0) + 1
        most = [label for label in sorted(counts) if counts[label] == max(counts.values())]
        ties += len(most) > 1
        winners.append(most[0])
    return winners, ties


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("k", [1, 5, 8])
def test_a_majority_by_distance_is_that_of_a_naive_loop_with_its_ties(k: int, coarse: bool) -> None:
    def lengthened(n: int, seed: int) -> tuple[Tensor, Tensor]:
        rows, labels = clusters(n, 24, 7, seed=seed)
        lengths = 1 + 3 * torch.rand(n, 1, generator=torch.Generator().manual_seed(seed))
        return rows * lengths + 20, labels  # far from the origin, as features after a ReLU are

    bank, labels = lengthened(150, 0)
    queries, _ = lengthened(80, 1)
    centre = bank.mean(0)
    rows = euclidean(bank, centre, queries=False)
    ours = classify(
        euclidean(queries, centre, queries=True), Bank(rows) if coarse else rows, labels, 7, k, None, most=7
    )
    theirs, ties = naive_majority(queries, bank, labels, k)
    assert ours[:, 0].tolist() == theirs
    assert k == 1 or ties > 2
    by_cosine = classify(F.normalize(queries, dim=1), F.normalize(bank, dim=1), labels, 7, k, None)
    assert by_cosine[:, 0].tolist() != theirs  # the two metrics differ here


def test_of_classes_with_as_many_votes_the_lowest_label_wins() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5]])
    assert vote(scores, torch.tensor([[4, 2, 2, 4, 1]]), 6, None).tolist() == [[2, 4, 1, -1, -1, -1]]


@pytest.mark.slow
def test_the_stage_by_majority_and_distance(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    job = make_job(tmp_path / "a", trunk_folder, imagenet, vote="majority", metric="euclidean")
    task, result = job.config, run(job)
    assert isinstance(task, KnnTask)
    trunk = FrozenTrunk(trunk_folder, "float32", torch.device("cpu"))
    (bank, labels, _), (queries, truth, _) = (
        extract(job, task, trunk, index("imagenet", imagenet, split), "x") for split in ("train", "val")
    )
    assert bank.norm(dim=1).max() > 1.5  # as they are
    winners, _ = naive_majority(queries, bank, labels, 5)
    right = sum(a == b for a, b in zip(winners, truth.tolist(), strict=True))
    assert result["top1_percent"] == pytest.approx(100 * right / len(winners))
    assert 0 < result["top5_percent"] <= 100


def test_a_weighted_vote_needs_cosines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a weighted vote weighs cosines"):
        make_job(tmp_path, tmp_path, tmp_path, metric="euclidean")
