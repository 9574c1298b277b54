"""Records: written whole or not at all, never changed, refused when broken."""

from __future__ import annotations

import gc
import json
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bench import hashing, plan
from bench import record as module
from bench.config.assignments import parse_assignments
from bench.config.load import load_recipe, load_task, route
from bench.errors import BadInput
from bench.execute import sources, stage_file
from bench.execute.recording import command_of, earlier_of, history_of, record_of
from bench.execute.resolve import with_parents
from bench.execute.stage import run_stage
from bench.execute.stage_file import Done, read_stage, write_done, write_stage
from bench.record import Record, environment, read_all, read_file, write

STAGE = "0123456789abcdef" * 4


def make(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "pretrain": "coco",
        "pretrain_set": "coco",
        "arch": "resnet50",
        "task": "imagenet_linear",
        "kind": "linear",
        "dataset": "imagenet",
        "profile": "mini",
        "seed": 3,
        "metrics": {"top1_percent": 12.5, "images": 780, "iou_percent": {"road": 90.25, "train": None}},
        "fingerprints": {"stage": STAGE, "recipe": "a" * 64, "protocol": "b" * 12},
        "data": {"imagenet": "c" * 16},
        "settings": {"pretrain": {"epochs": 1}, "downstream": {"epochs": 2}},
    }
    return Record(**(values | changes))


def test_write_and_read_give_the_same_record(tmp_path: Path) -> None:
    record = make(**environment(["NVIDIA X"]), wall_seconds={"linear": 1.5}, images_skipped=2)
    file = write(record, tmp_path / "records")
    assert file.name == "coco__imagenet_linear__s3__0123456789ab.json"
    content = json.loads(file.read_text())
    assert content["schema"] == 1
    assert str(content["metrics"]["images"]) == "780"  # a count stays one
    assert read_all(tmp_path / "records") == [record]
    assert [path.name for path in file.parent.iterdir()] == [file.name]  # no temporary file stays


def test_file_name_is_the_one_that_the_plan_looks_for() -> None:
    record = make()
    expected = plan.record_name(record.pretrain, record.task, record.seed, record.fingerprints.stage)
    assert record.file_name == expected


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    file = write(make(), tmp_path)
    before = file.read_bytes()
    assert write(make(metrics={"top1_percent": 99.0}), tmp_path) == file
    assert file.read_bytes() == before


def test_another_stage_with_the_same_file_name_is_refused(tmp_path: Path) -> None:
    file = write(make(), tmp_path)
    before = file.read_bytes()
    other = make(fingerprints={"stage": STAGE[:12] + "f" * 52, "recipe": "a" * 64, "protocol": "b" * 12})
    with pytest.raises(BadInput, match="another stage; move it away"):
        write(other, tmp_path)
    assert file.read_bytes() == before


def test_a_crash_while_writing_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write(make(), tmp_path)
    assert read_all(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", None])
def test_a_metric_is_a_finite_number(value: Any) -> None:
    with pytest.raises(ValidationError):
        make(metrics={"top1_percent": value})


def test_an_unknown_field_and_a_change_are_refused() -> None:
    with pytest.raises(ValidationError):
        make(profil="mini")
    with pytest.raises(ValidationError):
        make().seed = 4


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file, not a folder")
    with pytest.raises(BadInput, match=r"Cannot write to .*--results-dir"):
        write(make(), tmp_path / "records")


WHOLE = make(settings={"pretrain": {"objective": {}, "init": None}, "downstream": {}}).model_dump_json(by_alias=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "EOF"),
        ('{"schema": 1}', "pretrain"),
        (make().model_dump_json(by_alias=True).replace('"schema":1', '"schema":2'), "schema"),
        (make().model_dump_json(by_alias=True).replace("12.5", "NaN"), "top1_percent"),
        (make().model_dump_json(by_alias=True).replace("12.5", "1e200"), "top1_percent"),
        (WHOLE.replace('"objective":{}', '"objective":null'), "pretrain.objective is None, and no dictionary"),
        (WHOLE.replace('"init":null', '"init":[3]'), r"pretrain.init is \[3\], and no dictionary"),
        (WHOLE.replace('"objective":{}', '"objective":{"name":[]}'), r"pretrain.objective.name is \[\], and no name"),
    ],
)
def test_a_broken_record_is_named_with_the_remedy(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / make().file_name
    file.write_text(content)
    with pytest.raises(BadInput, match=f"{file.name} is not a record .*{reason}.*restore it from version control"):
        read_all(tmp_path)


def test_a_copy_would_count_twice_and_is_refused(tmp_path: Path) -> None:
    file = write(make(), tmp_path)
    (tmp_path / "copy.json").write_bytes(file.read_bytes())
    with pytest.raises(BadInput, match=r"copy.json holds the record .*delete it if it is a copy"):
        read_all(tmp_path)


@pytest.mark.parametrize("was", [True, False])
@pytest.mark.parametrize("content", [None, "{"])
def test_garbage_is_collected_again_after_reading_as_before(
    was: bool, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, during = write(make(), tmp_path), []
    if content is not None:
        file.write_text(content)
    read = module.read_file
    monkeypatch.setattr(module, "read_file", lambda file: during.append(gc.isenabled()) or read(file))
    before = gc.isenabled()
    (gc.enable if was else gc.disable)()
    try:
        with nullcontext() if content is None else pytest.raises(BadInput):
            read_all(tmp_path)
        assert gc.isenabled() is was
    finally:
        (gc.enable if before else gc.disable)()
    assert during == [False]


def test_no_folder_holds_no_records(tmp_path: Path) -> None:
    assert read_all(tmp_path / "nowhere") == []


def test_the_environment_has_versions_and_hardware() -> None:
    described = environment(["NVIDIA X"])
    assert described["versions"]["torch"].startswith("2.")
    assert described["versions"]["mmseg"]
    assert described["versions"]["python"].count(".") == 2
    assert described["hardware"].cores >= 1
    assert described["hardware"].memory_gib > 0
    assert described["hardware"].gpus == ("NVIDIA X",)


def test_records_do_without_torch() -> None:
    code = "import sys, bench.record; bench.record.environment(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_records_command_gives_its_settings_anew() -> None:
    """Also where they came from a sweep or a study, which nobody wrote after --set."""
    pretrain = {"stem": "imagenet", "schedule": {"milestones": (0.5,)}, "objective": {"loss2": "least_squares"}}
    recipe = load_recipe("cifar10_byol_loss2", "mini", pretrain | {"subset": None})
    task = load_task("cifar10_knn5", "mini", {"k": 7})
    swept = recipe.model_copy(update={"name": "cifar10_byol_loss2[loss2=least_squares]"})
    words = shlex.split(command_of(swept, task, 3))
    start = "bench run --pretrain cifar10_byol_loss2 --downstream cifar10_knn5 --seeds 3 --profile mini --set"
    assert words[:11] == start.split()
    upstream, downstream = route(parse_assignments(words[11:]))
    assert load_recipe("cifar10_byol_loss2", "mini", upstream) == recipe
    assert load_task("cifar10_knn5", "mini", downstream) == task


def test_a_records_command_names_what_was_set_alone() -> None:
    recipe, task = load_recipe("coco", "smoke"), load_task("imagenet_knn", "smoke", {"temperature": 0.1})
    command = "bench run --pretrain coco --downstream imagenet_knn --seeds 0 --profile smoke"
    assert command_of(recipe, load_task("imagenet_knn", "smoke"), 0) == command
    assert command_of(recipe, task, 0) == command + " --set downstream.temperature=0.1"
    words = shlex.split(command_of(load_recipe("cifar10_byol_loss2", "full", {"stem": "imagenet"}), task, 0))
    assert words[11:] == ["pretrain.stem=imagenet", "downstream.temperature=0.1"]  # and no crop_scale, a tuple there
    gone = recipe.model_copy(update={"source": "my_own.py"})  # which is not here, so that nothing is known of it
    assert command_of(gone, task, 0) == command.replace("coco", "my_own")


def test_a_records_command_gives_a_config_by_path_where_its_name_finds_another_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("mine", "pretrain_configs"):
        (tmp_path / folder).mkdir()
    for name in ("mine/own", "mine/coco", "pretrain_configs/known"):
        text = f"_base_ = {load_recipe('coco').source!r}\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    task = tmp_path / "mine" / "near.py"
    task.write_text(f"_base_ = {load_task('imagenet_knn').source!r}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for given, word in (
        ("mine/own.py", "mine/own.py"),
        (str(tmp_path / "mine" / "coco.py"), "mine/coco.py"),
        ("pretrain_configs/known.py", "known"),
    ):
        words = command_of(load_recipe(given), load_task("mine/near.py"), 0).split()
        assert words[2:6] == ["--pretrain", word, "--downstream", "mine/near.py"]
        assert "--set" not in words


def test_a_record_keeps_the_definitions_of_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of its parents; an edit of the code between the training and the measurement changes nothing."""
    for each in (hashing, stage_file):
        monkeypatch.setattr(each, "definition_of", {"patch_byol": 1, "byol": 4}.__getitem__)
    child = load_recipe("imagenet_4_1finetune_79_sys4_T5_lr", "smoke")
    recipes = with_parents([child], lambda name: load_recipe(name, "smoke"))
    planner = plan.Planner(lambda name: f"data of {name}", recipes)
    *_, knn = planner.grid([child], [load_task("imagenet_knn", "smoke")], [0])
    stage = read_stage(write_stage(knn, tmp_path / "work", {}, tmp_path / "results", "fail"))
    monkeypatch.setattr(stage_file, "definition_of", lambda name: 9)
    done = Done(fingerprint="", metrics={"top1_percent": 1.0}, wall_seconds=1.0, finished="2025-01-01T00:00:00")
    record = record_of(stage, done, {"convert": done})
    assert record.definitions == {"patch_byol": 1, "byol": 4}
    assert read_all(write(record, tmp_path / "records").parent) == [record]
    assert "definitions" not in make().model_dump(by_alias=True)  # older records stay as they are


def test_a_pretraining_that_was_planned_with_another_definition_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_file, "definition_of", lambda name: 3)
    pretrain, convert = plan.Planner(str).grid([load_recipe("random_init", "smoke")], [], [0])
    folder, after = (write_stage(one, tmp_path / "work", {}, tmp_path, "fail") for one in (pretrain, convert))
    monkeypatch.setattr(sources, "definition_of", lambda name: 2)
    for known, planned in (({"random_init": 3}, 3), ({}, 1)):  # of a stage from before there was a number
        content = json.loads((folder / "stage.json").read_text()) | {"definitions": known}
        content.pop("checksum", None)
        (folder / "stage.json").write_text(json.dumps(content))
        with pytest.raises(BadInput, match=f"definition 2, and this was planned with definition {planned}; run bench"):
            run_stage(folder)
    with pytest.raises(BadInput, match="is not finished"):  # a conversion computes nothing of it: only that stops it
        run_stage(after)


def test_records_know_the_precision_of_the_pretrainings_that_theirs_continues(tmp_path: Path) -> None:
    child = load_recipe("imagenet_4_1finetune_79_sys4_T5_lr", "smoke")
    recipes = with_parents([child], lambda name: load_recipe(name, "smoke"))
    work = tmp_path / "work"
    stages = plan.Planner(lambda name: f"data of {name}", recipes).grid(
        [child], [load_task("imagenet_knn", "smoke")], [0]
    )
    for stage, precision in zip(stages, ("float32", "bf16", None, "bf16"), strict=True):
        folder = write_stage(stage, work, {}, tmp_path / "results", "fail")
        for name in stage.outputs:
            (folder / name).touch()
        done = Done(
            fingerprint=stage.fingerprint,
            metrics={"top1_percent": 1.0},
            precision=precision,
            wall_seconds=1.0,
            untimed=["2 of 8 steps"] if stage.kind == "pretrain" else [],
            finished="2025-01-01T00:00:00",
        )
        write_done(folder, done)
    knn = read_stage(folder)
    assert [stage.kind for stage in stages] == ["pretrain", "pretrain", "convert", "knn"]
    earlier = earlier_of(knn, work)
    assert {title: each.precision for title, each in earlier.items()} == {"pretrain imagenet_0-s0": "float32"}
    record = record_of(knn, done, history_of(knn, work), earlier)
    assert record.precision == {"pretrain": "bf16", "knn": "bf16", "pretrain imagenet_0-s0": "float32"}
    assert record.untimed == {"pretrain": ["2 of 8 steps"]}
    assert "untimed" not in make().model_dump()  # as in older records
    shutil.rmtree(work / stages[0].folder)
    assert earlier_of(knn, work) == {}


def test_a_record_carries_its_checksum_and_any_changed_bit_is_noticed(tmp_path: Path) -> None:
    file = write(make(), tmp_path)
    data = file.read_bytes()
    assert read_file(file) == make()
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 400).tolist():
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        with pytest.raises(
            BadInput, match=r"is not a record that this version reads .*; restore it from version control"
        ):
            read_file(file)
    file.write_text(data.decode().replace("12.5", "99.5"))
    with pytest.raises(BadInput, match="its checksum is not that of its content"):
        read_file(file)
    file.write_text(make(metrics={"top1_percent": 99.5}).model_dump_json(indent=1, by_alias=True))  # as older versions
    assert read_file(file).metrics == {"top1_percent": 99.5}


def test_a_stage_file_carries_its_checksum_and_says_its_kind_and_parents(tmp_path: Path) -> None:
    pretrain, convert = plan.Planner(str).grid([load_recipe("random_init", "smoke")], [], [0])
    for one in (pretrain, convert):
        folder = write_stage(one, tmp_path, {}, tmp_path, "fail")
        file, text = folder / "stage.json", (folder / "stage.json").read_text()
        assert read_stage(folder).fingerprint == one.fingerprint
        file.write_text(text.replace('"seed": 0', '"seed": 1', 1))
        with pytest.raises(
            BadInput, match=r"is not a stage of this version of bench; start it again with bench run\.$"
        ):
            read_stage(folder)
        content = json.loads(text)
        del content["checksum"]
        file.write_text(json.dumps(content))  # as older versions
        assert read_stage(folder).fingerprint == one.fingerprint
        wrong: list[dict[str, Any]] = [{"kind": "retrain"}, {"recipe": content["recipe"] | {"objective": {}}}]
        for change in [*wrong, *([{"inputs": {}}, {"inputs": {"pretrain": "a\nb"}}] if one is convert else [])]:
            file.write_text(json.dumps(content | change))
            with pytest.raises(BadInput, match=r"lacks its kind, its parents or its objective; start it again with"):
                read_stage(folder)
        for task in ({}, {"kind": ["knn"]}):
            file.write_text(json.dumps(content | {"task": task}))
            with pytest.raises(BadInput, match=r"is not a stage of this version of bench"):
                read_stage(folder)
