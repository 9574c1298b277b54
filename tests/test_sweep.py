"""`--sweep`: one pretraining at several settings, in one command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.execute.grid import plan_grid
from bench.execute.inventory import resolved
from bench.execute.request import Request
from bench.execute.resolve import Resolved, combinations, resolve
from bench.plan import Planner


def planned(*sweep: str, pretrain: tuple[str, ...] = ("imagenet_simclr",), **more):
    return plan_grid(
        Request(pretrain, ["imagenet_knn"], profile="smoke", sweep=sweep, data_root=["/nowhere"], **more), act=False
    ).stages


def test_values_are_literals_or_words_and_the_first_key_varies_slowest() -> None:
    assert combinations([]) == [{}]
    assert combinations(["pretrain.objective.temperature=0.1,1", "epochs=1,2"]) == [
        {"objective.temperature": 0.1, "epochs": 1},
        {"objective.temperature": 0.1, "epochs": 2},
        {"objective.temperature": 1, "epochs": 1},
        {"objective.temperature": 1, "epochs": 2},
    ]
    assert combinations(["objective.loss=dcl,nt_xent"]) == [{"objective.loss": "dcl"}, {"objective.loss": "nt_xent"}]
    assert combinations(["objective.crop_scale=(0.1,0.2),(0.2,0.3)"]) == [
        {"objective.crop_scale": (0.1, 0.2)},
        {"objective.crop_scale": (0.2, 0.3)},
    ]


def test_each_cell_is_a_recipe_of_its_own_with_its_values_in_its_name() -> None:
    stages = planned("objective.temperature=0.07,0.3", "epochs=1,2")
    assert [stage.label for stage in stages if stage.kind == "pretrain"] == [
        "imagenet_simclr[temperature=0.07,epochs=1]-s0",
        "imagenet_simclr[temperature=0.07,epochs=2]-s0",
        "imagenet_simclr[temperature=0.3,epochs=1]-s0",
        "imagenet_simclr[temperature=0.3,epochs=2]-s0",
    ]
    assert [stage.recipe.objective["temperature"] for stage in stages if stage.is_task] == [0.07, 0.07, 0.3, 0.3]
    assert len({stage.fingerprint for stage in stages}) == len(stages) == 12
    assert stages[2].record_name.startswith("imagenet_simclr[temperature=0.07,epochs=1]__imagenet_knn__s0__")


def test_a_fingerprint_is_of_a_cells_settings_and_not_of_how_they_were_given() -> None:
    (swept, *_), (plain, *_) = planned("objective.temperature=0.1"), planned()
    assert swept.config.name != plain.config.name
    assert swept.fingerprint == plain.fingerprint  # 0.1 is the default
    (given, *_) = planned(assignments=["pretrain.objective.temperature=0.3"])
    assert given.fingerprint == planned("objective.temperature=0.3")[0].fingerprint != plain.fingerprint


def test_keys_that_end_alike_are_named_whole() -> None:
    (stage, *_) = planned("optimizer.name=sgd", "schedule.name=step")
    assert stage.config.name == "imagenet_simclr[optimizer.name=sgd,schedule.name=step]"


def test_a_parent_is_not_swept_but_set() -> None:
    child = "imagenet_4_1finetune_79_sys4_T5_lr"
    stages = planned(
        "optimizer.lr=0.1,0.2", pretrain=(child, "imagenet_0"), assignments=["pretrain.subset=6", "pretrain.epochs=1"]
    )
    parents = {stage.parents["init"].label for stage in stages if "init" in stage.parents}
    assert parents == {"imagenet_0-s0"}
    assert {stage.config.subset for stage in stages if stage.kind == "pretrain"} == {6}


def test_the_word_none_stays_where_a_setting_has_it() -> None:
    swept = resolve(Request(["imagenet_simclr"], [], sweep=["objective.projector=mlp,linear,none"])).recipes
    assert [recipe.objective["projector"] for recipe in swept] == ["mlp", "linear", "none"]
    assert [recipe.name.partition("[")[2] for recipe in swept] == [f"projector={x}]" for x in ("mlp", "linear", "none")]
    (alone,) = resolve(Request(["imagenet_simclr"], [], assignments=["objective.projector=none"])).recipes
    assert alone.objective == swept[2].objective
    (dsm,) = resolve(Request(["clips_dsm"], [], assignments=["objective.gate=none", "pretrain.subset=none"])).recipes
    assert (dsm.objective["gate"], dsm.subset) == ("none", None)


def test_a_parent_that_is_not_asked_for_does_not_get_the_schedule_of_its_child() -> None:
    stages = planned(
        pretrain=("imagenet_4_1finetune_79_sys4_T5_lr",), assignments=["pretrain.subset=6", "pretrain.batch_size=2"]
    )
    child, parent = (
        next(stage for stage in stages if stage.kind == "pretrain" and bool(stage.parents) == continues).config
        for continues in (True, False)
    )
    assert (child.subset, child.batch_size) == (6, 2)
    assert parent.name == "imagenet_0"
    assert parent.subset != 6
    assert parent.batch_size != 2


@pytest.mark.parametrize(
    ("sweep", "more", "message"),
    [
        (["objective.temperature"], {}, "--sweep takes key=value,value"),
        (["objective.temperature="], {}, "--sweep takes key=value,value"),
        (["epochs=1", "pretrain.epochs=2"], {}, "gives epochs twice"),
        (["epochs=1,1"], {}, "a value twice"),
        (["objective.loss=dcl,,nt_xent"], {}, "an empty value"),
        (["objectiv.temperature=0.1"], {}, "did you mean objective"),
        (["objective.temprature=0.1"], {}, "did you mean temperature"),
        (["downstream.k=1,2"], {}, "only pretrainings are swept"),
        (["k=1,2"], {}, "only pretrainings are swept"),
        (["init.checkpoint=a/b.pth"], {}, "cannot be part of a name"),
        (["epochs=1,2"], {"assignments": ["pretrain.epochs=3"]}, "given to --sweep and to --set"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused(sweep, more, message) -> None:
    with pytest.raises(BadInput, match=message):
        planned(*sweep, **more)


@pytest.mark.slow
def test_the_command_line_sweeps_and_names_each_cells_files(bench) -> None:
    words = ("--smoke", "--sweep", "objective.temperature=0.1,0.7", "epochs=1,2", "--downstream", "imagenet_knn")
    for command in (("plan",), ("run", "--dry-run")):
        plan = bench(*command, "--pretrain", "imagenet_simclr", *words)
        assert plan.returncode == 0, plan.stderr
        assert "12 stages: 12 to do" in plan.stdout
        assert "bench stage 'runs/convert/imagenet_simclr[temperature=0.7,epochs=2]-s0-" in plan.stdout


# Trunks and results of nearest neighbours as bf16 was the default, on data of a made-up fingerprint.
BEFORE_AUTO = {
    "random_init": ("4be90ae45119231e", "e15881e7251785f9"),
    "imagenet_dcl": ("a8b84d1e844abbda", "d054ff18f0b3c003"),
}


def test_a_bare_precision_reaches_controls_and_the_search_of_neighbours_as_it_was_before_auto(tmp_path: Path) -> None:
    def configs(*assignments: str) -> Resolved:
        return resolve(Request(list(BEFORE_AUTO), ["imagenet_knn", "cifar10_knn"], assignments=assignments))

    found = configs("precision=bf16")
    planner = Planner(lambda name: f"data of {name}", found.by_name)
    for recipe in found.recipes:
        recipe = recipe.model_copy(update={"zero_init_residual": False})  # as it was then
        trunk = planner.convert(recipe, 0)
        knn = planner.task(found.tasks[0], recipe, trunk, 0)
        assert (trunk.fingerprint[:16], knn.fingerprint[:16]) == BEFORE_AUTO[recipe.name]
    assert [task.search for task in found.tasks] == ["bf16", "float32"]  # the second is so in its config
    for assignments in (["precision=bf16", "search=auto"], ["downstream.precision=bf16"]):
        assert configs(*assignments).tasks[0].search == "auto"
    assert resolved("imagenet_knn", "full", ["precision=float32"])[1]["search"] == "float32"


def test_a_bare_precision_needs_no_task_that_has_one(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        "from bench.config.tasks import TrunkTask\n\nclass Plain(TrunkTask):\n    pass\n\ndef run(job): ...\n",
        encoding="utf-8",
    )
    config = tmp_path / "plain_config.py"
    config.write_text('kind = "plain.py:Plain"\ndataset = "imagenet"\n', encoding="utf-8")
    for tasks in ([], [str(config)], [str(config), "imagenet_linear"]):
        found = resolve(Request(["coco_two_loss"], tasks, assignments=["precision=bf16"]))
        assert [recipe.precision for recipe in found.recipes] == ["bf16"]
        assert [getattr(task, "precision", None) for task in found.tasks] == [None, "bf16"][: len(tasks)]
    with pytest.raises(BadInput, match="No downstream config of this run has the key 'precision'"):
        resolve(Request(["coco_two_loss"], [str(config)], assignments=["downstream.precision=bf16"]))


def test_a_control_that_trains_nothing_takes_the_network_of_the_others_and_not_their_schedule(tmp_path):
    request = Request(
        ["random_init", "imagenet_simclr"],
        ["imagenet_knn"],
        profile="mini",
        assignments=["pretrain.epochs=3", "pretrain.arch=resnet18"],
        work_dir=tmp_path / "work",
        results_dir=tmp_path / "results",
    )
    grid = plan_grid(request, act=False)
    recipes = {stage.recipe.name: stage.recipe for stage in grid.stages}
    assert (recipes["random_init"].epochs, recipes["random_init"].arch) == (0, "resnet18")
    assert (recipes["imagenet_simclr"].epochs, recipes["imagenet_simclr"].arch) == (3, "resnet18")
    with pytest.raises(BadInput, match="dataset 'none' and epochs 0 go together"):
        plan_grid(replace(request, pretrain=["random_init"]), act=False)
