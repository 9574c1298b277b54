"""What stages leave and take up: records, `stage.json`, `done.json`, load proofs, logs, outcomes of images."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import numpy as np
from changes import as_json, of_bytes, of_value
from inputs import Input, Read

from bench import outcomes
from bench.config.load import load_recipe, load_task
from bench.convert.proof import MAPS, PROOF, Proof, ProvenTensor, read_proof, write_proof
from bench.errors import BadInput, StageFailed
from bench.execute.chain import chain_before
from bench.execute.recording import earlier_of, history_of, record_of
from bench.execute.sources import check_unchanged
from bench.execute.stage_file import DONE, STAGE, Done, known_memory_mib, read_done, read_stage, write_done, write_stage
from bench.made import Made
from bench.plan import Planner
from bench.record import Record, read_file
from bench.results.tables import pages_of
from bench.train.metrics_log import FILE, drop_after, read_metrics

WHEN = "2025-01-01T00:00:00+00:00"


def record(seed: int, task: str = "imagenet_linear", pretrain: str = "coco", **changes: Any) -> Record:
    """Return a record of a run that never took place."""
    stage = hashlib.sha256(f"{seed} {task} {pretrain}".encode()).hexdigest()
    segmentation = "pspnet" in task
    names = ("aacc_percent", "miou_percent", "macc_percent") if segmentation else ("top1_percent", "top5_percent")
    values: dict[str, Any] = {
        "pretrain": pretrain,
        "pretrain_set": "coco",
        "arch": "resnet50",
        "task": task,
        "kind": "segmentation" if segmentation else task.rpartition("_")[2],
        "dataset": "cityscapes" if segmentation else "imagenet",
        "profile": "mini",
        "seed": seed,
        "trunk": stage[:16],
        "metrics": dict.fromkeys(names, 60.0 + seed),
        "pretrain_metrics": {"loss": 0.5},
        "fingerprints": {
            "stage": stage,
            "recipe": hashlib.sha256(pretrain.encode()).hexdigest(),
            "protocol": hashlib.sha256(task.encode()).hexdigest()[:12],
        },
        "data": {"cityscapes" if segmentation else "imagenet": "c" * 16},
        "settings": {
            "pretrain": {"epochs": 1, "precision": "auto", "objective": {"name": "two_loss"}},
            "downstream": {"summary": "A task.", "epochs": 2, "precision": "float32"},
        },
        "wall_seconds": {"pretrain": 10.0, "linear": 1.5},
        "peak_memory_mib": {"pretrain": 100.0},
        "precision": {"pretrain": "bf16"},
        "created": WHEN,
    }
    return Record(**(values | changes))


class Records(Input):
    """Records with their checksum, damaged: the same record, or none."""

    name, share = "record", 3

    def prepare(self) -> None:
        self.file, self.original = self.folder / "record.json", record(0)
        self.text = self.original.as_text().encode()

    def case(self, draw: random.Random) -> tuple[bytes, bool]:
        if draw.random() < 0.7:
            return of_bytes(draw, self.text), False
        return as_json(draw, of_value(draw, json.loads(self.text))), True  # its checksum stays, wherever it comes to be

    def read(self, case: tuple[bytes, bool]) -> Read:
        content, anew = case
        self.file.write_bytes(content)
        found = read_file(self.file)
        if anew and b'"checksum"' not in content:  # written anew without one, as older versions did
            return "other"
        return "same" if found == self.original else "silent"


class Tables(Input):
    """Records without checksums, as older ones are: a table of them, or a sentence."""

    name = "table"

    def prepare(self) -> None:
        self.records = self.folder / "records"
        self.records.mkdir()
        tasks = ("imagenet_linear", "imagenet_knn", "cityscapes_pspnet")
        made = [record(seed, task, name) for seed in (0, 1) for task in tasks for name in ("coco", "coco_two_loss")]
        for one in made:
            (self.records / one.file_name).write_text(one.as_text(), encoding="utf-8")
        self.contents = [(one.file_name, one.model_dump(mode="json", by_alias=True)) for one in made]
        pages_of(self.folder)

    def case(self, draw: random.Random) -> tuple[str, bytes]:
        name, content = draw.choice(self.contents)
        key = draw.choice(("metrics", "settings", "fingerprints", "precision", "wall_seconds", "data", "trunk"))
        return name, json.dumps(content | {key: of_value(draw, {key: content[key]}).get(key, {})}).encode()

    def read(self, case: tuple[str, bytes]) -> Read:
        name, content = case
        file = self.records / name
        kept = file.read_bytes()
        try:
            file.write_bytes(content)
            for page in pages_of(self.folder):
                page.text("markdown")
        finally:
            file.write_bytes(kept)
        return "other"


class Stages(Input):
    """`stage.json` and `done.json` of a pretraining, its conversion and a task on it."""

    name, share = "stage", 3
    refusals = (StageFailed,)

    def prepare(self) -> None:
        recipe, task = load_recipe("random_init", "smoke"), load_task("imagenet_knn", "smoke")
        self.work = self.folder / "work"
        stages = Planner(lambda name: f"data of {name}").grid([recipe], [task], [0])
        self.folders = [write_stage(one, self.work, {"imagenet": "/data"}, self.folder, "fail") for one in stages]
        for stage, folder in zip(stages, self.folders, strict=True):
            for name in stage.outputs:
                (folder / name).touch()
            done = Done(
                fingerprint=stage.fingerprint,
                metrics={"top1_percent": 1.0, "steps": 3, "loss": 0.25},
                precision="float32",
                wall_seconds=1.5,
                peak_memory_mib={"process": 300.0},
                untimed=["2 of 8 steps"],
                finished=WHEN,
                files={"trunk.safetensors": "0" * 64},
                chain={"pretrain random_init-s0": Made(fingerprint=stage.fingerprint)},
            )
            write_done(folder, done)
        self.originals = {
            folder / name: (folder / name).read_bytes() for folder in self.folders for name in (STAGE, DONE)
        }
        self.stages = {folder: read_stage(folder) for folder in self.folders}
        self.done = {folder: read_done(folder, stage.fingerprint, ()) for folder, stage in self.stages.items()}

    def case(self, draw: random.Random) -> tuple[int, bytes, bool]:
        number = draw.randrange(len(self.originals))
        data = [*self.originals.values()][number]
        if draw.random() < 0.5:
            return number, of_bytes(draw, data, [*self.originals.values()]), True
        content = json.loads(data)
        del content["checksum"]  # as of an older version, or as somebody writes it
        return number, as_json(draw, of_value(draw, content)), False

    def read(self, case: tuple[int, bytes, bool]) -> Read:
        number, content, checked = case
        file = [*self.originals][number]
        file.write_bytes(content)
        try:
            if checked:
                return self._compared(file)
            self._used()
        finally:
            file.write_bytes(self.originals[file])
        return "other"

    def _compared(self, file: Any) -> Read:
        folder = file.parent
        others = [text for place, text in self.originals.items() if place.name == file.name]
        if file.read_bytes() in others:  # a whole file of another stage
            return "other"
        if file.name == STAGE:
            return "same" if read_stage(folder) == self.stages[folder] else "silent"
        done = read_done(folder, self.stages[folder].fingerprint, ())
        if done is None:
            raise BadInput("It is run again.")
        return "same" if done == self.done[folder] else "silent"

    def _used(self) -> None:
        """What a task's stage does with the folders before it, and with its own."""
        for folder in self.folders:
            stage = read_stage(folder)
            read_done(folder, stage.fingerprint, stage.stage_kind.outputs)
            check_unchanged(stage.sources, stage.recipe, stage.task)
            chain_before(stage, self.work)
            known_memory_mib(self.work, stage.kind, "random_init")
        done = self.done[self.folders[-1]]
        assert done is not None
        record_of(stage, done, history_of(stage, self.work), earlier_of(stage, self.work)).as_text()


class Proofs(Input):
    """Load proofs with their checksum."""

    name = "proof"

    def prepare(self) -> None:
        tensors = {f"layer1.{n}.conv1.weight": ProvenTensor(shape=(64, 3, 3, 3), sha256="a" * 64) for n in range(3)}
        self.original = Proof(
            arch="resnet18",
            trunk_hash="b" * 64,
            matched=3,
            of=3,
            passed=True,
            fault="",
            tensors=tensors,
            maps=dict.fromkeys(MAPS, 0.0),
            network="encoder",
        )
        write_proof(self.folder, self.original)
        self.data = (self.folder / PROOF).read_bytes()

    def case(self, draw: random.Random) -> bytes:
        if draw.random() < 0.6:
            return of_bytes(draw, self.data)
        return as_json(draw, of_value(draw, json.loads(self.data)))

    def read(self, case: bytes) -> Read:
        (self.folder / PROOF).write_bytes(case)
        return "same" if read_proof(self.folder) == self.original else "silent"


class Logs(Input):
    """`metrics.jsonl`, which stops no resume."""

    name = "log"

    def prepare(self) -> None:
        rows = [{"step": n, "epoch": 0, "loss": 1 / n, "lr": 0.1, "images_per_second": 90.5} for n in range(1, 9)]
        self.data = "".join(json.dumps(row) + "\n" for row in rows).encode()

    def case(self, draw: random.Random) -> bytes:
        return of_bytes(draw, self.data)

    def read(self, case: bytes) -> Read:
        file = self.folder / FILE
        file.write_bytes(case)
        read_metrics(self.folder)
        drop_after(file, 5)
        left = file.read_bytes().splitlines(keepends=True)
        if any(row["step"] > 5 for row in read_metrics(self.folder)) or {*left} - {*case.splitlines(keepends=True)}:
            return "silent"
        return "same" if {*left} <= {*self.data.splitlines(keepends=True)} else "other"


class ImageOutcomes(Input):
    """Outcomes of images, whose archive has the CRC of each part."""

    name = "outcomes"

    def prepare(self) -> None:
        bits = np.arange(40) % 3 == 0
        self.file = self.folder / outcomes.OUTCOMES
        self.original = outcomes.TopOutcomes("ab" * 32, np.ones(40, bool), bits, bits | (np.arange(40) % 2 == 0))
        outcomes.write(self.original, self.file)
        self.data = self.file.read_bytes()

    def case(self, draw: random.Random) -> bytes:
        return of_bytes(draw, self.data)

    def read(self, case: bytes) -> Read:
        self.file.write_bytes(case)
        return "same" if outcomes.images_apart(outcomes.read(self.file), self.original) == 0 else "silent"


KINDS_OF_INPUT: tuple[type[Input], ...] = (Records, Tables, Stages, Proofs, Logs, ImageOutcomes)
