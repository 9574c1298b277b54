"""Images per norm group: which they are on any number of processes, what is refused while planning, what is hashed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.cli import run
from bench.config.config_files import config_files
from bench.config.load import load_recipe
from bench.config.objective_source import class_says, objectives
from bench.config.processes import NormGroups, check_shares, norm_groups
from bench.config.recipe import Recipe
from bench.errors import BadInput
from bench.execute import devices
from bench.execute.grid import plan_grid
from bench.execute.request import Request
from bench.plan import hashed_settings

SHUFFLING = {"moco", "moco_v2", "clsa", "densecl", "cast"}


def recipe(name: str = "imagenet_moco_v2", **values: Any) -> Recipe:
    return load_recipe(name, "full", values)


def together(values: Recipe, world: int) -> set[frozenset[int]]:
    """The images of a batch that share statistics, by what processes, parts and the sampler do."""
    groups, batch = norm_groups(values, world), values.batch_size // values.accumulate
    members: dict[tuple[int, int], set[int]] = {}
    for process in range(world):
        for row, image in enumerate(range(process, batch, world)):
            members.setdefault((process % (world // groups.processes), row % groups.parts), set()).add(image)
    return {frozenset(one) for one in members.values()}


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (1, NormGroups(8, 1)),
        (2, NormGroups(4, 1)),
        (8, NormGroups(1, 1)),
        (16, NormGroups(1, 2)),
        (32, NormGroups(1, 4)),
    ],
)
def test_groups_are_parts_of_a_process_or_of_several(world: int, expected: NormGroups) -> None:
    assert norm_groups(recipe(), world) == expected
    groups = together(recipe(), world)
    assert groups == together(recipe(), 1)
    assert {len(group) for group in groups} == {32}
    assert sorted(image for group in groups for image in group) == list(range(256))


def test_a_micro_batch_has_groups_of_its_own() -> None:
    values = recipe(accumulate=4)
    assert norm_groups(values, 1) == NormGroups(2, 1)
    assert norm_groups(values, 4) == NormGroups(1, 2)
    assert together(values, 4) == together(values, 1)


def test_without_a_number_norms_are_over_all_images_or_over_those_of_a_process() -> None:
    assert norm_groups(recipe("imagenet_simclr"), 8) == NormGroups(processes=8)
    assert norm_groups(recipe("imagenet_simclr", sync_bn=False), 8) == NormGroups()
    assert together(recipe("imagenet_simclr"), 8) == together(recipe("imagenet_simclr", sync_bn=False), 1)


@pytest.mark.parametrize("profile", ["full", "mini", "smoke"])
def test_no_shipped_config_normalises_queries_among_their_keys(profile: Any) -> None:
    assert {name for name in objectives() if class_says(name, "shuffles_keys")} == SHUFFLING
    found = set()
    for name in config_files("pretrain_configs"):
        values = load_recipe(name, profile)
        if values.objective["name"] not in SHUFFLING:
            continue
        found.add(values.objective["name"])
        groups = together(values, 1)
        assert len(groups) >= 2, name
        full = 128 if name == "coco_constrained_crop" else 32  # "2 Tesla V100 GPUs", says its authors' README
        assert {len(group) for group in groups} == {{"full": full, "mini": 4, "smoke": 2}[profile]}, name
    assert found == SHUFFLING


def test_groups_of_the_recipes_whose_authors_have_them() -> None:
    assert recipe("imagenet_swav").norm_images == 512  # apex's groups of 8 processes with 64 images (main_swav.py:162)
    assert recipe("imagenet_swav_256").sync_bn  # `--sync_bn pytorch`: all
    for name in ("imagenet_pirl", "imagenet_cmc"):
        assert recipe(name).norm_images == 32
    assert recipe("imagenet_instance_discrimination").norm_images == 64  # 4 GPUs (HobbitLong/CMC, README.md:127)
    for name in ("imagenet_triplet", "imagenet_contrastive_2006"):
        assert (recipe(name).norm_images, recipe(name).sync_bn) == (None, True)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "imagenet_moco_v2",
            {"norm_images": 48},
            r"norm_images 48 does not divide batch_size, 256; set norm_images to a divisor, such as (32|64), or change",
        ),
        (
            "imagenet_moco",
            {"accumulate": 4, "norm_images": 128},
            r"norm_images 128 does not divide batch_size / accumulate, 64; set norm_images to a divisor, such as 64",
        ),
        ("imagenet_clsa", {"norm_images": 1}, r"norm_images.*greater than or equal to 2"),
        ("imagenet_moco", {"sync_bn": True}, r"norm_images 32 and sync_bn exclude each other; set sync_bn=False, or"),
        (
            "coco_densecl",
            {"norm_images": None},
            r"the objective densecl shuffles its keys .* norm_images is None, so that all 256 images of a "
            r"batch are normalised together on one process; set norm_images to half of them .*, and sync_bn to False\.",
        ),
        ("coco_cast", {"norm_images": 256}, r"is 256, so that all 256 images of a batch are normalised together; set"),
        ("coco_constrained_crop", {"norm_images": None, "sync_bn": True}, r"shuffles its keys"),
        (
            "coco_detcon",
            {"norm_images": 32, "sync_bn": False},
            r"detcon has no norms over groups of images, and norm_images is 32; set it to None, or take one of .*moco",
        ),
        (
            "imagenet_moco",
            {"objective": {"bn_splits": 8}},
            r"objective\.bn_splits in --set for imagenet_moco is no setting any more: .* set norm_images to what ",
        ),
    ],
)
def test_what_makes_no_groups_is_refused_in_one_sentence(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        recipe(name, **values)
    assert "\n" not in str(refused.value)


def test_an_objective_from_outside_has_no_groups_unless_it_says_so(tmp_path: Path) -> None:
    text = (
        "from typing import Any, ClassVar\nfrom bench.objectives.base import Objective\n\n\nclass Mine(Objective):\n"
        '    """Mine."""\n\n{fact}    def __init__(self, encoder: Any) -> None:\n        pass\n'
    )
    config = tmp_path / "mine.py"
    config.write_text(
        '"""Mine."""\ndataset = "coco"\nepochs = 1\nbatch_size = 8\nsync_bn = False\nnorm_images = 4\n'
        'objective = dict(name="other.py:Mine")\noptimizer = dict(name="sgd", lr=0.1)\n'
    )
    (tmp_path / "other.py").write_text(text.format(fact="    norm_groups: ClassVar[bool] = True\n\n"))
    assert load_recipe(str(config)).norm_images == 4
    (tmp_path / "other.py").write_text(text.format(fact=""))
    with pytest.raises(BadInput, match="Mine has no norms over groups of images"):
        load_recipe(str(config))


def test_a_fingerprint_has_the_number_and_none_where_there_is_none() -> None:
    assert "norm_images" not in hashed_settings(recipe("imagenet_simclr"))
    ours = hashed_settings(recipe("imagenet_moco"))
    assert ours["norm_images"] == 32
    assert ours != hashed_settings(recipe("imagenet_moco", norm_images=64))


def test_processes_that_cannot_share_a_batch_are_refused_while_planning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def plan(*words: str, gpus: int) -> None:
        request = Request(["imagenet_moco"], assignments=words, work_dir=tmp_path, results_dir=tmp_path / "results")
        plan_grid(request, act=False, gpus=gpus)

    plan(gpus=8)
    for gpus, near in ((3, 288), (6, 192), (12, 192)):  # 255 and 252 are nearer, and have no groups of 32
        with pytest.raises(
            BadInput,
            match=rf"^imagenet_moco: batch_size 256 does not divide evenly over {gpus} processes × accumulate 1; use "
            rf"another number of processes \(--gpus\), or set its batch_size to a multiple of {gpus}, such as "
            rf"{near}\.$",
        ):
            plan(gpus=gpus)
        plan(f"pretrain.batch_size={near}", f"objective.queue_size={near * 100}", gpus=gpus)
    uneven = ("pretrain.batch_size=192", "norm_images=48", "objective.queue_size=65280")
    plan(*uneven, gpus=4)
    with pytest.raises(
        BadInput,
        match=r"imagenet_moco: norm_images is 48, but each of 6 processes has 32 of the 192 images of a batch, and "
        r"neither divides the other; use 1, 2, 4, 8, 12, 16, 24, .* or 192 processes \(--gpus\), or change norm_images",
    ):
        plan(*uneven, gpus=6)
    monkeypatch.setattr(devices, "cuda_devices", lambda: ["0"] * 16)
    plan("compile=True", gpus=8)
    with pytest.raises(BadInput, match=r"compile=True and norms over the images of several GPUs .* on 16 GPUs"):
        plan("compile=True", gpus=16)
    monkeypatch.setattr(devices, "cuda_devices", list)
    plan("compile=True", gpus=16)
    assert run(["plan", "--pretrain", "imagenet_moco", "--work-dir", str(tmp_path), "--gpus", "3"]) == 2
    assert "does not divide evenly over 3 processes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "world", "values", "message"),
    [
        (
            "imagenet_byol",
            1,
            {"batch_size": 1},
            r"objective byol needs several .* batch_size 1 leaves .* set .* to 2 or",
        ),
        ("imagenet_simclr", 1, {"batch_size": 4, "accumulate": 4}, r"batch_size 4 over accumulate 4 .* to 8 or more"),
        ("imagenet_byol", 8, {"batch_size": 8, "sync_bn": False}, r"each of 8 processes has a single .* to 16 or more"),
    ],
)
def test_a_single_image_is_refused_while_planning_where_several_are_needed(
    name: str, world: int, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        check_shares(recipe(name, **values), world)
    check_shares(recipe("imagenet_rotation", batch_size=1), 1)  # which needs no others
    check_shares(recipe("imagenet_byol", batch_size=8), 8)  # norms over all of them


def test_what_a_class_from_outside_computes_is_left_to_its_start(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from bench.objectives.byol import BYOL\n\n\nclass Mine(BYOL):\n"
        "    needs_several_for = ' '.join(['other', 'images'])\n    view_backends = tuple(['fast'])\n"
    )
    mine = load_recipe("imagenet_byol", "full", {"objective": {"name": f"{file}:Mine"}, "batch_size": 1})
    check_shares(mine, 1)
