"""What a request means, and what is refused of it, before anything runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.cli import run
from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.config.tasks import SegmentationTask
from bench.errors import BadInput
from bench.execute.grid import Grid, plan_grid
from bench.execute.inventory import resolved
from bench.execute.request import Request
from bench.execute.resolve import resolve
from bench.execute.stage_file import Done, write_done, write_stage


def grid(tmp_path: Path, *pretrain: str, act: bool = False, **more: Any) -> Grid:
    more = {"work_dir": tmp_path / "work", "results_dir": tmp_path / "results"} | more
    return plan_grid(Request(pretrain, **more), act=act)


# ------------------------------------------------------------------------------------ annotated objects


@pytest.mark.slow
def test_objects_without_annotations_are_refused_when_planned(tmp_path: Path, rendered: Path) -> None:
    wanted: dict[str, Any] = {"profile": "smoke", "assignments": ["objective.masks=objects"]}
    shutil.copytree(rendered / "coco", tmp_path / "coco")
    root = [f"coco={tmp_path / 'coco'}"]
    assert not grid(tmp_path, "coco_detcon", act=True, data_root=root, **wanted).problems
    shutil.rmtree(tmp_path / "coco" / "annotations")
    with pytest.raises(BadInput, match=r"instances_train2017\.json is missing; unpack COCO's annotations_trainval2017"):
        grid(tmp_path, "coco_detcon", act=True, data_root=root, **wanted)
    lines = grid(tmp_path, "coco_detcon", data_root=root, **wanted).lines(1)
    assert lines[-1].startswith("missing: ")
    assert "annotations_trainval2017.zip" in lines[-1]
    assert not any("coco (missing)" in line for line in lines)  # the images are there
    assert not grid(tmp_path, "coco_detcon", act=True, data_root=root, profile="smoke").problems
    other = {**wanted, "assignments": [*wanted["assignments"], "pretrain.dataset=imagenet"]}
    problem = str(grid(tmp_path, "coco_detcon", **other).problems["objects"])
    assert "need COCO's annotations, which imagenet has not; take the data set coco, or segments" in problem


# --------------------------------------------------------------------------- a recipe that another starts from

CHILD = "coco_4_1finetune_79_4p"


def trained(grid: Grid) -> dict[str, Recipe]:
    """The pretrainings of a grid by name."""
    return {stage.recipe.name: stage.recipe for stage in grid.stages if stage.kind == "pretrain"}


def test_the_network_of_a_set_value_reaches_the_parent_and_nothing_else_does(tmp_path: Path) -> None:
    words = ["arch=resnet18", "pretrain.batch_size=8", "pretrain.epochs=3", "checkpoint.every_steps=5"]
    recipes = trained(grid(tmp_path, CHILD, profile="mini", assignments=words))
    assert list(recipes) == ["coco", CHILD]
    parent, child = recipes.values()
    assert (parent.arch, parent.epochs, parent.batch_size) == ("resnet18", 20, 16)
    assert (child.arch, child.epochs, child.batch_size) == ("resnet18", 3, 8)
    assert parent.checkpoint.every_steps == 5


def test_what_does_not_reach_the_parent_is_said_in_a_line(tmp_path: Path) -> None:
    """Or a parent in another precision than a run of its own would be trained a second time without a word."""

    def notes(*pretrain: str, words: list[str]) -> list[str]:
        return [note for note in grid(tmp_path, *pretrain, profile="mini", assignments=words).notes if "--set" in note]

    words = ["arch=resnet18", "workers=1", "precision=float32", "pretrain.optimizer.lr=0.25", "objective.patches=2"]
    assert notes(CHILD, words=words) == [
        f"coco, from which {CHILD} starts, does not get precision, optimizer.lr of --set; where it should, give "
        "parent.precision=float32 parent.optimizer.lr=0.25, too."
    ]
    assert notes(CHILD, words=[*words, "parent.precision=float32", "parent.optimizer.lr=0.25"]) == []
    assert len(notes(CHILD, words=[*words, "parent.precision=float32", "parent.epochs=25"])) == 1  # of the rate
    assert notes(CHILD, "coco", words=words[:-1]) == []  # it gets them itself
    assert notes("coco", words=words[:-1]) == []
    # As the line says it, the parent is that of a run of its own.
    one, *_ = grid(
        tmp_path, CHILD, profile="mini", assignments=["precision=float32", "parent.precision=float32"]
    ).stages
    own, *_ = grid(tmp_path, "coco", profile="mini", assignments=["precision=float32"]).stages
    other, *_ = grid(tmp_path, CHILD, profile="mini", assignments=["precision=float32"]).stages
    assert one.fingerprint == own.fingerprint != other.fingerprint


def test_a_swept_network_has_a_parent_each(tmp_path: Path) -> None:
    sweep = ["arch=resnet18,resnet50", "objective.patches=2,4"]
    found = grid(tmp_path, CHILD, profile="mini", sweep=sweep, seeds=(0, 1))
    parents = {stage.recipe.arch: stage.parents["init"] for stage in found.stages if "init" in stage.parents}
    assert {arch: stage.recipe.arch for arch, stage in parents.items()} == {
        "resnet18": "resnet18",
        "resnet50": "resnet50",
    }
    assert {stage.recipe.name for stage in parents.values()} == {"coco[arch=resnet18]", "coco[arch=resnet50]"}
    # One that is asked for as well is the same stage.
    both = grid(tmp_path, CHILD, "coco", profile="mini", sweep=sweep[:1])
    assert len([stage for stage in both.stages if stage.kind == "pretrain"]) == 4


def test_parent_keys_are_laid_over_the_parent(tmp_path: Path) -> None:
    words = ["parent.epochs=5", "parent.optimizer.lr=0.1", "pretrain.init.epoch=4"]
    found = grid(tmp_path, CHILD, profile="mini", assignments=words)
    parent, child = trained(found).values()
    assert parent.optimizer is not None
    assert (parent.name, parent.epochs, parent.optimizer.lr) == ("coco[epochs=5,lr=0.1]", 5, 0.1)
    assert child.init is not None
    assert child.init.settings == {"epochs": 5, "optimizer": {"lr": 0.1}}  # so that a record says it
    assert child.epochs == 5
    plain = grid(tmp_path, CHILD, profile="mini").stages
    assert found.stages[0].fingerprint != plain[0].fingerprint
    assert found.stages[1].fingerprint != plain[2].fingerprint
    shown = resolved(CHILD, "mini", words)[1]["init"]
    assert (shown["epoch"], shown["settings"]) == (4, child.init.settings)
    # A config says it with `init.settings`, and both sides of a grid can be there.
    file = tmp_path / "mine.py"
    settings = "init=dict(epoch=4, settings=dict(epochs=5, optimizer=dict(lr=0.1)))"
    file.write_text(f"_base_ = {load_recipe(CHILD).source!r}\nprofiles=dict(mini=dict({settings}))\n")
    written = grid(tmp_path, str(file), "coco", profile="mini")
    assert list(trained(written)) == ["coco[epochs=5,lr=0.1]", "mine", "coco"]
    assert written.stages[0].fingerprint == found.stages[0].fingerprint


@pytest.mark.parametrize(
    ("pretrain", "words", "message"),
    [
        (
            ["coco"],
            ["parent.epochs=3"],
            r"--set parent\.epochs is for the recipe that a pretraining starts from, and n",
        ),
        (
            [CHILD],
            ["parent.epoch=3"],
            r"Unknown key 'epoch' in init\.settings \(--set parent\.KEY\) for coco; did you m",
        ),
        (
            [CHILD],
            ["parent.epochs=3"],
            r"starts from epoch 19 of coco\[epochs=3\], which .* ends with epoch 2; set init",
        ),
        ([CHILD], ["parent.arch=resnet18"], r"has the arch 'resnet50' and starts from coco.*, which has 'resnet18'"),
        ([CHILD], ["parent.init.checkpoint=a/b"], "cannot be part of a name"),
    ],
)
def test_a_parent_key_that_cannot_be_meant_is_refused(
    tmp_path: Path, pretrain: list[str], words: list[str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        grid(tmp_path, *pretrain, profile="mini", assignments=words)


def test_a_parent_keeps_the_epoch_that_its_child_starts_from(tmp_path: Path) -> None:
    words = ["pretrain.init.epoch=7"]
    found = grid(tmp_path, CHILD, profile="mini", assignments=words)
    parent, child = trained(found).values()
    assert parent.checkpoint.keep_epochs == (7,)
    assert [epoch for epoch in range(20) if parent.checkpoint.keeps(epoch, 20)] == [7, 19]
    assert found.stages[0].fingerprint == grid(tmp_path, "coco", profile="mini").stages[0].fingerprint
    asked_for = trained(grid(tmp_path, "coco", CHILD, profile="mini", assignments=["checkpoint.background=False"]))
    assert asked_for["coco"].checkpoint.keep_epochs == ()  # the last is kept anyway
    # It is trained already, without that checkpoint.
    stage = found.stages[0]
    folder = write_stage(stage, tmp_path / "work", {}, tmp_path / "results", "fail")
    (folder / "last.ckpt").touch()
    write_done(
        folder, Done(fingerprint=stage.fingerprint, wall_seconds=1.0, peak_memory_mib={}, finished="", metrics={})
    )
    with pytest.raises(
        BadInput, match=r"starts from epoch 7 of coco, which is trained and kept no .*; remove .*coco-s0"
    ):
        grid(tmp_path, CHILD, profile="mini", assignments=words)
    (folder / "epoch_0007.ckpt").touch()
    assert grid(tmp_path, CHILD, profile="mini", assignments=words).states[stage.fingerprint] == "done"
    assert child.init is not None


# ------------------------------------------------------------------------------------------- who is blamed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"assignments": ["arch=resnet51"]}, "Key 'arch' in --set for coco is 'resnet51', but should be 'resnet18'"),
        ({"assignments": ["pretrain.schedule.warmup_epoch=3"]}, "Unknown key 'schedule.warmup_epoch' in --set for"),
        ({"assignments": ["objective.tau0=2"]}, "objective.tau0 in --set for coco is 2; set it"),
        ({"assignments": ["objective.name=byoll"]}, "Unknown objective 'byoll' in --set for coco; did you mean byol?"),
        ({"assignments": ["objective.name=3"]}, "Unknown objective 3 in --set for coco; known: byol,"),
        ({"assignments": ["accumulate=3"]}, "coco, with the values of --set: batch_size 4 must be a multiple of accum"),
        ({"assignments": ["pretrain.dataset=nonsense"]}, "Key 'dataset' in --set for coco is 'nonsense', but"),
        ({"sweep": ["objective.tau=0.5,0.7"]}, "Unknown key 'objective.tau' in --sweep for coco; did you mean tau0?"),
        ({"sweep": ["pretrain.view_size=8"]}, "Key 'view_size' in --sweep for coco is 8, but should be greater than"),
        ({"assignments": ["k=many"], "downstream": ["imagenet_knn"]}, "Key 'k' in --set for imagenet_knn is 'many', "),
    ],
)
def test_a_wrong_value_of_the_command_line_is_not_the_files_fault(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        grid(tmp_path, "coco", profile="smoke", **more)
    assert ".py" not in str(caught.value)
    assert str(caught.value).startswith(message)


def test_the_file_is_blamed_for_what_is_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('dataset="coco"\nobjective=dict(name="byol", tau0=3)\nepochs=1\noptimizer=dict(lr=1)\n')
    with pytest.raises(BadInput, match=r"objective\.tau0 in .*/mine\.py is 3; set it"):
        grid(tmp_path, str(file), assignments=["pretrain.view_size=64"])
    file.write_text('dataset="coco"\nobjective=dict(name="byol")\nepochs=1\nbatch_size=4\naccumulate=3\n')
    with pytest.raises(BadInput, match=r"/mine\.py: batch_size 4 must be a multiple of accumulate 3"):
        grid(tmp_path, str(file), assignments=["pretrain.view_size=64"])


def test_only_similar_names_are_suggested() -> None:
    from bench.errors import nearest

    known = ["coco_densecl", "cifar10_byol_loss1", "imagenet_simclr", "epochs"]
    assert nearest("nonsense", known) == ""
    assert nearest("coco_densecll", known) == "; did you mean coco_densecl?"
    assert nearest("byol", known) == "; did you mean cifar10_byol_loss1?"  # a whole part of it
    assert nearest("simclr", known) == "; did you mean imagenet_simclr?"
    assert nearest("", known) == ""


# ------------------------------------------------------------------------------------- sweeps and controls


def test_a_control_that_trains_nothing_is_left_out_of_a_sweep(tmp_path: Path) -> None:
    names = ["imagenet_simclr", "random_init"]
    found = trained(grid(tmp_path, *names, profile="smoke", sweep=["objective.temperature=0.07,0.1"]))
    assert list(found) == ["imagenet_simclr[temperature=0.07]", "imagenet_simclr[temperature=0.1]", "random_init"]
    # It needs the network of what it is the control of.
    found = trained(grid(tmp_path, *names, profile="smoke", sweep=["arch=resnet18,resnet50", "pretrain.epochs=1,2"]))
    assert [name for name in found if name.startswith("random")] == [
        "random_init[arch=resnet18]",
        "random_init[arch=resnet50]",
    ]


def test_a_control_that_measures_its_norms_is_given_the_images_of_the_grid(tmp_path: Path) -> None:
    names = ["cifar10_byol_loss1", "random_init", "random_init_norms"]
    settings = ["pretrain.dataset=cifar10", "pretrain.view_size=40", "pretrain.batch_size=4", "pretrain.stem=stl"]
    _, control, norms = resolve(Request(names, profile="smoke", assignments=settings)).recipes
    assert (control.dataset, control.view_size, control.stem, control.batch_size) == ("none", 224, "stl", 256)
    assert (norms.dataset, norms.view_size, norms.stem, norms.batch_size) == ("cifar10", 40, "stl", 256)


def test_a_sweep_of_what_a_trained_recipe_has_not_is_refused(tmp_path: Path) -> None:
    sweep = ["objective.temperature=0.07,0.1"]
    with pytest.raises(BadInput, match=r"Unknown key 'objective\.temperature' in --sweep for coco; known: hidden_dim"):
        grid(tmp_path, "imagenet_simclr", "random_init", "coco", profile="smoke", sweep=sweep)
    with pytest.raises(BadInput, match=r"Unknown key 'objective\.temperature' in --sweep for random_init"):
        grid(tmp_path, "random_init", profile="smoke", sweep=sweep)


# ---------------------------------------------------------------------------------------- smaller schedules


def test_a_profile_shrinks_an_mmseg_config_as_it_does_ours(tmp_path: Path) -> None:
    name = "fcn_r50-d8_4xb2-40k_cityscapes-512x1024"
    for profile in ("mini", "smoke"):
        found = grid(tmp_path, "random_init", downstream=[name, "cityscapes_pspnet"], profile=profile)
        theirs, ours = (stage.config for stage in found.stages if isinstance(stage.config, SegmentationTask))
        for key in ("iterations", "batch_size", "crop", "scale", "validate_every", "channels_last"):
            assert getattr(theirs, key) == getattr(ours, key) is not None, (profile, key)
    assert load_task(name).model_dump(exclude_defaults=True).keys() <= {
        *("name", "summary", "source", "profile", "kind", "config"),
    }
    assert load_task(name, "mini", {"iterations": 7}).model_dump()["iterations"] == 7


# ------------------------------------------------------------------------------------------- rendered scenes


def test_a_smoke_plan_does_not_miss_what_the_run_renders(
    tmp_path: Path, rendered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {"smoke": True, "downstream": ["cityscapes_pspnet", "cifar10_knn"]}
    lines = grid(tmp_path, "coco", "clips_dsm", **asked).lines(1)
    assert not [line for line in lines if "missing" in line]
    assert len([line for line in lines if line.endswith("data: coco (rendered when it starts)")]) == 1
    assert lines[-1].startswith("note: a smoke run renders its scenes when it starts")
    assert not list(tmp_path.iterdir())  # nothing was rendered
    # What it does not render is missing, and so is what was to be in a folder that was given.
    other = "pspnet_r50-d8_4xb4-80k_ade20k-512x512"
    assert "ade20k (missing)" in "\n".join(grid(tmp_path, "coco", smoke=True, downstream=[other]).lines(1))
    assert "coco (missing)" in "\n".join(grid(tmp_path, "coco", smoke=True, data_root=[str(tmp_path)]).lines(1))
    # Once they are there, nothing is said.
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "rendered").symlink_to(rendered)
    assert not grid(tmp_path, "coco", smoke=True).notes


# ----------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("words", [["--seeds", "0-2", "5"], ["--seeds=0-2", "--seeds=5"], ["--seeds", "0", "1-2", "5"]])
def test_ranges_of_seeds(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Request] = []

    def plan(request: Request, *, act: bool, gpus: int) -> Grid:
        asked.append(request)
        return Grid([], {}, {}, {}, request.work_dir, request.results)

    monkeypatch.setattr("bench.execute.grid.plan_grid", plan)
    assert run(["plan", "--pretrain", "coco", *words, "--set", "a=0-2"]) == 0
    assert (asked[0].seeds, asked[0].assignments) == ([0, 1, 2, 5], ["a=0-2"])
    assert asked[0].task_seeds == []
    of_tasks = [word.replace("--seeds", "--task-seeds") for word in words]
    assert run(["plan", "--pretrain", "coco", *of_tasks]) == 0
    assert (asked[1].seeds, asked[1].task_seeds) == ([0], [0, 1, 2, 5])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("0,1", "--seeds takes whole numbers, or ranges of them, not '0,1'; write --seeds 0 1 2, or 0-2."),
        ("two", "--seeds takes whole numbers, or ranges of them, not 'two'; write --seeds 0 1 2, or 0-2."),
        ("3-1", "--seeds 3-1 is no range of at most 1000 seeds; correct it."),
        ("-1", "A seed must be 0 or more; correct --seeds."),
    ],
)
def test_other_seeds_are_refused_in_one_sentence(
    word: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["plan", "--pretrain", "coco", f"--seeds={word}"]) == 2
    assert capsys.readouterr().err == f"bench: {message}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["0,1"], "--task-seeds takes whole numbers, or ranges of them, not '0,1'; write --task-seeds 0 1 2, or 0-2."),
        (["3-1"], "--task-seeds 3-1 is no range of at most 1000 seeds; correct it."),
        (["-1", "--downstream", "imagenet_knn"], "A seed must be 0 or more; correct --task-seeds."),
        (["1"], "--task-seeds are those of downstream tasks; give --downstream with it, or leave it out."),
    ],
)
def test_other_seeds_of_tasks_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    word, *more = words
    assert run(["plan", "--pretrain", "coco", f"--task-seeds={word}", *more, "--work-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"bench: {message}\n"


def test_a_plan_says_once_that_a_seed_decides_nothing(tmp_path: Path) -> None:
    tasks = ["imagenet_knn", "imagenet_linear"]
    found = grid(tmp_path, "coco", downstream=tasks, profile="smoke", seeds=(0, 1), task_seeds=(0, 4, 4))
    labels = [f"{stage.label}" for stage in found.stages if stage.is_task]
    ends = ("knn-s0", "linear-s0", "linear-s0-t4", "knn-s1", "linear-s1-t0", "linear-s1-t4")
    assert labels == [f"coco--imagenet_{end}" for end in ends]
    assert len([line for line in found.lines(1) if "the seed of imagenet_knn decides nothing" in line]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "foo"], "Invalid value for '--profile': 'foo' is not one of 'full', 'mini', 'smoke'"),
        (["--gpus", "0"], "Invalid value for '--gpus': it should be greater than or equal to 1"),
        (["--unreadable", "foo"], "Invalid value for '--unreadable': 'foo' is not one of 'fail', 'skip'"),
    ],
)
def test_wrong_options_are_said_in_plain_words(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "--pretrain", "coco", *words]) == 2
    assert capsys.readouterr().err == f"bench: {message}; bench COMMAND --help shows what there is.\n"


# --------------------------------------------------------------------------------------------- own configs


def config(folder: Path, name: str, text: str) -> Path:
    """Write a config and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder / f"{name}.py"


def test_a_config_inherits_a_shipped_one_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    config(tmp_path / "parts", "quiet", "log_every = 3\n")
    file = config(tmp_path / "mine", "both", '_base_ = ["coco_two_loss", "../parts/quiet.py"]\nbatch_size = 64\n')
    recipe, shipped = load_recipe(str(file)), load_recipe("coco_two_loss")
    assert (recipe.log_every, recipe.batch_size, recipe.objective) == (3, 64, shipped.objective)
    assert load_recipe(str(file), "mini").batch_size == load_recipe("coco_two_loss", "mini").batch_size == 16
    # One's own are found, too, and one of the same name continues the shipped one.
    config(tmp_path / "pretrain_configs", "coco", '_base_ = "coco"\nepochs = 7\n')
    assert load_recipe("coco").epochs == 7
    assert load_recipe("coco").objective["name"] == "byol"
    config(tmp_path / "pretrain_configs", "again", '_base_ = "coco"\nbatch_size = 32\n')
    assert (load_recipe("again").epochs, load_recipe("again").batch_size) == (7, 32)
    knn = config(tmp_path, "knn", '_base_ = "imagenet_knn"\nk = 3\n')
    assert load_task(str(knn)).model_dump()["k"] == 3
    mmseg = config(tmp_path, "pspnet", '_base_ = "pspnet_r50-d8_4xb2-80k_cityscapes-512x1024"\n')
    task = load_task(str(mmseg))
    assert isinstance(task, SegmentationTask)
    assert task.file_contents()["config"]["train_cfg"]["max_iters"] == 80_000
    wrong = config(tmp_path, "wrong", '_base_ = "coco_two_los"\n')
    with pytest.raises(
        BadInput, match=r"wrong\.py: _base_ names 'coco_two_los', which is no config; did you mean coco_two_loss"
    ):
        load_recipe(str(wrong))


def test_a_parent_may_be_a_file_beside_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = config(tmp_path / "mine", "first", '_base_ = "coco"\nepochs = 2\n')
    child = config(tmp_path / "mine", "second", '_base_ = "coco"\ninit = dict(recipe="first.py", epoch=1)\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = grid(tmp_path, str(child))
    assert list(trained(found)) == ["first", "second"]
    assert found.stages[1].recipe.init == load_recipe(str(child)).init
    assert "first.py" in str(load_recipe(str(child)).init)  # as it is said, without the path of this machine
    assert str(tmp_path) not in str(load_recipe(str(child)).init)
    # From the working directory, as before.
    config(elsewhere, "third", '_base_ = "coco"\nepochs = 3\n')
    words = ["pretrain.init.recipe=third.py"]
    assert list(trained(grid(tmp_path, str(child), assignments=words))) == ["third", "second"]
    parent.unlink()
    with pytest.raises(BadInput, match=r"No pretraining config 'first\.py'"):
        grid(tmp_path, str(child))


def test_the_config_that_the_page_shows_does_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "writing_a_config.md").read_text(encoding="utf-8")
    _, found, after = page.partition("    # pretrain_configs/longer.py\n")
    lines = [line[4:] for line in after.partition("\n\n")[0].splitlines()]
    assert found
    monkeypatch.chdir(tmp_path)
    config(tmp_path / "pretrain_configs", "longer", "\n".join(lines))
    full, mini, shipped = load_recipe("longer"), load_recipe("longer", "mini"), load_recipe("coco_two_loss", "mini")
    assert (full.epochs, full.objective["name"], full.objective["loss2_weight"]) == (160, "two_loss", 0.5)
    assert (mini.epochs, mini.batch_size, mini.subset) == (2, shipped.batch_size, shipped.subset)
