"""Work folders and records of earlier versions are read, and what lies in them is what a plan of today asks for.

The miniatures in `earlier_forms/` were made by running these versions; a folder is named by its commit. In all commits
before them, no key of a record, of `stage.json`, `done.json`, `proof.json` or a pack's manifest was ever taken away, or
took fewer values than before. So a file of any other commit has the keys of one of these, and perhaps some of those
that a later one added.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import DESCRIBED, HERE, grow

from bench.cli import run as bench
from bench.config.load import load_recipe
from bench.config.tasks import Task
from bench.convert.proof import verify_proof
from bench.convert.trunk import TRUNK, read_trunk
from bench.data.packs.manifest import read_manifest
from bench.data.packs.reading import open_pack
from bench.data.sets import DATA_SETS
from bench.data.sets.fingerprints import content_hash
from bench.errors import BadInput
from bench.execute import probe, speed
from bench.execute.earlier import Earlier, planner_of
from bench.execute.likeness import keys_of
from bench.execute.machine import this_machine
from bench.execute.speed import task_seconds
from bench.execute.stage import run_stage
from bench.execute.stage_file import DONE, finished, known_memory_mib, read_stage
from bench.hashing import hashed_as_set
from bench.plan import Planner, Stage
from bench.record import read_all, read_file
from bench.results.resources import build_resources
from bench.results.tables import build_tables, pages_of
from bench.stages.feature_cache import FeatureCache
from bench.train.checkpoint import LAST, read
from bench.train.metrics_log import read_metrics

# What each version brought to the files: the first of them has none of it, the last has all.
VERSIONS = {
    "471169e": "the first whose whole path ran",
    "e523587": "peak memory; packs; kept features; checkpoints written in the background",
    "91d078c": "the task diagnostics",
    "99f1bb8": "stems of small images; losses of the pretraining in the record",
    "5993f45": "precision auto; kinds of tasks from outside; a copy of the record in its stage's folder",
    "67390d6": "waiting for data; hashes of code from outside",
    "1bd37e7": "definitions of objectives; what a time does not hold",
    "d8b5212": "the last that hashed settings which decide no result",
}

FIRST, *_, LAST_BEFORE = VERSIONS


class Grown:
    """A miniature in full size."""

    def __init__(self, version: str, folder: Path, tensors: Container[str] = ()) -> None:
        self.version = version
        self.work, self.results = folder / "work", folder / "results"
        grow(HERE / version, self.work, self.results, tensors)
        self.folders = sorted(file.parent for file in self.work.glob("*/*/stage.json"))
        self.stages = {folder: read_stage(folder) for folder in self.folders}

    def one(self, kind: str) -> Path:
        """The folder of a kind."""
        (found,) = (folder for folder, stage in self.stages.items() if stage.kind == kind)
        return found

    def put(self, folder: Path, rendered: Path) -> None:
        """Let a stage read rendered scenes."""
        file = folder / "stage.json"
        content = json.loads(file.read_text())
        content["data_roots"] = {name: str(rendered / name) for name in content["data_roots"]}
        file.write_text(json.dumps(content))


@pytest.fixture(scope="module", params=VERSIONS)
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """Read alone; what writes grows one of its own."""
    return Grown(request.param, tmp_path_factory.mktemp(request.param))


def test_each_miniature_is_of_a_form_of_its_own() -> None:
    assert {path.name for path in HERE.iterdir() if path.is_dir() and path.name[0] != "_"} == {*VERSIONS, "packs"}
    forms = {}
    for version in VERSIONS:
        keys: set[str] = set()
        for file in (HERE / version).rglob("*.json"):
            content = json.loads(file.read_text())
            for part in (content, content.get("recipe", {}), content.get("task", {}), content.get("settings", {})):
                if file.name != "data.json" and isinstance(part, dict):
                    keys |= {f"{file.name if file.parent.name != 'records' else 'record'} {key}" for key in part}
        forms[version] = frozenset(keys)
    assert len(set(forms.values())) == len(VERSIONS)


def test_every_record_is_read_and_stands_in_the_tables(grown: Grown) -> None:
    records = read_all(grown.results / "records")
    tasks = {record.task for record in records}
    assert {"imagenet_knn", "imagenet_linear", "cityscapes_pspnet"} <= tasks
    transfer, resources = pages_of(grown.results)
    for text in (transfer.text("markdown"), resources.text("markdown")):
        assert "| coco" in text
    (section,) = build_tables(records, grown.results)
    (row,) = section.rows
    assert sum(cell is not None for cell in row.cells) >= len(tasks)
    assert build_resources(records)
    assert all(keys_of(record).keys() == {"pretrain", "convert", record.kind} for record in records)


def test_every_stage_is_read_and_known_to_be_finished(grown: Grown) -> None:
    kinds = {stage.kind for stage in grown.stages.values()}
    assert {"pretrain", "convert", "knn", "linear", "segmentation"} <= kinds
    for folder, stage in grown.stages.items():
        for name in stage.stage_kind.outputs:
            (folder / name).touch()
        done = finished(folder)
        assert done.fingerprint == stage.fingerprint
        assert done.wall_seconds > 0
    assert [line["step"] for line in read_metrics(grown.one("pretrain"))]
    (task,) = (stage for stage in planned(grown) if stage.kind == "knn")
    assert task_seconds(grown.work, [task]) or finished(grown.one("knn")).untimed
    assert known_memory_mib(grown.work, "knn", "imagenet_knn") >= 0


def planned(grown: Grown, **more: Any) -> list[Stage]:
    """What a plan of today has for the recipe and the tasks of a work folder, on data as they were."""
    some = list(grown.stages.values())
    data = {name: value for stage in some for name, value in stage.lineage_data.items()}
    tasks = [stage.task for stage in some if stage.task is not None]
    planner = Planner(data.__getitem__, {}, **more)
    stages = planner.grid([grown.stages[grown.one("pretrain")].recipe], tasks, [0])
    if more:
        return stages
    return Earlier(grown.work, grown.results / "records", planner_of(planner), {}).found(stages)


def test_every_stage_is_what_a_plan_of_today_asks_for(grown: Grown) -> None:
    """By its fingerprint, or by the one that it had then: nothing is computed anew."""
    was = {stage.title: stage for stage in grown.stages.values()}
    now = {stage.title: stage for stage in planned(grown)}
    assert now.keys() == was.keys()
    then = {stage.title: stage.fingerprint for stage in planned(grown, hashed=hashed_as_set)}
    for title, stage in now.items():
        assert stage.known_as == was[title].fingerprint == then[title]
        assert (grown.work / stage.folder / "stage.json").is_file()
        if isinstance(stage.config, Task):
            assert (grown.results / "records" / stage.record_name).is_file()


def test_the_cache_of_fingerprints_is_read_or_made_anew(grown: Grown, rendered: Path) -> None:
    cache = grown.work / "data.json"
    before = json.loads(cache.read_text())
    assert all(set(entry) == {"fingerprint", "stamps"} for entry in before.values())
    fresh = content_hash("imagenet", DATA_SETS["imagenet"], rendered / "imagenet")
    root = next(Path(key.partition(":")[2]) for key in before if key.startswith("imagenet:"))
    root.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(rendered / "imagenet", root)
    assert content_hash("imagenet", DATA_SETS["imagenet"], root, cache) == fresh
    assert json.loads(cache.read_text()).keys() == before.keys()


def test_a_task_that_was_done_is_not_measured_again(
    grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Grown(grown.version, tmp_path)
    before = {file: file.read_bytes() for file in own.results.rglob("*.json")}
    for kind in ("knn", "linear", "segmentation"):
        run_stage(own.one(kind))
    assert capsys.readouterr().out.count("done already") == 3
    assert {file: file.read_bytes() for file in own.results.rglob("*.json")} == before


@pytest.mark.slow
@pytest.mark.parametrize("version", [FIRST, "5993f45", LAST_BEFORE])  # all versions are read above; running takes long
def test_an_unfinished_work_folder_goes_on(version: str, tmp_path: Path, rendered: Path) -> None:
    """From a training state to a record, by the code of today."""
    own = Grown(version, tmp_path, DESCRIBED)
    shutil.rmtree(own.results)
    for kind in ("pretrain", "convert", "knn", "linear"):
        folder = own.one(kind)
        own.put(folder, rendered)
        (folder / DONE).unlink()
    steps = read(own.one("pretrain") / LAST)["step"]
    for kind in ("pretrain", "convert", "knn", "linear"):
        run_stage(own.one(kind))
        assert finished(own.one(kind)).fingerprint == own.stages[own.one(kind)].fingerprint
    assert read(own.one("pretrain") / LAST)["step"] == steps
    proof = json.loads((own.one("convert") / "proof.json").read_text())
    assert proof["matched"] == proof["of"] == 120
    assert {record.kind for record in read_all(own.results / "records")} == {"knn", "linear"}


@pytest.mark.slow
def test_a_trunk_and_its_proof_are_read_as_they_lie(grown: Grown, tmp_path: Path, rendered: Path) -> None:
    own = Grown(grown.version, tmp_path, [TRUNK])
    (own.one("pretrain") / LAST).touch()
    (own.one("knn") / DONE).unlink()
    own.put(own.one("knn"), rendered)
    before = (own.one("convert") / "proof.json").read_bytes()
    run_stage(own.one("knn"))
    assert (own.one("convert") / "proof.json").read_bytes() == before


def _later(first: Any, last: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys that the last form has and the first has not, as paths."""
    found: list[tuple[str, ...]] = []
    for key, value in last.items():
        if key not in first:
            found.append((*path, key))
        elif isinstance(value, dict) and isinstance(first[key], dict):
            found += _later(first[key], value, (*path, key))
    return found


TASKS = {"knn": "imagenet_knn", "linear": "imagenet_linear", "segmentation": "cityscapes_pspnet"}


@pytest.mark.parametrize("name", ["stage.json", "done.json", "proof.json", "record"])
def test_each_key_that_came_later_may_be_absent_alone(name: str, tmp_path: Path) -> None:
    """As in commits between the versions above, on branches that had one of them before another."""
    first, last = (Grown(version, tmp_path / version, [TRUNK]) for version in (FIRST, LAST_BEFORE))
    left_out = 0
    for kind in ("pretrain", "convert", "knn", "linear", "segmentation"):
        if (name == "proof.json") != (kind == "convert") or (name == "record" and kind in ("pretrain", "convert")):
            continue
        if name == "record":
            files = [next((each.results / "records").glob(f"*__{TASKS[kind]}__*")) for each in (first, last)]
        else:
            files = [each.one(kind) / name for each in (first, last)]
        contents = [json.loads(file.read_text()) for file in files]
        for path in _later(*contents):
            if path[-2:-1] in {("metrics",), ("wall_seconds",), ("peak_memory_mib",), ("objective",)}:
                continue  # what a run found, or what an objective reads
            less = json.loads(files[1].read_text())
            node = less
            for part in path[:-1]:
                node = node[part]
            del node[path[-1]]
            file = files[1]
            before = file.read_text()
            file.write_text(json.dumps(less))
            if name == "record":
                assert read_file(file)
            elif name == "proof.json":
                verify_proof(file.parent, read_trunk(file.parent / TRUNK).state)
            else:
                for output in read_stage(file.parent).stage_kind.outputs:
                    (file.parent / output).touch()
                assert finished(file.parent)
            file.write_text(before)
            left_out += 1
    assert left_out >= (1 if name == "proof.json" else 5)


def test_kept_features_are_found_under_the_same_name(grown: Grown) -> None:
    entries = sorted((grown.work / "features").glob("*/about.json"))
    assert bool(entries) is (grown.version != FIRST)  # which kept none
    for file in entries:
        content = json.loads(file.read_text())
        features = np.random.default_rng(0).normal(size=(content["rows"], 4)).astype(np.float32)
        labels = np.arange(content["rows"])
        total = hashlib.sha256(f"{features.shape} {features.dtype} {labels.shape}".encode())
        total.update(features.tobytes() + labels.tobytes())
        np.save(file.parent / "features.npy", features)
        np.save(file.parent / "labels.npy", labels)
        file.write_text(json.dumps(content | {"sha256": total.hexdigest()}))
        about = {key: value for key, value in content["about"].items() if key != "version"}
        entry = FeatureCache(grown.work / "features", about, content["rows"], 4).read()
        assert entry is not None
        assert (entry.features == features).all()


def test_a_pack_is_read() -> None:
    """Made by the first version that wrote packs; their form is the same since."""
    (folder,) = HERE.glob("packs/*/val")
    assert read_manifest(folder).identity == "jpeg-32-q90-e0146fea5bdc"
    pack = open_pack(folder)
    assert len(pack) == 8
    for place in range(8):
        assert min(pack.read(place).shape[:2]) == 32


def test_what_was_timed_before_is_read_or_forgotten(tmp_path: Path) -> None:
    """Reconstructed: both notes hold measurements of a machine, and are no more than a start for an estimate."""
    recipe, machine = load_recipe("coco", "smoke"), this_machine()
    for stored in ({"images_per_second": 3.0, "words": "timed"}, {"images_per_second": None, "words": "took too long"}):
        (tmp_path / speed.FILE).write_text(json.dumps({speed.machine(1): {speed.key_of(recipe): stored}}))
        assert speed.known(recipe, tmp_path, 1) == speed.Speed(**stored)
    for odd in ({"rate": 3.0}, [], 3):
        (tmp_path / speed.FILE).write_text(json.dumps({speed.machine(1): {speed.key_of(recipe): odd}}))
        assert speed.known(recipe, tmp_path, 1) is None
    for content in ({"version": 1, "machines": {machine.words: {"0": {}}}}, {machine.words: {}}, []):
        (tmp_path / probe.FILE).write_text(json.dumps(content))
        assert probe.kept(tmp_path, machine) == {}


def test_mutants_of_the_first_campaign_are_read(tmp_path: Path) -> None:
    page = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, 'mutation'); {CAMPAIGN}", str(HERE / "mutants.json")],
        cwd=HERE.parents[1], capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert page.split() == ["4", "4"]


CAMPAIGN = (
    "from campaign import Campaign; from pathlib import Path; "
    "one = Campaign(Path('.'), Path(sys.argv[1]), 0); print(len(one.entries), len(one.done()))"
)


@pytest.mark.slow
@pytest.mark.parametrize("version", [FIRST, LAST_BEFORE])
def test_a_segmentation_goes_on_from_its_checkpoint(version: str, tmp_path: Path, rendered: Path) -> None:
    own = Grown(version, tmp_path, DESCRIBED)
    folder = own.one("segmentation")
    own.put(folder, rendered)
    (folder / DONE).unlink()
    content = torch.load(folder / LAST, weights_only=True)
    torch.save(content | {"trunk_hash": read_trunk(own.one("convert") / TRUNK).hash}, folder / LAST)
    run_stage(folder)
    done = finished(folder)
    assert done.metrics["iterations"] == content["iteration"] == 4
    assert done.untimed == ["4 of 4 iterations"]


def test_a_stage_of_a_version_that_is_not_read_says_what_to_do(tmp_path: Path) -> None:
    own = Grown(FIRST, tmp_path)
    for change in ({"kind": 3}, {"recipe": {}}, {"unheard": 1}):
        folder = own.one("knn")
        text = (folder / "stage.json").read_text()
        (folder / "stage.json").write_text(json.dumps(json.loads(text) | change))
        with pytest.raises(BadInput, match=r"not a stage of this version of bench; start it again with bench run\.$"):
            read_stage(folder)
        (folder / "stage.json").write_text(text)


def test_an_objective_that_is_another_today_is_named(tmp_path: Path, rendered: Path) -> None:
    """Reconstructed: `bn_splits` of MoCo, which `norm_images` has taken the place of."""
    own = Grown("99f1bb8", tmp_path)
    folder = own.one("pretrain")
    own.put(folder, rendered)
    content = json.loads((folder / "stage.json").read_text())
    content["recipe"]["objective"] = {"name": "moco", "bn_splits": 8}
    (folder / DONE).unlink()
    for definitions, complaint in (
        ({}, r"has definition 2, and this was planned with definition 1; run bench run again\.$"),
        ({"moco": 2}, r"objective\.bn_splits is no setting any more: .* set norm_images"),
    ):
        (folder / "stage.json").write_text(json.dumps(content | {"definitions": definitions}))
        with pytest.raises(BadInput, match=complaint):
            run_stage(folder)


def test_the_table_command_reads_them_all_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "results" / "records"
    records.mkdir(parents=True)
    for version in VERSIONS:
        for file in (HERE / version / "records").glob("*.json"):
            shutil.copy(file, records)
    assert bench(["table", "--results-dir", str(tmp_path / "results")]) == 0
    assert "| coco" in capsys.readouterr().out
