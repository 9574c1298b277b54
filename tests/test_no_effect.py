"""Settings that decide no result: in no fingerprint and no protocol, and what was made with other values is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config.config_files import config_files
from bench.config.load import load_recipe, load_task
from bench.config.no_effect import as_hashed, effectless, stand_ins, with_values
from bench.config.recipe import Recipe
from bench.config.tasks import KINDS, KnnTask, Task
from bench.data.sets import fingerprint
from bench.execute.earlier import Earlier, planner_of
from bench.execute.grid import plan_grid
from bench.execute.request import Request
from bench.execute.resolve import with_parents
from bench.execute.stage_file import Done, read_stage, write_done, write_stage
from bench.hashing import hashed_as_set, hashed_settings, protocol_hash, recorded_settings
from bench.plan import Planner, Stage
from bench.record import Fingerprints, Record, read_all
from bench.record import write as write_record
from bench.results.as_now import as_now
from bench.results.comparison import compare_rows
from bench.results.notes import describe, settings_that_count
from bench.results.resources import build_resources
from bench.results.tables import build_tables


def recipe(name: str = "coco", **extra: Any) -> Recipe:
    return load_recipe(name, "smoke", extra)


def task(name: str = "imagenet_knn", **extra: Any) -> Task:
    return load_task(name, "smoke", extra)


# --------------------------------------------------------------------------------------------- what is hashed

UNUSED: dict[str, tuple[Recipe | Task, Recipe | Task]] = {
    "compile": (recipe(), recipe(compile=True)),
    "cuda_graphs": (recipe(), recipe(compile=True, cuda_graphs=True)),
    "betas of LARS": (recipe("imagenet_swav"), recipe("imagenet_swav", optimizer={"betas": (0.5, 0.9)})),
    "betas of SGD": (recipe("imagenet_moco"), recipe("imagenet_moco", optimizer={"betas": (0.5, 0.9)})),
    "momentum of Adam": (recipe("imagenet_bigan"), recipe("imagenet_bigan", optimizer={"momentum": 0.5})),
    "nesterov of Adam": (recipe("imagenet_bigan"), recipe("imagenet_bigan", optimizer={"nesterov": True})),
    "trust of SGD": (recipe("imagenet_moco"), recipe("imagenet_moco", optimizer={"trust_coefficient": 0.1})),
    "milestones of a cosine": (recipe(), recipe(schedule={"milestones": (0.3, 0.5)})),
    "gamma of a cosine": (recipe(), recipe(schedule={"gamma": 0.7})),
    "final ratio of steps": (recipe("imagenet_moco"), recipe("imagenet_moco", schedule={"final_ratio": 0.5})),
    "batches of kNN": (task(), task(batch_size=3)),
    "search of kNN": (task(), task(search="bf16")),
    "temperature of a majority": (task("cifar10_knn5"), task("cifar10_knn5", temperature=0.3)),
    "validate_every": (task("cityscapes_pspnet"), task("cityscapes_pspnet", validate_every=1)),
    "milestones of an exponential": (task("cifar10_linear_adam"), task("cifar10_linear_adam", milestones=(0.1,))),
    "momentum of Adam's heads": (task("cifar10_linear_adam"), task("cifar10_linear_adam", momentum=0.2)),
}
STEPS = {"schedule": {"name": "step", "milestones": (0.5,)}}
USED: dict[str, tuple[Recipe | Task, Recipe | Task]] = {
    "betas of Adam": (recipe("imagenet_bigan"), recipe("imagenet_bigan", optimizer={"betas": (0.4, 0.9)})),
    "momentum of SGD": (recipe("imagenet_moco"), recipe("imagenet_moco", optimizer={"momentum": 0.5})),
    "trust of LARS": (recipe("imagenet_swav"), recipe("imagenet_swav", optimizer={"trust_coefficient": 0.1})),
    "milestones of steps": (recipe(**STEPS), recipe(schedule={"name": "step", "milestones": (0.3,)})),
    "gamma of steps": (recipe(**STEPS), recipe(schedule={**STEPS["schedule"], "gamma": 0.7})),
    "final ratio of a cosine": (recipe(), recipe(schedule={"final_ratio": 0.5})),
    "k": (task(), task(k=3)),
    "temperature of a weighted vote": (task(), task(temperature=0.3)),
    "batches of linear heads": (task("imagenet_linear"), task("imagenet_linear", batch_size=3)),
    "milestones of linear heads": (task("imagenet_linear"), task("imagenet_linear", milestones=(0.1,))),
    "iterations": (task("cityscapes_pspnet"), task("cityscapes_pspnet", iterations=5)),
}


def printed(config: Recipe | Task) -> list[str]:
    """All fingerprints of a grid with a config in it, and the protocol of a task."""
    recipes, tasks = ([config], []) if isinstance(config, Recipe) else ([recipe("random_init")], [config])
    by_name = with_parents(recipes, lambda name: load_recipe(name, "smoke"))
    stages = Planner(lambda name: f"data of {name}", by_name).grid(recipes, tasks, [0])
    found = [each for stage in stages for each in (stage.fingerprint, stage.recipe_fingerprint)]
    return found + [protocol_hash(each) for each in tasks]


@pytest.mark.parametrize("case", UNUSED)
def test_a_setting_that_decides_nothing_is_in_no_fingerprint(case: str) -> None:
    one, other = UNUSED[case]
    assert one != other
    assert hashed_as_set(one) != hashed_as_set(other)  # as earlier versions had it
    assert printed(one) == printed(other)


@pytest.mark.parametrize("case", USED)
def test_a_setting_that_decides_a_result_is_in_the_fingerprint(case: str) -> None:
    one, other = USED[case]
    assert printed(one) != printed(other)


@pytest.mark.slow
def test_shipped_configs_are_hashed_as_they_are() -> None:
    """So that their fingerprints are those that they had before any setting was left out."""
    for profile in ("full", "mini", "smoke"):
        for name in config_files("pretrain_configs"):
            config = load_recipe(name, profile)
            assert as_hashed(config) is config, name
        for name in config_files("downstream_configs"):
            config = load_task(name, profile)
            assert as_hashed(config) is config, name


@pytest.mark.parametrize(
    "overrides",
    [
        {"custom_hooks": [{"type": "EarlyStoppingHook", "monitor": "mIoU"}]},
        {"param_scheduler": [{"type": "ReduceOnPlateauLR", "by_epoch": False, "monitor": "mIoU"}]},
    ],
    ids=["hook", "schedule"],
)
def test_how_often_is_validated_counts_where_the_scores_steer_the_training(overrides: dict[str, Any]) -> None:
    once, often = (task("cityscapes_pspnet", overrides=overrides, validate_every=each) for each in (4, 1))
    assert printed(once) != printed(often)


def test_only_the_code_that_was_looked_at_is_taken_not_to_read_a_setting() -> None:
    class Theirs(KnnTask):
        run = "theirs:run"

    class Derived(KnnTask):
        k: int = 7

    values = task().model_dump()
    for kind, same in ((Theirs, False), (Derived, True)):
        one, other = (kind(**values | {"batch_size": size}) for size in (3, 4))
        assert (hashed_settings(one) == hashed_settings(other)) is same


def test_every_stand_in_is_of_a_setting_that_there_is() -> None:
    """A setting that is renamed would otherwise count again, unnoticed."""
    for config in [each for pair in UNUSED.values() for each in pair]:
        for key, value in effectless(config).items():
            changed = with_values(config, {key: value})
            assert changed == config
    for name, kind in KINDS.items():
        for key in stand_ins({"vote": "majority", "schedule": "cosine", "optimizer": "adam"}, name, "full"):
            assert key in kind.model_fields


# ------------------------------------------------------------------------ what earlier versions left is found


class Place:
    """A work folder and one of records, in which an earlier version worked."""

    def __init__(self, folder: Path) -> None:
        self.work, self.records = folder / "work", folder / "results" / "records"

    def planner(self, recipes: list[Recipe], **more: Any) -> Planner:
        return Planner(str, with_parents(recipes, lambda name: load_recipe(name, "smoke")), **more)

    def stages(
        self, recipes: list[Recipe], tasks: list[Task], seeds: tuple[int, ...] = (0,), **more: Any
    ) -> list[Stage]:
        return self.planner(recipes, **more).grid(recipes, tasks, seeds)

    def made(self, recipes: list[Recipe], tasks: list[Task], **more: Any) -> list[Stage]:
        """Stages that an earlier version finished, with folders and records."""
        stages = self.stages(recipes, tasks, hashed=hashed_as_set, **more)
        for stage in stages:
            folder = write_stage(stage, self.work, {}, self.records.parent, "fail")
            for name in stage.outputs:
                (folder / name).touch()
            write_done(folder, Done(fingerprint=stage.fingerprint, metrics={}, wall_seconds=1, finished="2025-01-01"))
            if isinstance(stage.config, Task):
                write_record(record(stage), self.records)
        return stages

    def found(
        self, recipes: list[Recipe], tasks: list[Task], seeds: tuple[int, ...] = (0,)
    ) -> tuple[list[Stage], Earlier]:
        planner = self.planner(recipes)
        earlier = Earlier(self.work, self.records, planner_of(planner), planner.recipes)
        return earlier.found(planner.grid(recipes, tasks, seeds)), earlier


def record(stage: Stage, **changes: Any) -> Record:
    """A record as the stage that made it would write it."""
    assert isinstance(stage.config, Task)
    data = {
        name: value
        for each in (stage, stage.parents["convert"].parents["pretrain"])
        for name, value in each.data.items()
    }
    values: dict[str, Any] = {
        "pretrain": stage.recipe.name,
        "pretrain_set": stage.recipe.dataset,
        "arch": stage.recipe.arch,
        "task": stage.config.name,
        "kind": stage.kind,
        "dataset": stage.config.dataset,
        "profile": "smoke",
        "seed": stage.seed,
        "metrics": {"top1_percent": 50.0 + stage.seed},
        "fingerprints": Fingerprints(
            stage=stage.fingerprint,
            recipe=stage.recipe_fingerprint,
            protocol=protocol_hash(stage.config, hashed_as_set),
        ),
        "data": data,
        "settings": {"pretrain": recorded_settings(stage.recipe), "downstream": recorded_settings(stage.config)},
        "created": "2025-01-01T00:00:00+00:00",
    }
    return Record.model_validate(values | changes)


THEN = [recipe(compile=True, schedule={"milestones": [0.2]})], [task(batch_size=3, search="bf16")]


def test_results_with_other_values_are_found(tmp_path: Path) -> None:
    place = Place(tmp_path)
    made = place.made(*THEN)
    found, earlier = place.found([recipe()], [task()])
    assert [stage.kept_as for stage in found] == [stage.fingerprint for stage in made]
    assert [stage.folder for stage in found] == [stage.folder for stage in made]
    assert all(found[i].parents[role] is found[i - 1] for i, role in ((1, "pretrain"), (2, "convert")))
    assert found[2].record_name == made[2].record_name
    assert [stage.fingerprint for stage in found] == [s.fingerprint for s in place.stages([recipe()], [task()])]
    assert any("knn coco--imagenet_knn-s0" in note and "batch_size=3" in note for note in earlier.notes)
    folder = write_stage(found[0], place.work, {}, tmp_path, "fail")
    assert read_stage(folder).fingerprint == made[0].fingerprint  # so that what is half done goes on there
    again, _ = place.found(*THEN)  # the very same words find it, too
    assert [stage.kept_as for stage in again] == [stage.fingerprint for stage in made]


@pytest.mark.parametrize("gone", ["pretrain", "convert", "knn", "records", "pretrain convert knn"])
def test_what_is_left_is_found_when_people_delete_the_rest(tmp_path: Path, gone: str) -> None:
    place = Place(tmp_path)
    made = place.made(*THEN)
    for each in gone.split():
        shutil.rmtree(place.records if each == "records" else place.work / each)
    found, _ = place.found([recipe()], [task()])
    for now, then in zip(found, made, strict=True):
        left = then.kind not in gone.split() or (then.is_task and "records" not in gone)
        assert now.kept_as == (then.fingerprint if left else None), then.title


def test_a_setting_that_an_older_file_lacks_was_at_its_default(tmp_path: Path) -> None:
    place = Place(tmp_path)
    made = place.made([recipe()], [task(search="float32")])
    assert "search" not in hashed_as_set(task(search="float32"))
    for file in [*place.work.glob("knn/*/stage.json"), *place.records.glob("*")]:
        content = json.loads(file.read_text())
        del (content["task"] if "settings" not in content else content["settings"]["downstream"])["search"]
        file.write_text(json.dumps(content))
        assert "search" not in file.read_text()
    found, _ = place.found([recipe()], [task()])  # which searches in `auto`
    assert found[-1].kept_as == made[-1].fingerprint


def test_a_pretraining_that_goes_on_from_an_earlier_one_is_found_with_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    child = recipe("coco_4_1finetune_79_4p", compile=True)
    then = with_parents([child], lambda name: load_recipe(name, "smoke", {"compile": True}))
    planner = Planner(str, then, hashed=hashed_as_set)
    made = planner.grid([child], [task()], [0])
    for stage in made[:2]:
        write_stage(stage, place.work, {}, tmp_path, "fail")
    write_record(record(made[-1]), place.records)
    found, _ = place.found([recipe("coco_4_1finetune_79_4p")], [task()])
    assert [stage.kind for stage in found] == ["pretrain", "pretrain", "convert", "knn"]
    kept = [stage.kept_as for stage in found]
    assert kept == [made[0].fingerprint, made[1].fingerprint, None, made[3].fingerprint]


def test_what_differs_in_what_decides_is_not_taken(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.made([recipe(compile=True, epochs=2)], [task(batch_size=3, k=2)])
    place.made([recipe(compile=True)], [task(batch_size=3)], seeds=(1,))
    found, _ = place.found([recipe()], [task()])
    assert [stage.kept_as for stage in found] == [None] * 3
    # Nor what says of itself that it were the same: the fingerprint does not fit its settings.
    for file in [*place.work.glob("*/*-s0-*/stage.json"), *place.records.glob("*s0*.json")]:
        text = file.read_text().replace('"epochs": 2', '"epochs": 1').replace('"k": 2', '"k": 5')
        file.write_text(text)
    assert [stage.kept_as for stage in place.found([recipe()], [task()])[0]] == [None] * 3


def test_what_is_finished_under_its_own_fingerprint_is_not_looked_for(tmp_path: Path) -> None:
    place = Place(tmp_path)
    made = place.made(*THEN)
    own = place.stages([recipe()], [task()])
    folders = [write_stage(stage, place.work, {}, tmp_path, "fail") for stage in own]
    # Begun anew, while an earlier version had finished it.
    kept = [stage.kept_as for stage in place.found([recipe()], [task()])[0]]
    assert kept == [stage.fingerprint for stage in made]
    for folder in place.work.glob("*/*"):
        (folder / "done.json").unlink(missing_ok=True)
    shutil.rmtree(place.records)
    assert [stage.kept_as for stage in place.found([recipe()], [task()])[0]] == [None] * 3  # neither is finished
    for stage, folder in zip(own, folders, strict=True):
        write_done(folder, Done(fingerprint=stage.fingerprint, metrics={}, wall_seconds=1, finished="2025-01-01"))
    place.made(*THEN)
    assert [stage.kept_as for stage in place.found([recipe()], [task()])[0]][:2] == [None, None]


def test_a_grid_is_not_run_again_for_what_decides_nothing(tmp_path: Path, rendered: Path) -> None:
    """By a request, on data that are there: what was made before, by an earlier version and by this one."""
    request = Request(
        ("random_init",), ("imagenet_knn",), profile="smoke", data_root=(str(rendered),),
        work_dir=tmp_path / "work", results_dir=tmp_path / "results",
    )  # fmt: skip
    data = {"imagenet": fingerprint("imagenet", rendered / "imagenet")}
    for hashed in (hashed_as_set, hashed_settings):
        place = Place(tmp_path)
        planner = Planner(data.__getitem__, {}, hashed=hashed)
        (*_, knn) = planner.grid([recipe("random_init")], [task(batch_size=3)], [0])
        write_record(record(knn), place.records)
        grid = plan_grid(replace(request, assignments=("downstream.batch_size=5", "search=float32")), act=True)
        assert [*grid.states.values()] == ["not needed", "not needed", "recorded"]
        assert not grid.to_do()
        shutil.rmtree(place.records)
    assert len(plan_grid(request, act=False).to_do()) == 3


def test_damaged_files_are_nobodys(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for file in (place.work / "pretrain" / "coco-s0-0123456789ab" / "stage.json", place.records / "x.json"):
        file.parent.mkdir(parents=True)
        file.write_text("{", encoding="utf-8")
    (place.records / "coco__imagenet_knn__s0__0123456789ab.json").write_text("[]", encoding="utf-8")
    (place.records / "coco__imagenet_knn__s0__0123456789ac.json").write_text(
        '{"settings": [], "fingerprints": 3}', encoding="utf-8"
    )
    assert [stage.kept_as for stage in place.found([recipe()], [task()])[0]] == [None] * 3


# -------------------------------------------------------------------------------------------------- in tables


def test_seeds_that_differ_in_what_decides_nothing_share_a_cell(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (*_, then) = place.stages(*THEN, hashed=hashed_as_set)
    (*_, now) = place.stages([recipe()], [task()], (1,))
    records = [record(then), record(now)]
    assert records[0].fingerprints.recipe != records[1].fingerprints.recipe
    assert records[0].fingerprints.protocol != records[1].fingerprints.protocol
    alike = as_now(records)
    assert alike[1] is records[1]
    assert alike[0].fingerprints.recipe == alike[1].fingerprints.recipe
    assert alike[0].fingerprints.protocol == alike[1].fingerprints.protocol
    assert alike[0].fingerprints.stage == records[0].fingerprints.stage
    (section,) = build_tables(alike, tmp_path)
    ((cell,),) = (row.cells for row in section.rows)
    assert cell is not None
    assert cell.values == ((50.0,), (51.0,))
    other = records[1].fingerprints.model_copy(update={"recipe": "a" * 64, "stage": "b" * 64})
    for one in (*records, records[1].model_copy(update={"pretrain": "other", "fingerprints": other})):
        write_record(one, tmp_path / "records")
    (compared,) = compare_rows(records[0].pretrain, "other", tmp_path).columns
    assert compared.ours.n == 2
    words = describe(settings_that_count(alike[0]))
    assert "k=5" in words
    assert "batch_size" not in words
    assert "search" not in words


def test_the_table_of_costs_says_where_they_differ(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (*_, then) = place.stages(*THEN, hashed=hashed_as_set)
    (*_, now) = place.stages([recipe()], [task()], (1,))
    (section,) = build_resources(as_now([record(then, wall_seconds={"knn": 1.0}), record(now)]))
    (note,) = (note for note in section.notes if "change no result" in note)
    assert "coco: compile=False, True" in note
    assert "imagenet_knn: batch_size=16, 3" in note
    assert "milestones" not in note
    (section,) = build_resources(as_now([record(now)]))
    assert not any("change no result" in note for note in section.notes)


def test_a_fingerprint_that_its_settings_do_not_give_stays(tmp_path: Path) -> None:
    (*_, then) = Place(tmp_path).stages(*THEN, hashed=hashed_as_set)
    one = record(then)
    other = one.model_copy(update={"fingerprints": Fingerprints(stage="0" * 64, recipe="1" * 64, protocol="2" * 12)})
    assert as_now([other]) == [other]
    settings = json.loads(json.dumps(one.settings))
    settings["downstream"]["k"] = "many"
    broken = one.model_copy(update={"settings": settings})
    assert as_now([broken])[0].fingerprints.protocol == one.fingerprints.protocol


def test_committed_records_are_known_by_what_they_say() -> None:
    """None of them has a setting without effect at another value than the one that is hashed."""
    records = read_all(Path(__file__).parents[1] / "results" / "records")
    assert all(one is other for one, other in zip(records, as_now(records), strict=True))
