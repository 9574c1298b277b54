"""Work folders with logs of pretrainings that never took place, and records that figures are drawn from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from example_records import digest, linear, make, pspnet

from bench.made import Made
from bench.record import Record
from bench.results.plots import PLOTS, Content, Sources

CPU = {"hardware": {"cpu": "A processor", "cores": 2, "memory_gib": 8.0, "gpus": []}, "machine": "any"}


def log(work: Path, name: str, seed: int, lines: Sequence[Mapping[str, float]], *, end: str = "", **about: Any) -> Path:
    """Write what a pretraining of this name leaves of its log; `end` is put behind the lines as it is."""
    machine = about.pop("machine", CPU)
    recipe = {"name": name, "profile": "mini", "arch": "resnet18", "dataset": "imagenet"} | about
    folder = work / "pretrain" / f"{digest(name, seed, about)[:12]}"
    folder.mkdir(parents=True)
    stage = {"recipe": recipe, "seed": seed, "recipe_fingerprint": digest("recipe", name, about)}
    (folder / "stage.json").write_text(json.dumps(stage))
    (folder / "made.json").write_text(json.dumps({"fingerprint": "f", "parts": [machine]}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + end)
    return work


def sources(*records: Record, work: Path | None = None, results: Path = Path("nowhere")) -> Sources:
    """Records as if they were in a folder, and a work folder."""
    files = [(results / "records" / record.file_name, record) for record in records]
    return Sources(files, [] if work is None else [work])


def diagnostics(pretrain: str, seed: int, **values: Any) -> Record:
    """A record of diagnostics."""
    metrics = {
        "backbone_alignment": 0.5,
        "backbone_uniformity": -1.0,
        "backbone_log10_spectrum": {"1": -1.0, "2": -2.0, "4": None},
    }
    return make(pretrain, "diagnostics", seed, kind="diagnostics", metrics=metrics | values)


def at_epoch(
    pretrain: str, seed: int, top1: float, epochs: int, run: str, *, of: int | None = None, **changes: Any
) -> Record:
    """A record of a pretraining of so many epochs by the run `run`; or, with `of`, of that run's checkpoint then."""
    chain = {f"pretrain {run}-s{seed}": Made(fingerprint=digest(run, seed))}
    settings: dict[str, Any] = {"epochs": epochs, "objective": {"name": "simclr"}, "init": None}
    settings |= changes.pop("pretraining", {})
    if of is not None:
        settings |= {"epochs": 0, "init": {"recipe": run, "epoch": of - 1}}
        chain[f"pretrain {pretrain}-s{seed}"] = Made(fingerprint=digest(pretrain, seed))
    return linear(pretrain, seed, top1, settings={"pretrain": settings, "downstream": {}}, chain=chain, **changes)


def everything(work: Path, names: Sequence[str]) -> Sources:
    """Sources that every figure has data in, for rows of these names."""
    records = []
    for number, name in enumerate(names):
        for seed in range(2):
            value = 40.0 + number + seed
            iou = {"road": value, "bus": None, name: 1.0}
            metrics = {"miou_percent": value, "iou_percent": iou}
            curve = ({"step": 10.0, "miou_percent": value - 5}, {"step": 20.0, "miou_percent": value})
            records += [
                at_epoch(name, seed, value, 4, name),
                at_epoch(f"{name} early", seed, value - 9, 4, name, of=2),
                pspnet(name, seed, value).model_copy(update={"metrics": metrics, "curve": curve}),
                diagnostics(name, seed, backbone_alignment=0.1 * (number + 1)),
            ]
            line = {"loss": 2.0, name: 1.0, "lr": 0.1, "images_per_second": 9.0, "data_wait_share": 0.1}
            looked = {"diagnostics/backbone/rankme": 3.0, "diagnostics/backbone/uniformity": -1.0}
            log(work, name, seed, [{"step": step, "epoch": 0, **line, **looked} for step in (1, 2)])
    return sources(*records, work=work)


def content_of(name: str, of: Sources) -> Any:
    content = PLOTS[name].content(of)
    assert content is not None
    return content


def some(content: Content, *keys: str, **wanted: object) -> list[tuple[object, ...]]:
    """Values of these keys of the rows that have what is wanted."""
    rows = [row for row in content.rows if all(row[key] == value for key, value in wanted.items())]
    return [tuple(row.get(key) for key in keys) for row in rows]
