"""Evaluating a frozen ResNet-50: its forward, heads, what kept features save, and lightly's linear evaluation.

    python benchmarks/frozen.py [--rounds N] [--images DIR] [--quick]

Four comparisons: images/s of one training step of a linear classifier at 224 px; the same with 12 learning rates
against 1; a sweep on kept features against the first pass; and a whole linear evaluation of a small set of images from
files to top-1, against lightly's with its own classifier and a pytorch-lightning Trainer.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import ROOT, Contender, measure

FOLDER = ROOT / "runs" / "benchmarks" / "frozen"
FORMS = ("float32 NCHW", "float32 channels_last", "bf16 autocast", "bf16 folded", "bf16 folded, compiled")
EPOCHS, BATCH = 4, 16


# -------------------------------------------------------------------------------- a step, and its heads


def step(form: str, batch: int, size: int = 224, rates: int = 1, classes: int = 1000, device: str = "cpu") -> Any:
    """One step of MoCo's linear evaluation; every form but the first trains the heads as the linear stage does."""
    import torch
    from torch.nn import functional as F

    if form == "kept features":
        rows = torch.rand(batch, 2048, generator=torch.Generator().manual_seed(1)).to(device)
        trunk: Callable[[Any], Any] = lambda _: rows  # noqa: E731
    else:
        trunk = _trunk(form, size, batch, device)
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=rng)
    labels = torch.randint(classes, (batch,), generator=rng).to(device)
    if form == "float32 NCHW":
        head = torch.nn.Linear(2048, classes).to(device)
        sgd = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9)

        def train() -> None:
            with torch.no_grad():
                features = trunk(images.to(device))
            loss = F.cross_entropy(head(features), labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()

        return _waiting(train, batch, device)

    from bench.stages.linear_heads import Heads

    heads = Heads(rates, classes, 2048, 0, device)
    speeds = torch.logspace(-3, 0, rates, device=device)
    return _waiting(lambda: heads.step(trunk(images), labels, speeds, 0.9, 0.0, False), batch, device)


def _waiting(work: Callable[[], Any], units: int, device: str) -> Callable[[], int]:
    import torch

    def sample() -> int:
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return units

    return sample


def _trunk(form: str, size: int, batch: int, device: str) -> Callable[[Any], Any]:
    """Return images -> features; all but the two in float32 as the stages make them."""
    import torch

    from bench.nn.encoder import build_encoder
    from bench.stages.frozen_trunk import FrozenTrunk

    if form.startswith("float32"):
        encoder = build_encoder("resnet50", 0).eval().requires_grad_(False).to(device)
        if form == "float32 NCHW":
            return encoder
        encoder = encoder.to(memory_format=torch.channels_last)

        @torch.inference_mode()
        def forward(images: Any) -> Any:
            return encoder(images.to(device, memory_format=torch.channels_last)).clone()

        return lambda images: forward(images).clone()
    trunk = FrozenTrunk(converted(), "bf16", torch.device(device), "autocast" if "autocast" in form else "folded")
    trunk.compile(0, size, batch, "compiled" in form)
    if ("compiled" in form) != (trunk.compiled is not None):
        raise SystemExit("this machine cannot compile; the reason is above")
    return trunk.features


def converted(arch: str = "resnet50") -> Path:
    """Return a convert stage's folder with a proven trunk, made once: random weights, batch norms calibrated on noise.

    Without calibration the batch norms of random weights do nothing, and features are nearly equal for all images.
    """
    import torch
    from torch import nn

    from bench.convert.proof import prove, write_proof
    from bench.convert.trunk import TRUNK, save_trunk
    from bench.nn.encoder import build_encoder

    folder = FOLDER / arch
    if (folder / "proof.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    encoder = build_encoder(arch, 0).train()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(2):
            noise = torch.randn(16, 3, 32, 32, generator=rng)
            encoder(torch.nn.functional.interpolate(noise, size=(128, 128), mode="bilinear"))
    encoder.eval()
    save_trunk(folder / TRUNK, encoder.state_dict(), arch)
    other = build_encoder(arch, 0)
    other.load_state_dict(encoder.state_dict())
    other.forward = other.maps  # type: ignore[method-assign]
    write_proof(folder, prove(encoder.state_dict(), arch, encoder.maps, other))
    return folder


# ----------------------------------------------------------------------- a whole linear evaluation


def image_folder(per_class: int, images: Path | None) -> Path:
    """Return a folder in ImageNet's layout, ten classes: links to the first of `images`, or rendered photographs.

    Each rendered class has a tint of its own, so that there is something to learn.
    """
    import cv2
    import numpy as np
    from photographs import photographs

    if images is not None:
        return images
    root = FOLDER / f"imagenet-{per_class}"
    if (root / "whole").is_file():
        return root
    files = photographs(64)
    tints = np.random.default_rng(0).uniform(0.55, 1.45, (10, 3))
    for split, count in (("train", per_class), ("val", per_class // 2)):
        for label, tint in enumerate(tints):
            place = root / split / f"n{label:08d}"
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture = cv2.imread(str(files[(number * 10 + label + (split == "val") * 7) % len(files)]))
                tinted = np.clip(picture * tint, 0, 255).astype(np.uint8)
                cv2.imwrite(str(place / f"{number}.JPEG"), tinted, [cv2.IMWRITE_JPEG_QUALITY, 92])
    (root / "whole").touch()
    return root


def evaluation(data: str, config: dict[str, Any], epochs: int = EPOCHS, kept: str = "features") -> Callable[[], float]:
    """Our linear stage from files to top-1; a sample is one evaluation, in images that `augmented` goes through."""
    from bench.config.load import load_task
    from bench.data.sets import index
    from bench.stages import linear
    from bench.stages.job import Job

    root = Path(data)
    images = epochs * len(index("imagenet", root, "train").files) + len(index("imagenet", root, "val").files)
    values = {"epochs": epochs, "batch_size": BATCH, "learning_rates": (0.1 * 10,), "schedule": "cosine"} | config
    task = load_task("imagenet_linear", extra=values | {"selection_share": values.get("selection_share", 0.0)})

    def sample() -> float:
        with tempfile.TemporaryDirectory() as place:
            keep = FOLDER / kept if values.get("features") == "centre" else None
            job = Job(
                config=task,
                seed=0,
                folder=Path(place),
                inputs={"convert": converted()},
                data_roots={"imagenet": root},
                data={"imagenet": data},
                features=keep,
            )
            print(f"top-1 {linear.run(job)['top1_percent']:.1f} {config}", flush=True)
        return images

    return sample


def first_pass(data: str, config: dict[str, Any], epochs: int = EPOCHS) -> Callable[[], float]:
    """The same with no features kept yet."""
    again = evaluation(data, config, epochs, "first")

    def sample() -> float:
        shutil.rmtree(FOLDER / "first", ignore_errors=True)
        return again()

    return sample


def lightly(data: str, best: bool = False, epochs: int = EPOCHS, workers: int = 1) -> Callable[[], float]:
    """lightly's linear evaluation as its ImageNet benchmark has it, with that trunk; `best`: bf16 and channels_last."""
    import torch
    import torchvision
    from lightly.utils.benchmarking import LinearClassifier
    from pytorch_lightning import Trainer
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    model = torchvision.models.resnet50()
    model.fc = torch.nn.Identity()
    model.load_state_dict(torch.load(FOLDER / "resnet50.pth"))
    if best:
        model = model.to(memory_format=torch.channels_last)
    normal = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    flips = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), T.ToTensor(), normal])
    centre = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), normal])
    training, validation = ImageFolder(f"{data}/train", flips), ImageFolder(f"{data}/val", centre)
    common: dict[str, Any] = {"batch_size": BATCH, "num_workers": workers, "persistent_workers": workers > 0}

    def sample() -> float:
        torch.manual_seed(0)
        classifier = LinearClassifier(model, BATCH, lr=1.0, feature_dim=2048, num_classes=10, topk=(1, 5))
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            precision="bf16-mixed" if best else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            check_val_every_n_epoch=epochs,
        )
        trainer.fit(
            classifier,
            DataLoader(training, shuffle=True, drop_last=True, **common),
            DataLoader(validation, **common),
        )
        print(f"top-1 {100 * float(trainer.callback_metrics['val_top1']):.1f} lightly", flush=True)
        return float(epochs * len(training) + len(validation))

    return sample


# ---------------------------------------------------------------------------------------------- main


def main(arguments: list[str] | None = None) -> None:
    from report import write

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=Path, help="a folder in ImageNet's layout; else rendered photographs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="few small images: whether it runs, not how fast")
    options = parser.parse_args(arguments)
    rounds, batch, size, per_class = options.rounds, 64, 224, 8
    forms = list(FORMS)
    if options.quick:
        rounds, batch, size, per_class, forms = 1, 4, 64, 4, [FORMS[0], "bf16 folded"]
    folder = converted()
    _export(folder)

    def contender(name: str, form: str, rates: int = 1) -> Contender:
        values = {"form": form, "batch": batch, "size": size, "rates": rates, "device": options.device}
        return Contender(name, "frozen:step", values, f"{rates} learning rate(s)", threads=2)

    steps = [contender(form, form) for form in forms]
    steps.append(contender("bf16 folded, 12 heads", "bf16 folded", 12))
    for rates, classes in ((12, 10),) if options.quick else ((1, 1000), (12, 1000), (12, 10)):
        values = {"form": "kept features", "batch": 256, "rates": rates, "classes": classes, "device": options.device}
        name = f"kept features, {rates} head(s), {classes:,} classes"
        steps.append(Contender(name, "frozen:step", values, "no forward: what a further sweep costs", threads=2))
    measured = measure(steps, rounds)
    pairs = zip(measured["bf16 folded, 12 heads"].samples, measured["bf16 folded"].samples, strict=True)
    twelve = statistics.median(a.seconds / a.units / (b.seconds / b.units) for a, b in pairs)
    ready = {name: round(one.ready_seconds, 1) for name, one in measured.items()}
    write(
        "frozen",
        f"A step of linear evaluation on a frozen ResNet-50: {size} px, batch {batch}, 1,000 classes",
        measured,
        unit="images",
        baseline=FORMS[0],
        notes=[
            f"Seconds until a contender was ready: {ready}.",
        ],
        extra={
            "checks": [
                {
                    "what": "the cost of twelve learning rates against that of one",
                    "found": twelve,
                    "goal": 1.05,
                    "unit": "times",
                    "at_most": True,
                }
            ]
        },
    )
    print(f"  twelve heads cost x{twelve:.3f}")

    data = str(image_folder(per_class, options.images))
    few, epochs = (1, 1) if options.quick else (max(1, rounds - 1), EPOCHS)
    folded = {"trunk": "folded", "workers": 1}
    sweep = {"features": "centre", "selection_share": 0.25, "learning_rates": [10.0**e for e in range(-6, 6)]}
    whole = [
        Contender(
            "lightly as shipped",
            "frozen:lightly",
            {"data": data, "epochs": epochs},
            "float32",
            peer=True,
            threads=2,
            warmup=0,
        ),
        Contender(
            "lightly at its best",
            "frozen:lightly",
            {"data": data, "best": True, "epochs": epochs},
            "bf16-mixed, channels_last",
            peer=True,
            threads=2,
            warmup=0,
        ),
        Contender(
            "ours",
            "frozen:evaluation",
            {"data": data, "config": folded, "epochs": epochs},
            "augmented, folded trunk",
            threads=2,
            warmup=0,
        ),
        Contender(
            "ours, centre features, first pass",
            "frozen:first_pass",
            {"data": data, "config": folded | {"features": "centre"}, "epochs": epochs},
            "another protocol: features taken once",
            threads=2,
            warmup=0,
        ),
        Contender(
            "ours, centre features, further sweep of 12",
            "frozen:evaluation",
            {"data": data, "config": folded | sweep, "epochs": epochs},
            "features read, 12 learning rates",
            threads=2,
            warmup=1,
        ),
    ]
    measured = measure(whole[2:] if options.quick else whole, few)  # lightly's epochs at 224 px take too long
    start = statistics.median(s.seconds for s in measured[whole[3].name].samples)
    again = statistics.median(s.seconds for s in measured[whole[4].name].samples)
    write(
        "frozen_linear",
        f"Linear evaluation from files to top-1: ten classes, {epochs} epochs, 224 px, ResNet-50",
        measured,
        unit="images",
        baseline="ours" if options.quick else whole[0].name,
        goals={"ours": 10.0},
        notes=["Images: what the augmented protocol goes through, epochs x training images + validation images."],
        extra={
            "checks": [
                {
                    "what": "what a further sweep of 12 learning rates is cheaper than the first pass",
                    "found": start / again,
                    "goal": 100,
                    "unit": "times",
                }
            ]
        },
    )
    print(f"  first pass {start:.2f} s, a further sweep of 12 learning rates {again:.2f} s: x{start / again:.0f}")


def _export(folder: Path) -> None:
    """Write the trunk as torchvision's state dict, for lightly."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "trunk.safetensors"), FOLDER / "resnet50.pth")


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s in all")
