"""Results folders for reports, with records of runs that never took place, and figures that nothing drew."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from example_records import linear, pspnet

from bench.made import Hardware, Made, Part
from bench.record import Record, write
from bench.results.report.gathering import gathered
from bench.results.report.shown import Behind, Report

SCRIPT = "<script>window.hurt=1</script>"
IMAGE = '"><img src=x onerror="window.hurt=1">'
END = "</script></template><svg onload=window.hurt=1>"
TEMPLATE = "{{7*7}}"
HOSTILE = (SCRIPT, IMAGE, END, TEMPLATE)

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t" viewBox="0 0 200 100" width="200">'
    '<title id="t">A line</title><rect width="200" height="100" style="fill: var(--plot-grid)"/>'
    '<path d="M0 0L200 100" style="stroke: var(--plot-1); fill: none"/></svg>'
)


@dataclass(frozen=True)
class Drawing:
    """A figure."""

    name: str = "curves"
    title: str = "Loss over steps"
    caption: str = "Of every pretraining."
    svg: str = SVG
    rows: Sequence[dict[str, Any]] = field(default_factory=lambda: [{"step": 1, "loss": 0.5, "note": IMAGE}])


def chain(commit: str = "c" * 40) -> dict[str, Made]:
    machine = Hardware(cpu="A processor", cores=2, memory_gib=24.0)
    git = {"commit": commit, "dirty": False}
    part = Part(git=git, versions={"torch": "2.15.0"}, hardware=machine, machine="avx512", started="2025-01-01")  # type: ignore[arg-type]
    return {
        "pretrain coco-s0": Made(fingerprint="a" * 64, parts=(part,), wall_seconds=12.0),
        "segmentation coco-s0": Made(fingerprint="b" * 64, parts=(part,), finished="2025-01-01T00:00:00+00:00"),
    }


def usual() -> list[Record]:
    """Two architectures; three seeds a row; a control; diagnostics."""
    proof = {"C2": 2.5e-7, "C5 bf16": 0.004}
    records = [pspnet("random_init", s, v) for s, v in enumerate((60.0, 61.0, 62.0))]
    records += [pspnet("coco", s, v, chain=chain(), load_proof=proof) for s, v in enumerate((64.0, 65.0, 66.0))]
    records += [pspnet("coco_two_loss", s, v, trunk=f"a{s}" * 16) for s, v in enumerate((64.5, 65.5, 65.6))]
    records += [linear("coco", 0, 42.125), linear("random_init", 0, 10.0)]
    records += [pspnet("coco", s, v, recipe="small", arch="resnet18") for s, v in enumerate((50.0, 51.0))]
    diagnostics = {"backbone_rankme": 12.5, "backbone_uniformity": -2.0}
    records.append(
        linear("coco", 0, 1.0, task="diagnostics").model_copy(
            update={"kind": "diagnostics", "metrics": diagnostics, "task": "diagnostics"}
        )
    )
    return records


def hostile() -> list[Record]:
    """Records that say what a browser must not do, wherever they can say anything."""
    settings = {"pretrain": {"objective": {"name": "byol", TEMPLATE: END}, "note": IMAGE}, "downstream": {END: SCRIPT}}
    words: dict[str, Any] = {
        "data": {"cityscapes": END},
        "settings": settings,
        "command": f"bench run {SCRIPT}",
        "weights": IMAGE,
        "versions": {END: TEMPLATE},
        "load_proof": {IMAGE: 0.5},
        "columns": {"miou_percent": SCRIPT},
    }
    records = []
    for number, name in enumerate(HOSTILE):
        for seed in range(2):
            value = 50.0 + number + seed
            # A slash can be in no name of a file, which a record's name is a part of.
            records.append(
                pspnet(name.replace("/", ""), seed, value, arch=END, pretrain_set=SCRIPT, kind="theirs", **words)
            )
    return records


def folder_of(records: Sequence[Record], place: Path) -> Path:
    for record in records:
        write(record, place / "records")
    return place


def behind(record: Record) -> Behind:
    return Behind(f"bench run --pretrain {record.pretrain}", f"Of {record.task}.", (f"A note on {record.pretrain}",))


def report_of(records: Sequence[Record], place: Path, *work_dirs: Path, title: str = "A report") -> Report:
    return gathered(folder_of(records, place), work_dirs, behind, lambda _: (Drawing(), Drawing("other")), title)


def webp(colour: str = "red", size: int = 8) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "WEBP")
    return file.getvalue()


def with_pictures(work: Path, **changes: Any) -> Path:
    """A work folder with one panel of two pictures; `changes` are of its first cell."""
    folder = work / "pictures"
    folder.mkdir(parents=True)
    (folder / "one.webp").write_bytes(webp())
    first = {"file": "one.webp", "alt": "An overlay", "caption": IMAGE} | changes
    rows = [{"label": "image 1", "cells": [first, None]}]
    panel = {"kind": "segmentation", "title": "Overlays", "caption": "The worst.", "columns": ["coco", "none"]}
    (folder / "pictures.json").write_text(json.dumps({"version": 1, "panels": [panel | {"rows": rows}]}))
    return work
