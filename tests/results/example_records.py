"""Records of runs that never took place, and the lines of a table as text."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from bench.record import Record
from bench.results.formats import render
from bench.results.look import TRANSFER, Heading
from bench.results.sections import Section


def digest(*words: object) -> str:
    return sha256(repr(words).encode()).hexdigest()


def make(pretrain: str, task: str, seed: int, *, recipe: str = "", protocol: str = "p", **changes: Any) -> Record:
    """A record in profile mini; `recipe` and `protocol` are any words that tell fingerprints apart."""
    kind = "segmentation" if "pspnet" in task else "knn" if "knn" in task else "linear"
    dataset = changes.get("dataset", "cityscapes" if kind == "segmentation" else "imagenet")
    data = changes.pop("data", {dataset: "d" * 16})
    values: dict[str, Any] = {
        "pretrain": pretrain,
        "pretrain_set": "none" if pretrain == "random_init" else "coco",
        "arch": "resnet50",
        "task": task,
        "kind": kind,
        "dataset": dataset,
        "profile": "mini",
        "seed": seed,
        "metrics": {"top1_percent": 50.0},
        "fingerprints": {
            "stage": digest(pretrain, task, seed, recipe, protocol, data, changes.get("profile")),
            "recipe": digest("recipe", pretrain, recipe),
            "protocol": digest("protocol", task, protocol)[:12],
        },
        "data": data,
        "settings": {"pretrain": {}, "downstream": {"summary": f"About {task}.", "epochs": 4, "subset": None}},
        "created": "2025-01-01T00:00:00+00:00",
    }
    return Record(**(values | changes))


def pspnet(pretrain: str, seed: int, miou: float, **changes: Any) -> Record:
    metrics = {
        "aacc_percent": 90.0,
        "miou_percent": miou,
        "macc_percent": 50.0,
        "iou_percent": {"road": 1.0, "bus": None},
    }
    return make(pretrain, "cityscapes_pspnet", seed, metrics=metrics, **changes)


def linear(pretrain: str, seed: int, top1: float, **changes: Any) -> Record:
    task = changes.pop("task", "imagenet_linear")
    return make(pretrain, task, seed, metrics={"top1_percent": top1, "top5_percent": 99.0, "best_lr": 30.0}, **changes)


def lines_of(sections: Sequence[Section], key: str, heading: Heading = TRANSFER) -> list[dict[str, str]]:
    """The lines of a section's Markdown tables: {column: text}; those of a row in several tables are one."""
    section = next(section for section in sections if section.key == key)
    names = len(section.leading)
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    heads: list[str] = []
    for table in render([section], "markdown", heading).split("\n\n"):
        if not table.startswith("|"):
            continue
        split = [[word.strip() for word in line.strip("|").split(" | ")] for line in table.splitlines()]
        head, _, *rows = split
        heads += [each for each in head if each not in heads]
        for row in rows:
            line = lines.setdefault(tuple(row[:names]), {})
            assert not set(head[names:]) & set(line), "a cell stands in two tables"
            line |= dict(zip(head, row, strict=True))
    return [{each: line.get(each, "–") for each in heads} for line in lines.values()]


THREE = [
    *(pspnet("random_init", s, v) for s, v in enumerate((60.0, 61.0, 62.0))),
    *(pspnet("coco", s, v) for s, v in enumerate((64.0, 65.0, 66.0))),
    *(pspnet("coco_two_loss", s, v) for s, v in enumerate((64.5, 65.5, 65.6))),
    linear("coco", 0, 42.125),
    linear("random_init", 0, 10.0),
]
