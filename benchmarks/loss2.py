"""How readings of the deck's second loss behave over a training that two CPU cores can finish: docs/loss2.md.

    python benchmarks/loss2.py --data-root DIR [--steps 4000] [--only cifar10/logistic_alone …]

The canary's network, four residual blocks with 16 to 128 channels, takes ResNet-18's place, so that thousands of steps
fit into minutes; data, views, objective, optimizer and the form of the schedule are those of `cifar10_byol_two_loss`,
with a warm-up of an eighth of the run at most. Each run logs what is trained on and, of the same pairs, what is not:
both losses, the other readings' values, and the cosines of negatives, of which they are functions. Runs that are in the
file already are skipped, so that a second call goes on. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from report import taken
from torch import Tensor
from torch.nn import functional as F

from bench.canary.training import CanaryEncoder, neighbours
from bench.config.recipe import OptimizerSettings, ScheduleSettings
from bench.data.sampler import DrawSampler
from bench.data.sets import Index, index, part
from bench.data.small import load_pixels
from bench.data.views import normalised, small_views
from bench.data.views.resident import Resident
from bench.objectives import build
from bench.objectives.base import Objective
from bench.objectives.two_loss import least_squares, logistic
from bench.randomness import reseed
from bench.train.optim import build_optimizer, set_rates
from bench.train.schedule import learning_rate

FILE = Path(__file__).parent.parent / "results" / "experiments" / "loss2.json"
LR, WARMUP, MILESTONES, EVERY = 3e-3, 500, (0.95, 0.975), 100
HEADS: dict[str, Any] = {"hidden_dim": 1024, "projection_dim": 64, "tau0": 0.99}
METHODS: dict[str, dict[str, Any]] = {
    "loss1": {"loss2_weight": 0.0},
    "logistic": {"loss2": "logistic"},
    "logistic_alone": {"loss2": "logistic", "loss1_weight": 0.0},
    "logistic_centred": {"loss2": "logistic_centred"},
    "logistic_centred_alone": {"loss2": "logistic_centred", "loss1_weight": 0.0},
    "least_squares": {"loss2": "least_squares"},
    "least_squares_alone": {"loss2": "least_squares", "loss1_weight": 0.0},
}
BANK = 10_000  # training images that neighbours come from


class Pairs:
    """The last predictions and targets that an objective computed: what both readings are functions of."""

    def __init__(self, objective: Any) -> None:
        self.seen: dict[str, list[Tensor]] = {"predictor": [], "target_projector": []}
        for name, found in self.seen.items():
            getattr(objective, name).register_forward_hook(lambda _m, _i, out, found=found: found.append(out.detach()))

    def clear(self) -> None:
        """Forget them."""
        for found in self.seen.values():
            found.clear()

    def measure(self) -> dict[str, float]:
        """Return means over both directions: positive cosine, mean and mean square of negative ones, both readings.

        `…_centred` is of predictions and targets less their means over the batch, as a batch norm would leave them.
        """
        totals: dict[str, float] = {}
        for p, y in zip(self.seen["predictor"], reversed(self.seen["target_projector"]), strict=True):
            s = F.normalize(p, dim=1) @ F.normalize(y, dim=1).T  # N×N; p and y are N×D
            other = s[~torch.eye(len(s), dtype=torch.bool)]
            centred = p - p.mean(0), y - y.mean(0)
            values = {
                "positive_centred": F.cosine_similarity(*centred).mean(),
                "logistic_centred": logistic(*centred),
                "positive": s.diagonal().mean(),
                "negative_mean": other.mean(),
                "negative_square": other.square().mean(),
                "logistic": logistic(p, y),
                "least_squares": least_squares(p, y),
            }
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + float(value) / 2
        return totals


def rates(steps: int) -> Callable[[int], float]:
    """Return the function step ↦ learning rate of a run."""
    warmup = max(1, min(WARMUP, steps // 8))
    schedule = ScheduleSettings(
        name="step", warmup_steps=warmup, warmup_ratio=1 / warmup, milestones=MILESTONES, gamma=0.2
    )
    return learning_rate(schedule, LR, steps, steps)


def train(method: str, root: Path, dataset: str, steps: int, batch: int, seed: int) -> dict[str, Any]:
    """Train one method and return its curve, a reading of means each hundred steps, and its neighbours' accuracy."""
    start = time.perf_counter()
    training, validation = (index(dataset, root, split) for split in ("train", "val"))
    objective = build({"name": "two_loss", **HEADS, **METHODS[method]}, CanaryEncoder(seed, small=True)).train()
    views = small_views(objective.views(32), 32, "two_loss")
    resident = Resident(training, views, seed, torch.device("cpu"))
    before = accuracy(objective, training, validation, seed)
    optimizer = build_optimizer(
        objective.param_groups(),
        OptimizerSettings(name="adam", lr=LR, lr_batch=None, weight_decay=1e-6, decay="all"),
        batch,
    )
    pairs, curve, rate = Pairs(objective.train()), [], rates(steps)
    sums: dict[str, float] = {}
    batches = resident.batches(DrawSampler(len(resident), batch, seed))
    for step, images in zip(range(steps), batches, strict=False):
        reseed(seed, "step", step)
        pairs.clear()
        terms = objective(images.to("cpu"))
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        set_rates(optimizer, rate(step), LR)
        optimizer.step()
        objective.after_step(step / steps)
        for name, value in ({k: v.item() for k, v in terms.items()} | pairs.measure()).items():
            sums[name] = sums.get(name, 0.0) + value
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            count = (step % EVERY) + 1
            curve.append({"step": step + 1} | {name: round(total / count, 5) for name, total in sums.items()})
            sums = {}
            print(dataset, method, f"seed {seed}", curve[-1], flush=True)
    return {
        "dataset": dataset,
        "method": method,
        "seed": seed,
        "steps": steps,
        "batch_size": batch,
        "curve": curve,
        "knn_percent": accuracy(objective, training, validation, seed),
        "knn_random_percent": before,
        "seconds": round(time.perf_counter() - start, 1),
    }


@torch.no_grad()
def accuracy(objective: Objective, training: Index, validation: Index, seed: int) -> float:
    """Return the top-1 accuracy in percent of five neighbours by cosine, the bank being a part of the training set."""
    generator = torch.Generator().manual_seed(seed)
    bank = part(training, torch.randperm(len(training.files), generator=generator)[:BANK].sort().values.numpy())
    found = []
    for split in (bank, validation):
        objective.eval()
        pixels = torch.from_numpy(load_pixels(split).copy()).permute(0, 3, 1, 2)
        features = torch.cat([objective.encoder(normalised(chunk)) for chunk in pixels.split(500)])
        found.append({"backbone": features, "labels": torch.tensor(split.labels)})
    objective.train()
    return round(neighbours(*found), 2)


def main() -> None:
    """Run what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-root", type=Path, required=True, help="holds cifar10/ and cifar100/")
    parser.add_argument("--only", nargs="+", default=[f"{d}/{m}" for d in ("cifar10", "cifar100") for m in METHODS])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, default=FILE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for word in given.only:
        dataset, _, method = word.partition("/")
        if method not in METHODS:
            parser.error(f"{word} is no DATASET/METHOD; methods: {', '.join(METHODS)}")
        key = f"{word}/{given.steps}x{given.batch}/s{given.seed}"
        content = json.loads(given.file.read_text()) if given.file.is_file() else {"runs": {}}
        if key in content["runs"]:
            continue
        where = taken()  # before: the checkout may be another one when the run ends
        run = train(method, given.data_root / dataset, dataset, given.steps, given.batch, given.seed) | {"taken": where}
        content = json.loads(given.file.read_text()) if given.file.is_file() else {"runs": {}}  # another may have ended
        content["runs"][key] = run
        given.file.parent.mkdir(parents=True, exist_ok=True)
        given.file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
