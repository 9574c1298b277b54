"""Planning: which stages a grid has, what each fingerprint depends on, and what is to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from bench import hashing
from bench.config.load import load_recipe, load_task
from bench.config.objective_settings import later, settings_of
from bench.config.objective_source import objectives
from bench.config.recipe import LATER, Recipe
from bench.config.tasks import KnnTask, Task
from bench.errors import BadInput
from bench.execute.grid import states
from bench.execute.resolve import with_parents
from bench.plan import Planner, Stage, hashed_settings, protocol_hash, recorded_settings


def planned(
    recipes: list[Recipe],
    tasks: list[Task],
    seeds: tuple[int, ...] = (0,),
    data: Callable[[str], str] = lambda name: f"data of {name}",
) -> list[Stage]:
    by_name = with_parents(recipes, lambda name: load_recipe(name, "smoke"))
    return Planner(data, by_name).grid(recipes, tasks, seeds)


def recipe(name: str = "coco", **extra: Any) -> Recipe:
    return load_recipe(name, "smoke", extra)


def task(name: str = "imagenet_knn", **extra: Any) -> Task:
    return load_task(name, "smoke", extra)


def prints(stages: list[Stage]) -> dict[str, str]:
    return {f"{stage.kind} {stage.label}": stage.fingerprint for stage in stages}


def test_a_grid_has_each_stage_once_and_parents_first() -> None:
    stages = planned([recipe(), recipe("random_init")], [task(), task("imagenet_linear")], (0, 1))
    assert [f"{stage.kind} {stage.label}" for stage in stages[:4]] == [
        "pretrain coco-s0",
        "convert coco-s0",
        "knn coco--imagenet_knn-s0",
        "linear coco--imagenet_linear-s0",
    ]
    assert len(stages) == 2 * 2 * 4
    assert len({stage.fingerprint for stage in stages}) == len(stages)
    seen: set[str] = set()
    for stage in stages:
        assert {parent.fingerprint for parent in stage.parents.values()} <= seen
        seen.add(stage.fingerprint)


def test_each_trunk_is_measured_by_every_task_seed() -> None:
    """Where both seeds are the same, names and fingerprints are those without --task-seeds."""
    planner = Planner(str)
    stages = planner.grid([recipe()], [task("imagenet_linear")], [0, 1], [0, 1, 3])
    assert planner.notes == []
    measured = {stage.label: stage for stage in stages if stage.is_task}
    ends = ("s0", "s0-t1", "s0-t3", "s1-t0", "s1", "s1-t3")
    assert list(measured) == [f"coco--imagenet_linear-{end}" for end in ends]
    assert [stage.seed for stage in measured.values()] == [0, 1, 3, 0, 1, 3]
    assert [stage.trunk_seed for stage in measured.values()] == [None, 0, 0, 1, None, 1]
    assert [stage.parents["convert"].seed for stage in measured.values()] == [0, 0, 0, 1, 1, 1]
    assert len({stage.fingerprint for stage in stages}) == len(stages) == 4 + 6
    plain = Planner(str).grid([recipe()], [task("imagenet_linear")], [0, 1])
    together = {stage.title: stage for stage in stages}
    assert all(together[stage.title] == stage for stage in plain)
    names = [stage.record_name.split("__")[2] for stage in measured.values()]
    assert names == ["s0", "s0t1", "s0t3", "s1t0", "s1", "s1t3"]


def test_a_seed_that_decides_nothing_is_not_run_again() -> None:
    """Neighbours in the whole training set, or in images that are drawn; what is no pretraining but a checkpoint."""
    planner = Planner(str)
    stages = planner.grid([recipe()], [task(), task("diagnostics")], [0, 1], [0, 2, 3])
    assert [stage.label.rpartition("-")[2] for stage in stages if stage.kind == "knn"] == ["s0", "s1"]
    assert len(planner.notes) == 2
    assert planner.notes[0].startswith("the seed of imagenet_knn decides nothing")
    drawn = Planner(str).grid([recipe()], [task(subset=10)], [0], [0, 2, 3])
    assert [stage.label[-5:] for stage in drawn if stage.is_task] == ["nn-s0", "s0-t2", "s0-t3"]


def test_a_checkpoint_is_taken_once_where_tasks_have_seeds_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"weights")
    fixed = recipe("random_init", init={"checkpoint": str(tmp_path / "weights.pth")})
    planner = Planner(str)
    measured = planner.grid([fixed, recipe()], [task("imagenet_linear")], [1, 2], [3])
    labels = [stage.label for stage in measured if stage.is_task]
    assert labels == ["random_init--imagenet_linear-s1-t3", *(f"coco--imagenet_linear-s{s}-t3" for s in (1, 2))]
    assert planner.notes == ["random_init is a checkpoint as it is, for any of --seeds: taken once, as seed 1"]
    without = Planner(str).grid([fixed], [task("imagenet_linear")], [1, 2])
    assert len([stage for stage in without if stage.is_task]) == 2


def test_a_change_downstream_changes_that_stage_alone() -> None:
    before = prints(planned([recipe()], [task(), task("imagenet_linear")]))
    after = prints(planned([recipe()], [task(k=3), task("imagenet_linear")]))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"knn coco--imagenet_knn-s0"}


def test_a_change_of_pretraining_changes_all_that_depends_on_it() -> None:
    before = prints(planned([recipe()], [task()]))
    after = prints(planned([recipe(epochs=2)], [task()]))
    assert all(before[name] != after[name] for name in before)


@pytest.mark.parametrize(
    "extra",
    [{"workers": 7}, {"log_every": 3}, {"checkpoint": {"every_steps": 5}}],
    ids=["workers", "log", "checkpoint"],
)
def test_what_cannot_change_a_result_is_in_no_fingerprint(extra: dict[str, Any]) -> None:
    assert prints(planned([recipe()], [task()])) == prints(planned([recipe(**extra)], [task(workers=3)]))


def test_the_objectives_defaults_are_in_the_fingerprint() -> None:
    """A setting written out equals the same setting by default; another value does not."""
    default = prints(planned([recipe("coco_two_loss")], []))
    written = prints(planned([recipe("coco_two_loss", objective={"loss2": "logistic"})], []))
    other = prints(planned([recipe("coco_two_loss", objective={"loss2": "dense_byol"})], []))
    assert default == written
    assert default != other


def test_data_seed_and_code_version_are_in_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prints(planned([recipe()], [task()]))
    coco = prints(planned([recipe()], [task()], data=lambda name: "new" if name == "coco" else f"data of {name}"))
    assert all(before[name] != coco[name] for name in before)
    val = prints(planned([recipe()], [task()], data=lambda name: "new" if name == "imagenet" else f"data of {name}"))
    assert [name for name in before if before[name] != val[name]] == ["knn coco--imagenet_knn-s0"]
    assert not set(before.values()) & set(prints(planned([recipe()], [task()], (1,))).values())
    monkeypatch.setattr(KnnTask, "version", 99)
    version = prints(planned([recipe()], [task()]))
    assert [name for name in before if before[name] != version[name]] == ["knn coco--imagenet_knn-s0"]


def test_two_names_for_one_recipe_share_the_trunk_and_have_a_row_each(tmp_path: Path) -> None:
    twin = tmp_path / "twin.py"
    twin.write_text(f"_base_ = {recipe().source!r}\n", encoding="utf-8")
    stages = planned([recipe(), load_recipe(str(twin), "smoke")], [task()])
    assert [stage.kind for stage in stages] == ["pretrain", "convert", "knn", "knn"]
    assert [stage.record_name.split("__")[0] for stage in stages[2:]] == ["coco", "twin"]


def test_random_init_reads_no_data() -> None:
    stages = planned([recipe("random_init")], [])
    assert all(not stage.data for stage in stages)


def test_rows_share_a_recipe_fingerprint_over_seeds() -> None:
    stages = planned([recipe("coco_4_1finetune_79_4p")], [task()], (0, 1))
    knn = [stage for stage in stages if stage.kind == "knn"]
    assert len({stage.recipe_fingerprint for stage in knn}) == 1
    assert len({stage.fingerprint for stage in knn}) == 2


def test_continued_pretraining_plans_its_parent_first_and_shares_it() -> None:
    stages = planned([recipe("coco_4_1finetune_79_4p"), recipe("coco_4_1finetune_79_8new"), recipe()], [])
    labels = [stage.label for stage in stages if stage.kind == "pretrain"]
    assert labels == ["coco-s0", "coco_4_1finetune_79_4p-s0", "coco_4_1finetune_79_8new-s0"]
    parents = {stage.parents["init"].fingerprint for stage in stages if "init" in stage.parents}
    assert parents == {stages[0].fingerprint}


def test_continuing_from_an_epoch_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match=r"starts from epoch 5 of coco, which under profile smoke ends with epoch 0"):
        planned([recipe("coco_4_1finetune_79_4p", init={"epoch": 5})], [])
    child = load_recipe("coco_4_1finetune_79_4p", "full", {"init": {"epoch": 40}})
    with pytest.raises(BadInput, match=r"does not keep that checkpoint; set checkpoint\.keep_every_epochs"):
        Planner(lambda name: name, with_parents([child], load_recipe)).grid([child], [], [0])
    kept = load_recipe("coco_4_1finetune_79_4p", "full", {"init": {"epoch": 39}})
    assert len(Planner(lambda name: name, with_parents([kept], load_recipe)).grid([kept], [], [0])) == 3


def test_a_circle_of_inits_is_refused() -> None:
    child = recipe(init={"recipe": "coco", "epoch": 0})
    with pytest.raises(BadInput, match=r"init goes in a circle: coco -> coco"):
        Planner(lambda name: name, {"coco": child}).grid([child], [], [0])


def test_a_checkpoint_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    start = recipe(init={"checkpoint": str(file)})
    with pytest.raises(BadInput, match=r"weights\.pth, which is no file; give the path of a checkpoint"):
        planned([start], [])
    file.write_bytes(b"one")
    one = prints(planned([start], []))
    file.write_bytes(b"two")
    assert one != prints(planned([start], []))


def test_a_checkpoint_is_looked_for_beside_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "mine" / "start.py"
    config.parent.mkdir()
    config.write_text('_base_ = "coco"\ninit = dict(checkpoint="weights.pth")\n')
    (tmp_path / "weights.pth").write_bytes(b"of the working directory")
    monkeypatch.chdir(tmp_path)
    start = load_recipe(str(config), "smoke")
    assert start.initial_checkpoint == Path("weights.pth")
    elsewhere = prints(planned([start], []))
    (config.parent / "weights.pth").write_bytes(b"beside")
    assert start.initial_checkpoint == config.parent / "weights.pth"
    assert elsewhere != prints(planned([start], []))


def test_protocol_hash_depends_on_what_is_measured_and_how() -> None:
    assert protocol_hash(task()) == protocol_hash(task(workers=5))
    assert protocol_hash(task()) != protocol_hash(task(k=3))
    assert protocol_hash(task()) != protocol_hash(load_task("imagenet_knn", "full"))
    assert len(protocol_hash(task())) == 12


def test_protocol_hash_depends_on_the_version_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = protocol_hash(task())
    monkeypatch.setattr(KnnTask, "version", KnnTask.version + 1)
    assert protocol_hash(task()) != before


def test_only_what_a_missing_result_needs_is_to_do() -> None:
    stages = planned([recipe(), recipe("random_init")], [task(), task("imagenet_linear")])
    by_name = {f"{stage.kind} {stage.label}": stage for stage in stages}

    def state(recorded: set[str], done: set[str]) -> dict[str, str]:
        name = {stage.fingerprint: key for key, stage in by_name.items()}
        by_fingerprint = states(
            stages, lambda s: name[s.fingerprint] in recorded, lambda s: name[s.fingerprint] in done
        )
        return {name[fingerprint]: value for fingerprint, value in by_fingerprint.items()}

    assert set(state(set(), set()).values()) == {"to do"}
    # All of coco's results are recorded: its weights may be gone, and nothing of it runs.
    all_of_coco = {"knn coco--imagenet_knn-s0", "linear coco--imagenet_linear-s0"}
    state_of = state(all_of_coco, set())
    assert state_of["pretrain coco-s0"] == state_of["convert coco-s0"] == "not needed"
    assert state_of["pretrain random_init-s0"] == "to do"
    # One result is missing and the trunk is there: only that one runs.
    state_of = state({"knn coco--imagenet_knn-s0"}, {"convert coco-s0"})
    assert state_of["pretrain coco-s0"] == "not needed"
    assert state_of["convert coco-s0"] == "done"
    assert state_of["linear coco--imagenet_linear-s0"] == "to do"


def test_planning_leaves_torch_alone() -> None:
    code = "import sys, bench.plan, bench.record, bench.results.tables; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_switch_that_came_later_is_hashed_only_where_it_is_used() -> None:
    class Newer(KnnTask):
        centred: bool = Field(default=True, json_schema_extra=LATER)

    values = task().model_dump()
    unused, used = (Newer(**values, **extra) for extra in ({}, {"centred": False}))
    assert hashed_settings(unused) == hashed_settings(task())
    assert protocol_hash(unused) == protocol_hash(task()) != protocol_hash(used)
    assert recorded_settings(unused)["centred"] is True  # records hold it all the same


# Of recipes as they were before their objective had small crops, on data of a made-up fingerprint.
BEFORE_CROPS = {
    "coco": "61eb0162f80fe0a322565d713171f8df1f606fee110762a541bfe073d0af93e2",
    "imagenet_0": "58832048d40ed27325bc72cfc865caedca91327cf410dc898ca816a956c5ca3c",
    "coco_two_loss": "9563aaccdd1b54586831e34c93209263c8571e6626d4ce51b899e2812d5ddfff",
    "imagenet_align_uniform": "ed3b78de3c7b56bfdd130b781d58583422c33fecbc1e58e9677f88a5259225ff",
    "imagenet_contrastive_2006": "f7cf35f9a87be703138b5b98a1060aa003363f6ef67111023f5913602b2b6dcd",
}


@pytest.mark.parametrize("name", BEFORE_CROPS)
def test_an_objectives_later_setting_leaves_earlier_fingerprints_as_they_were(name: str) -> None:
    values: dict[str, Any] = {"precision": "bf16", "zero_init_residual": False}  # as it was then
    recipe = load_recipe(name, extra=values | ({"optimizer": {"decay": "weights"}} if name.startswith("coco") else {}))
    (stage, _) = Planner(lambda data: f"data of {data}").grid([recipe], [], [0])
    assert stage.fingerprint == BEFORE_CROPS[name]


def test_an_objectives_later_setting_counts_where_it_is_used() -> None:
    assert later("byol") == ("crops", "crop_size", "crop_scale")
    assert later("patch_byol") == ()
    assert set(later("byol")) <= set(settings_of("byol"))
    default = recipe()
    assert default.objective["crops"] == 0
    assert set(hashed_settings(default)["objective"]) == {"name", "hidden_dim", "projection_dim", "tau0"}
    written = recipe(objective={"crops": 0, "crop_scale": [0.05, 0.14]})
    assert prints(planned([written], [])) == prints(planned([default], []))
    used = recipe(objective={"crops": 4})
    assert hashed_settings(used)["objective"] == hashed_settings(default)["objective"] | {"crops": 4}
    assert prints(planned([used], [])) != prints(planned([default], []))


def test_every_later_setting_is_a_setting_of_its_objective() -> None:
    for name in objectives():
        assert set(later(name)) <= set(settings_of(name)), name


def test_another_definition_of_an_objective_trains_anew_and_the_first_is_in_no_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipes = [recipe("coco"), recipe("coco_4_1finetune_79_4p"), recipe("random_init")]
    definitions = {"byol": 1, "patch_byol": 1, "random_init": 1}
    monkeypatch.setattr(hashing, "definition_of", definitions.__getitem__)
    assert "class definition" not in hashed_settings(recipes[0])["objective"]
    first = planned(recipes, [task()])
    definitions["byol"] = 3
    third = planned(recipes, [task()])
    moved = {new.title for old, new in zip(first, third, strict=True) if old.fingerprint != new.fingerprint}
    assert moved == {stage.title for stage in first if "coco" in stage.title}  # with what continues it
    rows = [old.recipe_fingerprint == new.recipe_fingerprint for old, new in zip(first, third, strict=True)]
    assert rows == [stage.title not in moved for stage in first]


def test_a_stem_and_its_views_leave_earlier_fingerprints_as_they_were() -> None:
    written = recipe(stem="imagenet", augmentation="own", schedule={"warmup_steps": None})
    assert prints(planned([written], [task()])) == prints(planned([recipe()], [task()]))
    for extra in ({"stem": "cifar"}, {"augmentation": "small"}, {"schedule": {"warmup_steps": 3}}):
        changed = prints(planned([recipe(**extra)], [task()]))
        assert not set(changed.values()) & set(prints(planned([recipe()], [task()])).values())


def test_the_export_of_the_target_trains_nothing_anew_and_has_a_row_of_its_own() -> None:
    online, target = (planned([recipe(export=export)], [task()]) for export in ("online", "target"))
    assert prints(online) == prints(planned([recipe()], [task()]))  # as before there was a choice
    same = [a.fingerprint == b.fingerprint for a, b in zip(online, target, strict=True)]
    assert dict(zip((stage.kind for stage in online), same, strict=True)) == {
        "pretrain": True,
        "convert": False,
        "knn": False,
    }
    assert online[-1].recipe_fingerprint != target[-1].recipe_fingerprint


def test_a_conversion_of_the_copy_is_labelled_by_its_own_recipe_where_the_pretraining_is_anothers() -> None:
    both = [recipe("imagenet_moco").model_copy(update={"export": e, "name": e}) for e in ("online", "target")]
    labels = [(stage.kind, stage.label) for stage in planned(both, [])]
    assert labels == [("pretrain", "online-s0"), ("convert", "online-s0"), ("convert", "target-s0")]


def test_segmentation_behind_a_stem_that_mmseg_lacks_is_refused_when_planned() -> None:
    with pytest.raises(BadInput, match=r"cityscapes_pspnet takes trunks with the stem 'imagenet'.* coco has 'cifar'"):
        planned([recipe(stem="cifar")], [task("cityscapes_pspnet")])


def test_a_start_from_another_stem_is_refused_when_planned() -> None:
    child = recipe("coco_4_1finetune_79_4p", stem="stl", init={"epoch": 0})
    with pytest.raises(BadInput, match=r"has the stem 'stl' and starts from \w+, which has 'imagenet'"):
        planned([child], [])


def test_the_conversion_of_each_export_has_the_name_of_its_recipe() -> None:
    recipes = [recipe("imagenet_dino", export=export) for export in ("online", "target")]
    named = [one.model_copy(update={"name": f"dino[export={one.export}]"}) for one in recipes]
    stages = planned(named, [task()])
    assert [stage.label for stage in stages if stage.kind == "convert"] == [
        "dino[export=online]-s0",
        "dino[export=target]-s0",
    ]
    assert sum(stage.kind == "pretrain" for stage in stages) == 1
