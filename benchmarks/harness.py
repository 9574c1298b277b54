"""Contenders that are whole commands of `bench`, and the grids and records that they work on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from measurements import ROOT

RECIPES = ("coco", "coco_two_loss", "random_init", "imagenet_0", "imagenet_1")
TASKS = ("cityscapes_pspnet", "imagenet_knn", "imagenet_linear", "imagenet_linear_sweep")
# Their stages for a seed: pretrain and convert of each recipe, and its tasks.
STAGES = len(RECIPES) * (2 + len(TASKS))


def command(words: list[str]) -> Callable[[], float]:
    """One whole process of this Python a sample."""

    def sample() -> float:
        subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        return 1

    return sample


def grid(verb: str, seeds: int, place: str) -> Callable[[], float]:
    """`bench plan` of a new grid with STAGES stages a seed, or `bench run` of the finished one."""
    words = ["-m", "bench", verb, "--pretrain", *RECIPES, "--downstream", *TASKS, "--profile", "smoke"]
    folder = place if verb == "run" else f"{place}/new"
    words += ["--data-root", f"{place}/data", "--work-dir", f"{folder}/work", "--results-dir", f"{folder}/results"]
    return command([*words, "--seeds", *map(str, range(seeds))])


def prepare(_quick: bool, _images: Path | None, place: Path) -> tuple[dict[str, Any], list[str]]:
    """Render tiny data, write the records of a finished grid with 5 seeds, and return {"place": …}."""
    from bench.execute.grid import Request, plan_grid
    from bench.record import Fingerprints, Record, environment, write
    from bench.synthetic.render import render

    def hashed(word: str) -> str:
        return hashlib.sha256(word.encode()).hexdigest()

    here, (data, work, results) = environment(), [place / name for name in ("data", "work", "results")]
    render(data)
    request = Request(RECIPES, TASKS, range(5), "smoke", data_root=[str(data)], work_dir=work, results_dir=results)
    for stage in plan_grid(request, act=True).stages:
        if not stage.is_task:
            continue
        recipe, task = stage.recipe, cast("Any", stage.config)
        names = ("miou_percent", "aacc_percent") if stage.kind == "segmentation" else ("top1_percent", "top5_percent")
        record = Record(
            pretrain=recipe.name,
            pretrain_set=recipe.dataset,
            arch=recipe.arch,
            task=task.name,
            kind=stage.kind,
            dataset=task.dataset,
            profile="smoke",
            seed=stage.seed,
            metrics={name: 50 + int(hashed(stage.fingerprint + name)[:8], 16) / 2**32 for name in names},
            fingerprints=Fingerprints(
                stage=stage.fingerprint, recipe=stage.recipe_fingerprint, protocol=hashed(task.name)[:12]
            ),
            data=dict(stage.data),
            settings={"pretrain": {"epochs": 200}, "downstream": {"epochs": 100}},
            **here,
        )
        write(record, results / "records")
    return {"place": str(place)}, []
