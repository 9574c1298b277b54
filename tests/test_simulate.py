"""`bench plan --simulate`: against numbers computed by hand; assumptions are printed; what cannot be is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import run
from bench.config.load import load_recipe
from bench.execute.cluster_time import Cluster, Work, simulate
from bench.execute.simulate import CORE_RATES, IMAGES, Assumption, Size, assumed, simulated, size_of
from bench.execute.speed import FILE, key_of, machine

ROOT = Path(__file__).parents[1]
WORK = Work(
    images=1050,  # ten steps of 100; 50 images are left out
    epochs=2,
    batch_size=100,
    gradient_bytes=400_000_000,
    checkpoint_bytes=300_000_000,
    checkpoints=2,
)
CLUSTER = Cluster(
    rate=50.0,
    link=1e9,
    node_link=4e9,
    storage=1e8,
    gpus_per_node=2,
    cores_per_node=4,
    core_rate=25.0,
    image_bytes=2e6,
)


def test_four_gpus_on_two_nodes_by_hand() -> None:
    found = simulate(WORK, CLUSTER, 4)
    assert (found.nodes, found.images_per_gpu, WORK.steps) == (2, 25, 20)
    # 25 images at 50/s; 50 images of 2 MB at 100 MB/s; 50 images by 4 cores at 25/s; 2·3/4 of 0.4 GB at 1 GB/s.
    assert found.step_seconds == pytest.approx({"computing": 0.5, "reading": 1.0, "decoding": 0.5, "all-reduce": 0.6})
    assert found.bound == "reading"
    assert found.hours == pytest.approx(20 * 1.0 / 3600)
    assert found.hours_not_hidden == pytest.approx(20 * 1.1 / 3600)  # computing, then all-reduce
    assert found.gpu_hours == pytest.approx(80 / 3600)
    assert found.all_reduce_share == pytest.approx(6 / 11)
    assert found.read_per_node == pytest.approx(1e8)
    assert found.checkpoint_seconds == pytest.approx(3.0)


def test_each_bound_binds_where_it_is_the_slowest() -> None:
    fast = replace(CLUSTER, storage=1e10, core_rate=1e4)
    assert simulate(WORK, fast, 4).bound == "all-reduce"
    assert simulate(WORK, replace(fast, link=1e10), 4).bound == "computing"
    assert simulate(WORK, replace(fast, core_rate=1.0), 4).bound == "decoding"
    assert simulate(WORK, replace(fast, core_rate=1.0), 4).hours == pytest.approx(20 * 12.5 / 3600)
    one = simulate(WORK, fast, 1)  # sends nothing
    assert (one.step_seconds["all-reduce"], one.all_reduce_share, one.bound) == (0, 0, "computing")
    assert one.hours == one.hours_not_hidden == pytest.approx(20 * 2.0 / 3600)
    pair = simulate(WORK, fast, 2)  # within a node: its links
    assert pair.step_seconds["all-reduce"] == pytest.approx(2 * 1 / 2 * 0.4 / 4)
    three = simulate(WORK, fast, 5)  # 2 + 2 + 1 GPUs: the fullest node has 40 images
    assert (three.nodes, three.step_seconds["decoding"]) == (3, pytest.approx(40 / 4e4))


def test_checkpoints_cost_time_only_where_training_waits_for_them() -> None:
    waiting = simulate(replace(WORK, background=False), CLUSTER, 4)
    assert waiting.hours == pytest.approx((20 * 1.0 + 2 * 3.0) / 3600)
    assert waiting.hours_not_hidden == pytest.approx((20 * 1.1 + 2 * 3.0) / 3600)


RATE = Assumption("rate", 1000.0, "images/s a GPU", "assumed here")


def test_a_recipe_gives_its_batch_epochs_and_sizes() -> None:
    recipe = load_recipe("imagenet_byol_300")
    found = simulated(recipe, 4096 * 10, [8], RATE, {"parameters": 1_000_000.0, "state_values": 3_000_000.0})
    assert (found.work.steps, found.work.batch_size) == (3000, 4096)
    assert found.work.gradient_bytes == 4_000_000
    assert found.work.checkpoint_bytes == 4 * (3_000_000 + 1_000_000)  # LARS keeps one momentum for each parameter
    assert found.work.checkpoints == recipe.epochs == 300
    adam = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"name": "adamw"})})  # type: ignore[union-attr]
    found = simulated(adam, 4096 * 10, [8], RATE, {"parameters": 1_000_000.0, "state_values": 3_000_000.0})
    assert found.work.checkpoint_bytes == 4 * (3_000_000 + 2_000_000)
    (result,) = found.results
    assert result.hours == pytest.approx(3000 * 0.512 / 3600)  # 512 images at 1,000/s
    # 680 or 140 images/s on each of 96 cores are more than 8 GPUs want
    assert result.read_per_node == pytest.approx(8000 * 115_000)


@pytest.mark.slow
def test_values_are_counted_by_building_and_a_bank_without_making_it() -> None:
    encoder = 11_176_512  # ResNet-18 without its classifier: 11,689,512 − 513,000
    buffers = 9_620  # of 20 batch norms: means and variances of 4,800 channels, and a counter each
    head = 512 * 128 + 128
    constant = 2  # Z, and whether it is known
    recipe = load_recipe("imagenet_instance_discrimination", extra={"arch": "resnet18"})
    size = size_of(recipe, 100_000_000)
    assert size == Size(encoder + head, encoder + buffers + head + constant + 100_000_000 * 128)


def test_default_rates_are_near_the_measured_ones() -> None:
    measured = json.loads((ROOT / "results/benchmarks/avx512-bf16/views.json").read_text())["contenders"]
    for backend, rate in CORE_RATES.items():
        samples = measured[f"{backend}, raw JPEG"]["samples"]
        rates = sorted(one["units"] / one["seconds"] for one in samples)
        assert 0.5 < rate / rates[len(rates) // 2] < 1.5


WORDS = ("plan", "--pretrain", "imagenet_byol_300", "--assume", "parameters=35000000", "gpus_per_node=4")


def test_the_command_prints_a_row_for_each_number_and_all_it_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*WORDS, "--simulate", "8,64", "--images", "imagenet22k", "--rate", "500", "--link", "12.5"]) == 0
    out = capsys.readouterr().out
    title, head, eight, sixty_four, *rest = out.splitlines()
    assert "14,197,122 images, 300 epochs of 3,466 steps at batch 4096; simulated, nothing was run" in title
    assert head.split()[:2] == ["GPUs", "nodes"]
    assert (eight.split()[:3], sixty_four.split()[:3]) == (["8", "2", "512"], ["64", "16", "64"])
    for line in ("rate 500 images/s a GPU given by --rate", "link 12.5 GB/s a GPU given", "gpus_per_node 4 GPUs given"):
        assert line in [" ".join(each.split()) for each in rest]
    assert sum("assumed: " in line for line in rest) == 4  # the others of the machine
    assert "not counted:" in rest

    assert run([*WORDS, "--simulate", "8", "--images", "500000", "--rate", "500", "--json"]) == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert (content["simulated"], content["work"]["images"], content["gpus"][0]["gpus"]) == (True, 500_000, 8)
    assert content["gpus"][0]["bound"] == "computing"
    assert {one["name"] for one in content["assumptions"]} >= {"rate", "link", "storage", "image_bytes", "core_rate"}


def test_a_rate_that_was_timed_here_is_taken_and_its_machine_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*WORDS, "--simulate", "8", "--work-dir", str(tmp_path)]
    assert run(words) == 2
    assert "was not timed in" in capsys.readouterr().err
    timed = {machine(1): {key_of(load_recipe("imagenet_byol_300")): {"images_per_second": 3.5, "words": "timed here"}}}
    (tmp_path / FILE).write_text(json.dumps(timed))
    assert run(words) == 0
    assert f"measured on {machine(1)}: timed here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--simulate", "8,x"], "--simulate takes numbers of GPUs, not '8,x'"),
        (["--simulate", "0"], "--simulate takes numbers of GPUs, not '0'"),
        (["--simulate", "60"], "does not divide evenly over 60 processes"),
        (["--simulate", "8", "--images", "many"], "--images takes a number, or one of coco"),
        (["--simulate", "8", "--images", "4000"], "4000 images fill no batch of 4096"),
        (["--simulate", "8", "--rate", "-1"], "--rate must be a number above 0"),
        (["--simulate", "8", "--storage", "nan"], "--storage must be a number above 0"),
        (["--simulate", "8", "--assume", "gpus_per_nod=4"], "did you mean gpus_per_node"),
        (["--simulate", "8", "--assume", "link=0"], "--assume takes NAME=NUMBER above 0, not 'link=0'"),
        (["--simulate", "8", "--assume", "gpus_per_node=2.5"], "gpus_per_node is a whole number"),
        (["--simulate", "8", "--estimate"], "give one of them"),
        (["--rate", "100"], "are of --simulate; give it with them"),
        (["--simulate", "8", "--pretrain", "random_init"], "random_init trains nothing"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_sentence(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rate = [] if "--rate" in words else ["--rate", "500"] if "--simulate" in words else []
    recipe = [] if "--pretrain" in words else [*WORDS[1:4], WORDS[4]]
    assert run(["plan", *recipe, *words, *rate]) == 2
    assert message in capsys.readouterr().err


def test_state_values_need_parameters() -> None:
    from bench.errors import BadInput

    with pytest.raises(BadInput, match="give parameters=NUMBER, too"):
        assumed(["state_values=5"], None, None)
    assert IMAGES["imagenet22k"] == 14_197_122
