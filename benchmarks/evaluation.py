"""Contenders that evaluate a frozen ResNet-50: the step of a linear classifier, a whole evaluation, neighbours."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import photographs
import torch
from features import CLASSES, drawn
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from bench.config.load import load_task
from bench.convert.proof import prove, write_proof
from bench.convert.trunk import TRUNK, save_trunk
from bench.data.sets import index
from bench.nn.encoder import build_encoder
from bench.nn.neighbours import Bank
from bench.stages import linear, linear_heads
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.stages.knn import classify
from bench.train.precision import automatic, this_device

Sample = Callable[[], float]
FOLDER = photographs.FOLDER / "frozen"


def prepare_trunk(*_: Any) -> photographs.Prepared:
    """Return {"trunk": …}, a convert stage's folder: random weights with batch norms calibrated on noise.

    Without calibration the batch norms of random weights do nothing, and features are nearly equal for all images.
    """
    folder, arch = FOLDER / "resnet50", "resnet50"
    if not (folder / "torchvision.pth").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        encoder = build_encoder(arch, 0).train()
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for _ in range(2):
                encoder(F.interpolate(torch.randn(16, 3, 32, 32, generator=rng), size=(128, 128), mode="bilinear"))
        encoder.eval()
        save_trunk(folder / TRUNK, encoder.state_dict(), arch)
        other = build_encoder(arch, 0)
        other.load_state_dict(encoder.state_dict())
        other.forward = other.maps  # type: ignore[method-assign]
        write_proof(folder, prove(encoder.state_dict(), arch, encoder.maps, other))
        torch.save(load_file(folder / TRUNK), folder / "torchvision.pth")  # for lightly
    return {"trunk": str(folder)}, []


def prepare_images(quick: bool, images: Path | None, place: Path) -> photographs.Prepared:
    """Add {"data": …}: photographs in ImageNet's layout, ten classes, each with a tint that can be learnt."""
    values, notes = photographs.prepare(quick, images, place)
    files, root, per_class = photographs.listed(values["folder"]), place / "imagenet", 4 if quick else 8
    tints = np.random.default_rng(0).uniform(0.55, 1.45, (10, 3))
    for split, count in (("train", per_class), ("val", per_class // 2)):
        for label, tint in enumerate(tints):
            folder = root / split / f"n{label:08d}"
            folder.mkdir(parents=True)
            for number in range(count):
                picture = cv2.imread(str(files[(number * 10 + label + (split == "val") * 7) % len(files)]))
                tinted = np.clip(picture * tint, 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{number}.JPEG"), tinted, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return prepare_trunk()[0] | {"data": str(root)}, notes


def step(
    form: str,
    trunk: str,
    batch: int,
    size: int,
    rates: int = 1,
    classes: int = 1000,
    precision: str = "bf16",
    device: str = "cpu",
) -> Sample:
    """One training step of linear classifiers a sample, at `rates` learning rates.

    Args:
        form: plain (an encoder and a classifier in torch), autocast or folded (as the linear stage has them), compiled
            (folded, too), or kept (features that were taken before).
        trunk: folder of a converted trunk.
        batch: images.
        size: their height and width in pixels.
        rates: how many classifiers are trained at once.
        classes: of a classifier.
        precision: float32 or bf16; what is plain is float32.
        device: cpu or cuda.
    """
    torch.backends.cudnn.benchmark = device == "cuda"
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (batch,), generator=rng).to(device)
    if form == "plain":
        images = torch.randn(batch, 3, size, size, generator=rng)
        encoder = build_encoder("resnet50", 0).eval().requires_grad_(False).to(device)
        head = nn.Linear(2048, classes).to(device)
        sgd = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9)

        def plain() -> float:
            with torch.no_grad():
                features = encoder(images.to(device))
            loss = F.cross_entropy(head(features), labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            return batch

        return plain

    heads = linear_heads.Heads(rates, classes, 2048, 0, device)
    speeds = torch.logspace(-3, 0, rates, device=device)
    features: Callable[[Any], Any]
    if form == "kept":
        images = torch.rand(batch, 2048, generator=rng).to(device)
        features = lambda rows: rows  # noqa: E731
    else:
        images = torch.randn(batch, 3, size, size, generator=rng)
        mode: Any = "autocast" if form == "autocast" else "folded"
        frozen = FrozenTrunk(Path(trunk), precision, torch.device(device), mode)  # type: ignore[arg-type]
        frozen.compile(0, size, batch, form == "compiled")
        if (form == "compiled") != (frozen.compiled is not None):
            raise RuntimeError("this machine cannot compile; the reason is above")
        features = frozen.features

    def sample() -> float:
        heads.step(features(images), labels, speeds, 0.9, 0.0, False)
        return batch

    return sample


def whole(
    data: str,
    trunk: str,
    epochs: int,
    batch: int,
    first: bool = False,
    rates: list[float] | None = None,
    **settings: Any,
) -> Sample:
    """Our linear stage from files to top-1; a sample is one evaluation, in images that the augmented protocol reads.

    Args:
        data: in ImageNet's layout.
        trunk: folder of a converted trunk.
        epochs: of training.
        batch: images of a step.
        first: whether features that were kept are removed first.
        rates: learning rates that compete, by a quarter of the training images.
        settings: of the task.
    """
    root = Path(data)
    images = epochs * len(index("imagenet", root, "train").files) + len(index("imagenet", root, "val").files)
    values: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "schedule": "cosine", "trunk": "folded"}
    values |= {"learning_rates": rates or (1.0,), "selection_share": 0.25 if rates else 0.0, "workers": 1}
    task = load_task("imagenet_linear", extra={"precision": automatic(this_device()), **values, **settings})
    kept = root.parent / ("first" if first else "features")

    def sample() -> float:
        if first:
            shutil.rmtree(kept, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            job = Job(
                config=task,
                seed=0,
                folder=Path(folder),
                inputs={"convert": Path(trunk)},
                data_roots={"imagenet": root},
                data={"imagenet": data},
                features=kept if settings.get("features") == "centre" else None,
            )
            print(f"top-1 {linear.run(job)['top1_percent']:.1f} {settings}", flush=True)
        return images

    return sample


def knn(
    bank: int, queries: int, k: int, temperature: float, device: str = "cpu", dim: int = 2048, search: str = "bf16"
) -> Sample:
    """Weighted votes of the k nearest rows of a bank.

    Args:
        bank: rows that are searched.
        queries: rows whose neighbours are wanted.
        k: neighbours.
        temperature: of their votes.
        device: cpu or cuda.
        dim: of a row.
        search: bf16 (coarse, then float32), float32, loop (one query after another, eight a sample), or product (of
            queries and bank in float32, and nothing else: what a search in float32 cannot do without).
    """
    rows, labels = drawn(bank, 0, dim, device)
    asked, _ = drawn(queries, 1, dim, device)
    if search == "loop":

        def loop() -> float:
            for query in asked[:8]:
                scores, positions = (rows @ query).topk(k)
                votes = torch.zeros(CLASSES, device=device)
                votes.index_add_(0, labels[positions], (scores / temperature).exp())
                votes.argsort(descending=True)
            return 8

        return loop
    if search == "product":

        def product() -> float:
            for part in rows.split(16384):
                torch.mm(asked, part.T)
            return queries

        return product
    searched: Any = Bank(rows) if search == "bf16" else rows

    def sample() -> float:
        classify(asked, searched, labels, CLASSES, k, temperature)
        return queries

    return sample
