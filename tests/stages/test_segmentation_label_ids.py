"""Cityscapes as it is unpacked, with label ids alone, gives what converted label maps give."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.config.tasks import SegmentationTask
from bench.convert.proof import load_strictly, prove, write_proof
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.errors import BadInput
from bench.nn.encoder import build_encoder
from bench.randomness import reseed
from bench.stages.job import Job
from bench.stages.segmentation import finetune
from bench.stages.segmentation.mmseg_config import adapt
from bench.stages.segmentation.model import build_backbone
from bench.stages.segmentation.runner import CHECKPOINT
from bench.stages.segmentation.samples import _build

EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def write(root: Path, train_ids: bool) -> Path:
    """Write three scenes of label ids, of train ids as well where asked."""
    for split, numbers in (("train", (0, 1)), ("val", (2,))):
        for part in ("leftImg8bit", "gtFine"):
            (root / part / split / "town").mkdir(parents=True)
        for number in numbers:
            rng = np.random.default_rng(number)
            ids = np.kron(rng.integers(0, 34, (8, 12)), np.ones((8, 8), int)).astype(np.uint8)
            stem = f"town/town_{number:06d}_000019"
            colours = rng.integers(0, 256, (34, 3)).astype(np.uint8)
            Image.fromarray(colours[ids]).save(root / "leftImg8bit" / split / f"{stem}_leftImg8bit.png")
            Image.fromarray(ids).save(root / "gtFine" / split / f"{stem}_gtFine_labelIds.png")
            if train_ids:
                converted = np.full_like(ids, 255)
                for train_id, label_id in enumerate(EVALUATED):
                    converted[ids == label_id] = train_id
                Image.fromarray(converted).save(root / "gtFine" / split / f"{stem}_gtFine_labelTrainIds.png")
    return root


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """With label ids alone, and converted."""
    return write(tmp_path / "ids", False), write(tmp_path / "converted", True)


def task(**changes: Any) -> SegmentationTask:
    settings: dict[str, Any] = {
        "name": "test", "summary": "", "source": "", "profile": "full", "kind": "segmentation", "iterations": 2,
        "config": "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024", "batch_size": 2, "crop": (64, 64), "scale": (96, 64),
        "validate_every": 2, "workers": 0, "precision": "float32",
    }  # fmt: skip
    return SegmentationTask(**settings | changes)


# PSPNet on a ResNet-18 of a quarter of the width.
NARROW = {"model.backbone.base_channels": 16, "model.backbone.stem_channels": 16}
NARROW |= {"model.decode_head.in_channels": 128, "model.decode_head.channels": 32}
NARROW |= {"model.auxiliary_head.in_channels": 64, "model.auxiliary_head.channels": 16}


def datasets(root: Path) -> list[Any]:
    config = adapt(task(), "resnet18", root, world=1, synchronise=False).config
    return [_build(loader["dataset"]) for loader in (config.train_dataloader, config.val_dataloader)]


def test_samples_are_those_of_converted_label_maps(roots: tuple[Path, Path]) -> None:
    for ours, converted in zip(datasets(roots[0]), datasets(roots[1]), strict=True):
        assert len(ours) == len(converted) > 0
        for number in range(len(ours)):
            reseed(number)
            one = ours[number]
            reseed(number)
            other = converted[number]
            labels = one["data_samples"].gt_sem_seg.data
            assert labels.dtype == other["data_samples"].gt_sem_seg.data.dtype
            assert torch.equal(labels, other["data_samples"].gt_sem_seg.data)
            assert torch.equal(one["inputs"], other["inputs"])
            assert len(labels.unique()) > 4


def test_train_ids_are_read_where_there_are_some(roots: tuple[Path, Path]) -> None:
    train, _ = datasets(roots[1])
    assert train.get_data_info(0)["seg_map_path"].endswith("_gtFine_labelTrainIds.png")
    train, _ = datasets(roots[0])
    assert train.get_data_info(0)["seg_map_path"].endswith("_gtFine_labelIds.png")


def test_a_value_that_is_no_label_id_is_named(roots: tuple[Path, Path]) -> None:
    file = roots[0] / "gtFine/val/town/town_000002_000019_gtFine_labelIds.png"
    Image.fromarray(np.full((64, 96), 40, np.uint8)).save(file)
    _, val = datasets(roots[0])
    with pytest.raises(BadInput, match=rf"{file.name} cannot be read as label ids: 40 is no label id .* unpack gtFine"):
        val[0]


@pytest.mark.slow
def test_a_training_ends_with_the_same_weights_and_scores(roots: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "convert"
    folder.mkdir()
    encoder = build_encoder("resnet18w16", seed=1).eval()
    network = build_backbone("resnet18w16")
    save_trunk(folder / TRUNK, encoder.state_dict(), "resnet18w16")
    load_strictly(network, read_trunk(folder / TRUNK).state)
    write_proof(folder, prove(encoder.state_dict(), "resnet18w16", encoder.maps, network))
    before = sorted(roots[0].rglob("*"))
    found = []
    for name, root in zip(("ids", "converted"), roots, strict=True):
        (tmp_path / f"run-{name}").mkdir()
        job = Job(task(overrides=NARROW), 3, tmp_path / f"run-{name}", {"convert": folder}, {"cityscapes": root})
        scores = finetune.run(job)
        state = torch.load(job.folder / CHECKPOINT, weights_only=True)
        found.append((scores, state))
        shutil.rmtree(job.folder)
    assert found[0][0] == found[1][0]
    assert all(torch.equal(one, found[1][1]["model"][key]) for key, one in found[0][1]["model"].items())
    assert sorted(roots[0].rglob("*")) == before  # nothing is written beside the data
