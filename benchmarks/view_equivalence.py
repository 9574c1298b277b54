"""Do the back ends of views train alike? kNN top-1 of BYOL or supervised encoders, over seeds.

    python benchmarks/view_equivalence.py --images DIR [--objective supervised] [--backends reference fast]
        [--seeds 0 1 2] [--epochs 12] [--size 48] [--quick]

DIR is in ImageNet's layout. Runs with the same seed start from the same weights and see the same crops, so differences
are taken within a seed. Finished runs are kept in runs/benchmarks/view_equivalence and not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from interleave import ROOT

WORK = ROOT / "runs" / "benchmarks" / "view_equivalence"
# Student's t, two-sided 95 %, by degrees of freedom.
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--objective", choices=["byol", "supervised"], default="supervised")
    parser.add_argument("--backends", nargs="+", default=["reference", "fast"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, few images; writes no result")
    words = parser.parse_args(arguments)
    if words.quick:
        words.seeds, words.epochs = words.seeds[:1], 1
    scores: dict[str, dict[int, float]] = {backend: {} for backend in words.backends}
    for seed in words.seeds:
        for backend in words.backends:
            setting = f"{words.objective}-{words.size}px-{words.epochs}ep"
            done = WORK / f"{setting}-{backend}-s{seed}.json"
            if words.quick or not done.is_file():
                start = time.perf_counter()
                score = run(words, backend, seed)
                print(f"{backend} seed {seed}: {score:.2f} ({time.perf_counter() - start:.0f} s)", flush=True)
                if not words.quick:
                    WORK.mkdir(parents=True, exist_ok=True)
                    done.write_text(json.dumps(score))
                scores[backend][seed] = score
            else:
                scores[backend][seed] = json.loads(done.read_text())
    if not words.quick:
        write(words, scores)


def run(words: argparse.Namespace, backend: str, seed: int) -> float:
    """Train one encoder and return its kNN top-1 in percent on val (k = 10, cosine, weighted as in Wu et al. 2018)."""
    import torch
    from torch.nn import functional as F

    from bench.config.recipe import Recipe
    from bench.data.images import EvalDataset, in_order, loader
    from bench.data.sets import index
    from bench.stages.job import Job
    from bench.stages.pretrain import run as pretrain
    from bench.train.checkpoint import read

    heads = {} if words.objective == "supervised" else {"hidden_dim": 512, "projection_dim": 128}
    recipe = Recipe.model_validate(
        {
            "name": backend,
            "summary": "",
            "source": "here",
            "profile": "mini",
            "dataset": "imagenet",
            "subset": 64 if words.quick else None,
            "objective": {"name": words.objective, **heads},
            "arch": "resnet18",
            "view_size": words.size,
            "view_backend": backend,
            "epochs": words.epochs,
            "batch_size": 32,
            "precision": "float32",
            "workers": 0,
            "optimizer": {"name": "adamw", "lr": 1e-3, "lr_batch": None, "weight_decay": 1e-2},
            "schedule": {"warmup_epochs": 1},
            "log_every": 1000,
        }
    )
    from bench.nn.encoder import build_encoder

    with tempfile.TemporaryDirectory() as folder:
        pretrain(Job(recipe, seed, Path(folder), data_roots={"imagenet": words.images}))
        state = read(Path(folder) / "last.ckpt")["objective"]
    encoder = build_encoder("resnet18", 0)
    own = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    encoder.load_state_dict(own)
    encoder.eval()

    def features(split: str) -> tuple[Any, Any]:
        dataset = EvalDataset(index("imagenet", words.images, split), words.size, words.size)
        batches = loader(dataset, in_order(len(dataset), 64))
        found = []
        with torch.inference_mode():
            for batch in batches:
                moved = batch.to("cpu", memory_format=torch.channels_last)
                found.append((F.normalize(encoder(moved.views[0])), moved.labels))
        return torch.cat([one for one, _ in found]), torch.cat([label for _, label in found])

    bank, bank_labels = features("train")
    queries, labels = features("val")
    near = (queries @ bank.t()).topk(10)
    votes = torch.zeros(len(queries), int(bank_labels.max()) + 1)
    votes.scatter_add_(1, bank_labels[near.indices], (near.values / 0.07).exp())
    return 100 * (votes.argmax(1) == labels).float().mean().item()


def write(words: argparse.Namespace, scores: dict[str, dict[int, float]]) -> None:
    """Print and keep the differences to the reference, with their 95 % interval and what could have been seen."""
    from report import save, taken

    found: dict[str, Any] = {}
    for backend in words.backends[1:]:
        pairs = [scores[backend][seed] - scores[words.backends[0]][seed] for seed in words.seeds]
        mean, n = statistics.mean(pairs), len(pairs)
        error = statistics.stdev(pairs) / math.sqrt(n) if n > 1 else math.nan
        half = T95.get(n - 1, 2.2) * error
        found[backend] = {"difference": mean, "standard_error": error, "interval_95": [mean - half, mean + half]}
        # A true difference is found with a probability of 80 % from about t95 + 0.84 (the normal 80 % point) errors on.
        found[backend]["detectable_80_percent"] = (T95.get(n - 1, 2.2) + 0.84) * error
        print(f"{backend} - {words.backends[0]}: {mean:+.2f} points, 95 % interval ±{half:.2f}, {n} seeds")
    for backend, own in scores.items():
        print(f"{backend}: {statistics.mean(own.values()):.2f} of {sorted(own.items())}")
    seeds = len(words.seeds)
    rows: dict[str, dict[str, float | None]] = {
        backend: {f"seed {seed}": score for seed, score in own.items()} | {"mean": statistics.mean(own.values())}
        for backend, own in scores.items()
    }
    for backend, one in found.items():
        low, high = one["interval_95"]
        rows[backend] |= {"to reference": one["difference"], "95 % from": low, "to": high}
    telling = [
        f"{b}: a difference of {one['detectable_80_percent']:.1f} points is found in four of five such runs"
        for b, one in found.items()
    ]
    content = {
        "benchmark": "view_equivalence",
        "title": "kNN top-1 (percent) after training with each back end of views",
        "notes": [
            f"{words.objective}, resnet18, {words.size} pixels, {words.epochs} epochs, {seeds} seeds, batch 32; "
            f"images: {words.images.name}. Differences are paired by seed.",
            *telling,
        ],
        "taken": taken(),
        "figures": rows,
    }
    print(save("view_equivalence", content))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
