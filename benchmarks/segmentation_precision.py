"""Does the form of an evaluation move mIoU? One PSPNet is trained, and its weights are evaluated in every form.

    python benchmarks/segmentation_precision.py --data-root DIR [--iterations N] [--pretrain random_init]

DIR is in Cityscapes' layout. Training is the profile `mini` of cityscapes_pspnet on the trunk of --pretrain, under the
stage's own code; a finished run is kept in runs/benchmarks/segmentation_precision and only evaluated again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from interleave import ROOT

WORK = ROOT / "runs" / "benchmarks" / "segmentation_precision"
FORMS: dict[str, dict[str, Any]] = {
    "float32, mmseg's own network": {"evaluation_precision": "float32", "fast": ()},
    "float32": {"evaluation_precision": "float32"},
    "float32, norms not folded": {"evaluation_precision": "float32", "without": "folded_norms"},
    "bf16, mmseg's own network": {"evaluation_precision": "bf16", "fast": ()},
    "bf16, norms not folded": {"evaluation_precision": "bf16", "without": "folded_norms"},
    "bf16": {"evaluation_precision": "bf16"},
}
ALLOWED = 0.05  # mIoU, in points


def trunk(pretrain: str) -> Path:
    """Return the folder of a converted trunk that needs no data."""
    from bench.execute.grid import Request, plan_grid
    from bench.execute.local import run_grid

    grid = plan_grid(Request([pretrain], [], profile="mini", work_dir=WORK, results_dir=WORK / "results"), act=True)
    run_grid(grid)
    return WORK / next(stage.folder for stage in grid.stages if stage.kind == "convert")


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate in all forms, write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=90)
    parser.add_argument("--pretrain", default="random_init")
    words = parser.parse_args(arguments)
    import report

    from bench.config.load import load_task
    from bench.config.tasks import SegmentationTask
    from bench.stages.job import Job
    from bench.stages.segmentation.finetune import run

    extra = {"iterations": words.iterations, "validate_every": words.iterations, "workers": 1}
    task = load_task("cityscapes_pspnet", "mini", extra)
    assert isinstance(task, SegmentationTask)
    converted = trunk(words.pretrain)
    folder = WORK / f"{words.pretrain}-{words.iterations}"
    folder.mkdir(parents=True, exist_ok=True)
    scores: dict[str, dict[str, float]] = {}
    for name, given in FORMS.items():
        change = dict(given)
        left_out = change.pop("without", None)
        if left_out is not None:
            change["fast"] = tuple(step for step in task.fast if step != left_out)
        # The training itself, which the first form does, is that of the profile; what was taken then is not undone.
        own = task.model_copy(update=change)
        found = run(Job(own, 0, folder, {"convert": converted}, {"cityscapes": words.data_root}))
        scores[name] = {key: found[key] for key in ("miou_percent", "aacc_percent", "macc_percent")}
        print(f"  {name:<32} mIoU {found['miou_percent']:.4f}, aAcc {found['aacc_percent']:.4f}", flush=True)
    base = scores["float32, mmseg's own network"]["miou_percent"]
    for one in scores.values():
        one["miou_difference"] = one["miou_percent"] - base
    checks = [
        {
            "what": f"mIoU in {name}, against float32 by mmseg's own network",
            "found": abs(scores[name]["miou_difference"]),
            "goal": ALLOWED,
            "unit": "points",
            "at_most": True,
        }
        for name in ("float32", "bf16")
    ]
    report.save(
        "segmentation_precision",
        {
            "benchmark": "segmentation_precision",
            "title": "mIoU of the same weights, evaluated in several forms",
            "notes": [
                f"PSPNet on {words.pretrain}, {words.iterations} iterations, profile mini, 40 images of 320x240.",
            ],
            "taken": report.taken(),
            "checks": checks,
            "figures": scores,
        },
    )


if __name__ == "__main__":
    main()
