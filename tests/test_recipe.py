"""The config dialect, as it is read: names, keys, types, profiles, overlays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from bench.config.assignments import parse_assignments
from bench.config.config_files import config_files, mmseg_configs
from bench.config.load import load_recipe, load_task, load_tasks, nest, overlay, route
from bench.config.tasks import KnnTask, LinearTask, SegmentationTask
from bench.errors import BadInput

DECK_ROWS = [
    "coco",
    "coco_two_loss",
    "coco_4_1finetune_79_4p",
    "coco_4_1finetune_79_8new",
    "imagenet_0",
    "imagenet_1",
    "imagenet_4_1finetune_79_sys4_T5_lr",
]
CONTROLS = ["random_init", "imagenet_supervised"]
PROFILES = ["full", "mini", "smoke"]


def write(folder: Path, text: str, name: str = "mine") -> str:
    file = folder / f"{name}.py"
    file.write_text('"""Mine."""\n' + text, encoding="utf-8")
    return str(file)


GOOD = 'dataset="coco"\nobjective=dict(name="byol")\nepochs=1\noptimizer=dict(name="sgd", lr=0.1)\n'


@pytest.mark.parametrize("name", [*DECK_ROWS, *CONTROLS])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_shipped_pretraining_loads_under_every_profile(name: str, profile: str) -> None:
    recipe = load_recipe(name, profile)
    assert recipe.name == name
    assert recipe.arch == "resnet50"
    assert recipe.summary


@pytest.mark.parametrize("name", [*DECK_ROWS, *CONTROLS])
def test_every_shipped_pretraining_opens_with_what_a_reader_needs(name: str) -> None:
    text = config_files("pretrain_configs")[name].read_text(encoding="utf-8")
    for part in ("Source:", "Command:", "Hours:", "Expected:", "Smoke:"):
        assert part in text, part
    assert ("Reading:" in text) == (name in DECK_ROWS)


def test_every_shipped_downstream_config_loads_under_every_profile() -> None:
    names = config_files("downstream_configs")
    assert {"cityscapes_pspnet", "imagenet_linear", "imagenet100_linear", "imagenet_knn"} <= set(names)
    for name in names:
        for profile in PROFILES:
            assert load_task(name, profile).name == name


def test_the_decks_recipes_have_its_settings() -> None:
    assert load_recipe("coco").objective["name"] == "byol"
    assert load_recipe("coco").epochs == 80  # so that the successors' epoch 79 is its last
    assert load_recipe("coco_two_loss").objective["loss2"] == "logistic"
    four, eight = load_recipe("coco_4_1finetune_79_4p"), load_recipe("coco_4_1finetune_79_8new")
    assert (four.objective["patches"], eight.objective["patches"]) == (4, 8)
    assert four.init is not None
    assert (four.init.recipe, four.init.epoch) == ("coco", 79)
    gated, base = load_recipe("imagenet_4_1finetune_79_sys4_T5_lr"), load_recipe("imagenet_0")
    assert gated.objective["gate_temperature"] == 5.0
    assert gated.objective["symmetric"] is True
    assert gated.optimizer is not None
    assert base.optimizer is not None
    assert gated.optimizer.lr < base.optimizer.lr
    assert gated.optimizer.name == base.optimizer.name == "lars"  # inherited, not lost, by the overlay
    assert base.dataset == "imagenet100"
    assert load_recipe("imagenet_0", "full", {"dataset": "imagenet"}).dataset == "imagenet"


def test_the_last_norms_start_at_0_where_the_authors_have_it() -> None:
    """In main_moco.py:186 of moco-v3, main.py:191 of barlowtwins, main_vicreg.py:189-190, main_vicregl.py:269-270,
    simsiam/builder.py:24, resnet.py:395 and 480 of simclr, directclr/main.py:150, contrast/resnet.py:160-169 of PixPro,
    the blocks of dm-haiku (haiku/_src/nets/resnet.py:104), of which BYOL's and DetCon's networks are made, and Goyal et
    al. (2017). Not in the code of MoCo, SwAV, DINO, DenseCL, CLSA, CMC, instance discrimination and ORL.
    """
    zeroed = {name for name in config_files("pretrain_configs") if load_recipe(name).zero_init_residual}
    byol = {"imagenet_0", "imagenet_1", "imagenet_4_1finetune_79_sys4_T5_lr", "imagenet_byol", "imagenet_byol_300"}
    assert zeroed == byol | {
        *("imagenet_moco_v3", "imagenet_barlow_twins", "imagenet_vicreg", "imagenet_vicregl", "imagenet_simsiam"),
        *("imagenet_simclr", "imagenet_direct_clr", "imagenet_pixpro", "imagenet_detcon", "coco_detcon"),
        *("imagenet_simclr_1000", "imagenet_supervised"),
    }
    for name in zeroed:
        assert load_recipe(name, "smoke").zero_init_residual, name


KEEP_A_COPY = {
    *("byol", "two_loss", "patch_byol", "moco", "moco_v2", "moco_v3", "clsa", "densecl", "cast", "dino", "detcon"),
    "pixpro",
}


def test_a_copy_that_an_objective_does_not_keep_is_refused_when_the_recipe_is_read(tmp_path: Path) -> None:
    kept, refused = set(), {}
    for name in config_files("pretrain_configs"):
        if load_recipe(name).norm_statistics == "data":
            continue  # refused for that
        objective = load_recipe(name).objective["name"]
        try:
            assert load_recipe(name, "full", {"export": "target"}).export == "target"
            kept.add(objective)
        except BadInput as error:
            refused[objective] = str(error)
    assert kept == KEEP_A_COPY
    assert {"simclr", "swav", "amdim", "supervised", "random_init"} <= refused.keys()
    for objective, message in refused.items():
        assert f"has export='target', but its objective {objective} keeps no copy of the encoder; set 'on" in message
        assert re.search(r"; set 'online', or take one of .*byol.*\.$", message)
    (tmp_path / "outside.py").write_text(
        "class Mine:\n    def __init__(self, encoder):\n        pass\n", encoding="utf-8"
    )
    config = write(tmp_path, GOOD.replace("byol", "outside.py:Mine") + 'export="target"\n')
    assert load_recipe(config).export == "target"  # what it keeps is seen when it is built


@pytest.mark.parametrize("name", ["imagenet_pirl", "coco_cast", "coco_detcon", "clips_dsm", "clips_taco"])
def test_a_back_end_that_cannot_make_the_views_is_refused(name: str) -> None:
    assert load_recipe(name, "smoke", {"view_backend": "fast"}).view_backend == "fast"
    for backend in ("device", "resident"):
        with pytest.raises(BadInput, match=rf"{name} has view_backend='{backend}'.*set it to 'reference' or 'fast'\."):
            load_recipe(name, "smoke", {"view_backend": backend})


def test_a_file_in_the_working_directory_wins_over_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("coco").epochs == 80
    (tmp_path / "pretrain_configs").mkdir()
    write(tmp_path / "pretrain_configs", GOOD.replace("epochs=1", "epochs=7"), "coco")
    assert load_recipe("coco").epochs == 7


def test_a_config_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[str] = []
    fromfile = Config.fromfile
    monkeypatch.setattr(Config, "fromfile", lambda file, **more: files.append(file) or fromfile(file, **more))
    name = write(tmp_path, GOOD)
    load_recipe(name)
    load_recipe(name, "full", {"epochs": 3})
    assert files == [name]
    assert load_recipe(name).epochs == 1  # what was laid over it is not in what was read
    file = Path(write(tmp_path, GOOD.replace("epochs=1", "epochs=7")))
    os.utime(file, ns=(0, 0))
    assert load_recipe(name).epochs == 7
    assert len(files) == 2


def test_a_path_works_as_a_name(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, GOOD)).name == "mine"


def test_unknown_config_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"No pretraining config 'coco_two_los'; did you mean coco_two_loss"):
        load_recipe("coco_two_los")
    with pytest.raises(BadInput, match=r"No downstream config 'cityscape_pspnet'; did you mean cityscapes_pspnet"):
        load_task("cityscape_pspnet")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("epoch=3\n", r"Unknown key 'epoch' in .*mine\.py; did you mean epochs"),
        ("schedule=dict(warmup_epoch=3)\n", r"Unknown key 'schedule\.warmup_epoch' in .*; did you mean warmup_epochs"),
        ("batch_size='many'\n", r"Key 'batch_size' in .*mine\.py is 'many', but should be a valid integer"),
        ("batch_size=-1\n", r"Key 'batch_size' in .* is -1, but should be greater than 0"),
        ("arch='resnet51'\n", r"Key 'arch' in .* is 'resnet51', but should be 'resnet18' or 'resnet50', or one"),
        ("arch='resnet18w64'\n", r"Key 'arch' in .* is 'resnet18w64', but should be 'resnet18' or"),
        (
            "arch='resnet18w12'\n",
            r"Key 'arch' in .* is 'resnet18w12', but should be .* a multiple of 8 from 8 to 256, such as",
        ),
        ("batch_size=10\naccumulate=3\n", r"batch_size 10 must be a multiple of accumulate 3"),
        ("optimizer=None\n", r"a recipe that trains needs an optimizer"),
        ("init=dict(recipe='coco')\n", r"init\.recipe needs init\.epoch"),
        ("init=dict(recipe='coco', epoch=1, checkpoint='x')\n", r"either recipe .* or checkpoint, not both"),
        ("objective=dict(name='byoll')\n", r"Unknown objective 'byoll' in .*; did you mean byol"),
        ("objective=dict(name='two_loss', los2='logistic')\n", r"Unknown key 'objective\.los2' .*; did you mean loss2"),
        ("objective=dict(name='two_loss', loss2=3)\n", r"Unknown objective\.loss2 3 in .*; known: logistic, "),
        ("batch_size=True\n", r"Key 'batch_size' in .* is True, but should be a number\.$"),
        (
            "optimizer=dict(name='sgd', lr=float('inf'))\n",
            r"Key 'optimizer\.lr' in .* is inf, but should be a finite number",
        ),
        ("optimizer=dict(lr=0.1, weight_decay=float('nan'))\n", r"Key 'optimizer\.weight_decay' .* be a finite number"),
        ("optimizer=dict(lr=0.1, clip_norm=1.0, clip_each=3.0)\n", r"both clip_norm and clip_each; set one of them"),
        (
            "optimizer=dict(lr=0.1, betas=(-1, 0.9))\n",
            r"Key 'optimizer\.betas\.0' in .* is -1, but should be greater than",
        ),
        (
            "optimizer=dict(lr=0.1, betas=(0, 0, 0))\n",
            r"is \(0, 0, 0\), but tuple should have at most 2 items, not 3\.$",
        ),
        (
            "objective=dict(name='byol', tau0=float('inf'))\n",
            r"objective\.tau0 in .* is inf; set it to a finite number\.$",
        ),
        ("profiles=3\n", r"profiles in .*mine\.py is 3; write profiles = dict\(NAME=dict\(KEY=VALUE\)\)\.$"),
        ("profiles=dict(smoke=3)\n", r"profiles in .*mine\.py is {'smoke': 3}; write profiles = dict\("),
        ("dataset='cocoo'\n", r"Key 'dataset' in .* is 'cocoo', but should be 'coco', .*; did you mean coco"),
        ("exit(3)\n", r"mine\.py is not a readable config: it calls exit\(3\); correct the file"),
        ("x = 1 / 0\n", r"mine\.py is not a readable config: division by zero; correct the file"),
        ("this is no python\n", r"mine\.py is not a readable config: "),
    ],
)
def test_bad_configs_are_named_in_one_sentence(tmp_path: Path, extra: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        load_recipe(write(tmp_path, GOOD + extra))
    assert "\n" not in str(caught.value)


def test_missing_key_and_missing_profile(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"lacks the key 'epochs'; add it"):
        load_recipe(write(tmp_path, GOOD.replace("epochs=1\n", "")))
    with pytest.raises(BadInput, match=r"has no profile 'mini'; it has full"):
        load_recipe(write(tmp_path, GOOD), "mini")


def test_bad_downstream_configs_are_named(tmp_path: Path) -> None:
    linear = 'kind="linear"\ndataset="imagenet"\nepochs=1\n'
    with pytest.raises(BadInput, match=r"Unknown key 'epoch'.*did you mean epochs"):
        load_task(write(tmp_path, linear + "learning_rates=(30.0,)\nepoch=1\n"))
    with pytest.raises(BadInput, match=r"several learning_rates need selection_share"):
        load_task(write(tmp_path, linear + "learning_rates=(30.0, 3.0)\n"))


def test_a_downstream_config_without_a_kind_must_be_mmsegs(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"mine\.py has neither a kind nor, as mmseg's configs have, a model; set kind to"
    ):
        load_task(write(tmp_path, 'dataset="imagenet"\n'))


def test_a_key_goes_to_the_tasks_that_have_it_and_to_no_other() -> None:
    knn, pspnet = load_tasks(["imagenet_knn", "cityscapes_pspnet"], "smoke", {"k": 3, "batch_size": 1})
    assert isinstance(knn, KnnTask)
    assert (knn.k, knn.batch_size) == (3, 1)
    assert pspnet == load_task("cityscapes_pspnet", "smoke", {"batch_size": 1})
    with pytest.raises(BadInput, match=r"No downstream config of this run has the key 'iteration'; did you mean iter"):
        load_tasks(["imagenet_knn", "cityscapes_pspnet"], "smoke", {"iteration": 3})
    with pytest.raises(BadInput, match="has the key 'iterations'"):
        load_tasks(["imagenet_knn"], "smoke", {"iterations": 3})


def test_the_two_terms_of_a_profile_are_merged_and_set_wins(tmp_path: Path) -> None:
    text = GOOD + "profiles=dict(smoke=dict(epochs=2, optimizer=dict(lr=0.5)))\n"
    recipe = load_recipe(write(tmp_path, text), "smoke", {"epochs": 3})
    assert recipe.optimizer is not None
    assert (recipe.epochs, recipe.optimizer.lr, recipe.optimizer.name) == (3, 0.5, "sgd")


def test_overlay_and_nest() -> None:
    assert overlay({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}
    assert overlay({"a": {"b": 1}}, {"a": {"_delete_": True, "c": 3}}) == {"a": {"c": 3}}
    assert nest({"a.b": 1, "a.c": 2, "d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}
    with pytest.raises(BadInput, match="both a value and keys below it"):
        nest({"a": 1, "a.b": 2})


def test_assignments_are_literals_or_words() -> None:
    values = parse_assignments(["epochs=2", "optimizer.lr=1e-3", "arch=resnet18", "sync_bn=false", "crop=(64, 128)"])
    assert values == {"epochs": 2, "optimizer.lr": 1e-3, "arch": "resnet18", "sync_bn": False, "crop": (64, 128)}
    for word in ("epochs", "=3", "pretrain..epochs=3", "pretrain.=3"):
        with pytest.raises(BadInput, match=f"--set takes key=value, not '{word}'"):
            parse_assignments([word])


def test_routing_sends_a_key_where_the_schema_has_it() -> None:
    assert route({"objective.loss2": "dense_byol", "iterations": 3}) == (
        {"objective": {"loss2": "dense_byol"}},
        {"iterations": 3},
    )
    assert route({"pretrain.epochs": 1, "downstream.epochs": 2}) == ({"epochs": 1}, {"epochs": 2})
    assert route({"precision": "bf16"}) == ({"precision": "bf16"}, {"precision": "bf16"})
    with pytest.raises(BadInput, match=r"could mean either side: say pretrain\.epochs or downstream\.epochs"):
        route({"epochs": 1})
    with pytest.raises(BadInput, match=r"Unknown key 'iteration' in --set; did you mean iterations"):
        route({"iteration": 1})


def test_a_key_that_no_task_of_the_run_has_is_the_pretrainings() -> None:
    assert route({"epochs": 1}, []) == ({"epochs": 1}, {})
    assert route({"epochs": 1}, [KnnTask]) == ({"epochs": 1}, {})  # which has none
    assert route({"checkpoint.keep_every_epochs": 1}, []) == ({"checkpoint": {"keep_every_epochs": 1}}, {})
    assert route({"precision": "bf16"}, []) == ({"precision": "bf16"}, {})
    for kinds in ([LinearTask], [KnnTask, LinearTask]):
        with pytest.raises(BadInput, match=r"could mean either side: say pretrain\.epochs or downstream\.epochs"):
            route({"epochs": 1}, kinds)
    assert route({"iterations": 3}, []) == ({}, {"iterations": 3})  # which is then refused, as no task has it


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_recipe("coco").epochs = 3


def test_any_mmseg_config_is_a_downstream_task(tmp_path: Path) -> None:
    task = load_task("fcn_r50-d8_4xb2-40k_cityscapes-512x1024")
    assert isinstance(task, SegmentationTask)
    assert (task.dataset, task.iterations) == ("cityscapes", None)
    folder = mmseg_configs()
    assert folder is not None
    base = folder / "pspnet" / "pspnet_r50-d8_4xb4-80k_ade20k-512x512.py"
    file = write(tmp_path, f"_base_ = {str(base)!r}\n", "my_pspnet")
    task = load_task(file, "full", {"iterations": 7})
    assert isinstance(task, SegmentationTask)
    assert (task.name, task.dataset, task.iterations, task.config) == ("my_pspnet", "ade20k", 7, file)


def test_imagenet_linear_is_the_moco_protocol() -> None:
    task = load_task("imagenet_linear")
    assert isinstance(task, LinearTask)
    assert (task.learning_rates, task.epochs, task.batch_size, task.weight_decay) == ((30.0,), 100, 256, 0.0)
    assert (task.schedule, task.milestones, task.size, task.resize) == ("step", (0.6, 0.8), 224, 256)


def test_loading_configs_leaves_torch_alone() -> None:
    code = (
        "import sys; from bench.config.load import load_recipe, load_task\n"
        "load_recipe('coco_two_loss'); load_task('cityscapes_pspnet')\n"
        "heavy = {'torch', 'mmseg', 'pandas'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
