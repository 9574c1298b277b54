"""Estimates before a run: the arithmetic of what was timed, records of equal machines, and what is not known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench import cli
from bench.config.load import load_recipe, load_task
from bench.data.sets import fingerprint
from bench.execute import estimate as estimating
from bench.execute import probe as probing
from bench.execute.estimate import MISSING, estimate
from bench.execute.estimated import GridEstimate
from bench.execute.grid import Grid, plan_grid
from bench.execute.likeness import key_of, keys_of, loose_key
from bench.execute.machine import Machine
from bench.execute.request import Request
from bench.plan import Stage, recorded_settings
from bench.record import Fingerprints, Hardware, Record
from bench.stages.costs import Amount, Costs, Phase, extrapolated, halves, total

HERE = Machine("A CPU", 4, auto="bf16")
TASKS = ("imagenet_knn", "imagenet_linear")


def exactly(value: float) -> Amount:
    return Amount(value, value, value)


# ---------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize(
    ("load", "compute", "workers", "shared", "cores", "seconds"),
    [
        (3, 2, 0, False, 4, 10 * (3 + 2)),  # one after the other
        (3, 2, 1, False, 4, 10 * 3 + 3),  # the loader is slower
        (3, 4, 1, False, 4, 10 * 4 + 3),  # the step is slower
        (3, 2, 2, False, 4, 10 * 2 + 3),  # two readers are faster than the step
        (3, 2, 16, False, 2, 10 * 2 + 3),  # no more readers than cores: 1.5 s a unit
        (3, 1, 16, False, 2, 10 * 1.5 + 3),
        (4, 2, 4, True, 4, 10 * (2 + 4 / 4) + 4),  # on a CPU, what readers compute is taken away from the step
        (8, 1, 1, True, 4, 10 * 8 + 8),
    ],
)
def test_of_reading_and_computing_the_slower_counts(load, compute, workers, shared, cores, seconds):
    phase = Phase(name="steps", count=10, load=exactly(load), compute=exactly(compute), workers=workers, shared=shared)
    assert phase.seconds(cores) == pytest.approx(exactly(seconds))


def test_a_phase_without_units_takes_no_time():
    assert Phase(name="diagnostics", count=0, load=exactly(1), compute=exactly(1), workers=1).seconds(2) == exactly(0)


def test_an_interval_is_from_the_least_to_the_most_and_a_tenth_at_least():
    assert Amount.of([2.0, 3.0, 7.0]) == (2.0, 4.0, 7.0)
    assert Amount(2.0, 4.0, 7.0).widened() == (2.0, 4.0, 7.0)
    assert Amount(9.9, 10.0, 10.1).widened() == pytest.approx((9.0, 10.0, 11.0))
    assert total([Amount(1, 2, 3), Amount(10, 20, 30)]) == (11, 22, 33)
    assert total([]) == exactly(0)


def test_a_stage_is_its_start_and_its_phases():
    steps = Phase(name="steps", count=100, compute=Amount(0.5, 1.0, 2.0))
    bank = Phase(name="bank", count=10, compute=exactly(1), makes="features")
    costs = Costs(start=exactly(5), phases=(steps, bank))
    assert costs.seconds(2) == Amount(5 + 50 + 10, 5 + 100 + 10, 5 + 200 + 10)
    assert costs.seconds(2, there={"features"}).middle == 105  # another stage left them
    several = costs.seconds(2, processes=4)
    assert several.middle == 5 + 110 / 4
    assert several.high >= 5 + 1.3 * 110 / 4  # what the processes tell each other was not timed


def test_the_imports_and_the_end_of_a_process_are_those_of_a_stage_that_has_one_of_its_own():
    costs = Costs(process=3.0, start=Amount(10, 10, 10))
    assert costs.seconds(4).middle == 13
    assert costs.seconds(4, forked=True).middle == 10


def test_what_grows_with_a_batch_lies_on_a_line():
    assert extrapolated([8, 16], [500.0, 600.0], 64) == 600 + 100 / 8 * 48
    assert extrapolated([8], [500.0], 64) == 500
    assert extrapolated([8, 16], [600.0, 500.0], 64) == 500  # noise: it does not shrink
    assert halves(256) == [8, 16, 32, 64, 128, 256]
    assert halves(100) == [25, 50, 100]
    assert halves(6) == [6]


# ------------------------------------------------------------------------------------ a grid, and a fake timing


@pytest.fixture
def grid(rendered: Path, tmp_path: Path) -> Grid:
    return planned(rendered, tmp_path)


def planned(root: Path, place: Path, pretrain=("imagenet_0",), tasks=TASKS, **more) -> Grid:
    request = Request(
        pretrain, tasks, profile="smoke", data_root=[str(root)], work_dir=place / "work",
        results_dir=place / "results", **more,
    )  # fmt: skip
    return plan_grid(request, act=False)


class Timing:
    """Times nothing: every stage costs what was said of its kind."""

    def __init__(self, **costs: Costs | str) -> None:
        self.costs, self.asked = costs, []

    def __call__(self, stages: Mapping[str, Stage]) -> dict[str, Costs | str]:
        self.asked += [stage.title for stage in stages.values()]
        return {key: self.costs.get(stage.kind, costing(1.0)) for key, stage in stages.items()}


def costing(seconds: float, memory: float = 100.0, disk: int = 0, **features: int) -> Costs:
    return Costs(
        start=exactly(0),
        phases=(Phase(name="steps", count=1, compute=exactly(seconds)),),
        memory_mib={"process": memory},
        disk_bytes=disk,
        features=features,
    )


def by_kind(estimated: GridEstimate) -> dict[str, float]:
    return {one.stage.kind: one.seconds.middle for one in estimated.stages if one.seconds is not None}


def test_stages_add_up_to_the_grid(grid: Grid):
    timing = Timing(
        pretrain=costing(100.0, memory=900, disk=2**30),
        knn=costing(10.0, memory=1200, val=2**20),
        linear=costing(20.0, disk=2**20, val=2**20),
    )
    found = estimate(grid, 1, HERE, [], {}, timing)
    assert by_kind(found) == {"pretrain": 100, "convert": 1, "knn": 10, "linear": 20}
    assert found.seconds == pytest.approx((0.9 * 131, 131, 1.1 * 131))
    assert found.memory_mib == {"process": 1200}  # the most of any, for one runs after another
    assert found.disk_bytes == 2**30 + 2**20 + 2**20  # features of one trunk are kept once
    assert estimate(grid, 1, HERE, [], {}, timing, features_most=5).disk_bytes == 2**30 + 2**20 + 5
    text = "\n".join(found.lines())
    assert "estimate for A CPU, 4 cores" in text
    assert "2 min (2 min – 2 min); at most 1.2 GiB of memory; 1.0 GiB of disk" in text
    content = json.loads(json.dumps(found.content()))
    assert content["total"]["seconds"] == {"from": 117.9, "about": 131.0, "to": 144.1}
    assert content["stages"][0]["peak_memory_mib"] == {"process": 900}


def test_equal_work_is_timed_once(rendered: Path, tmp_path: Path):
    grid = planned(rendered, tmp_path, seeds=(0, 1), sweep=("objective.tau0=0.9,0.99",))
    timing = Timing()
    found = estimate(grid, 1, HERE, [], {}, timing)
    assert len(grid.stages) == 4 * (2 + len(TASKS))
    assert sorted(title.split()[0] for title in timing.asked) == ["convert", "knn", "linear", "pretrain"]
    assert not found.unknown


def test_what_was_timed_before_is_not_timed_again(grid: Grid):
    known = {key_of(stage, HERE): costing(7.0) for stage in grid.stages if stage.kind == "pretrain"}
    timing = Timing()
    found = estimate(grid, 1, HERE, [], known, timing)
    assert by_kind(found)["pretrain"] == 7
    assert not any(title.startswith("pretrain") for title in timing.asked)


def test_without_data_a_stage_is_not_known(tmp_path: Path, rendered: Path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "coco").symlink_to(rendered / "coco")
    grid = planned(tmp_path / "some", tmp_path, pretrain=("coco",))
    found = estimate(grid, 1, HERE, [], {}, Timing())
    sources = {one.stage.kind: one.source for one in found.stages}
    assert sources["knn"] == sources["linear"] == MISSING == "not known: data missing"
    assert by_kind(found) == {"pretrain": 1, "convert": 1}
    assert "without 2 whose time is not known" in found.lines()[-1]
    assert next(one for one in found.content()["stages"] if one["stage"].startswith("knn"))["seconds"] is None


def test_what_is_done_costs_nothing(grid: Grid):
    states = dict.fromkeys(grid.states, "recorded")
    done = Grid(grid.stages, states, grid.roots, {}, grid.work_dir, grid.results_dir)  # type: ignore[arg-type]
    timing = Timing()
    found = estimate(done, 1, HERE, [], {}, timing)
    assert timing.asked == []
    assert found.seconds == (0, 0, 0)


def test_a_timing_that_failed_says_why(grid: Grid):
    found = estimate(grid, 1, HERE, [], {}, Timing(knn="not timed: the trunk is damaged"))
    assert [(one.stage.kind, one.source) for one in found.unknown] == [("knn", "not timed: the trunk is damaged")]


def test_a_pretraining_without_time_is_like_one_with_another_objective(rendered: Path, tmp_path: Path):
    grid = planned(rendered, tmp_path, pretrain=("coco", "coco_two_loss"), tasks=())
    one, other = (stage for stage in grid.stages if stage.kind == "pretrain")
    assert loose_key(one, HERE) == loose_key(other, HERE)
    assert key_of(one, HERE) != key_of(other, HERE)
    found = estimate(grid, 1, HERE, [], {key_of(one, HERE): costing(100.0)}, lambda stages: {})
    near = next(each for each in found.stages if each.stage is other)
    assert near.seconds == pytest.approx((70, 100, 130))
    assert near.source == "as timed for coco, whose objective differs"


@pytest.mark.parametrize("can_fork", [True, False])
def test_stages_of_a_grid_are_forks_where_they_can_be(grid: Grid, monkeypatch: pytest.MonkeyPatch, can_fork: bool):
    monkeypatch.setattr(estimating, "can_fork", lambda: can_fork)
    timing = Timing(knn=costing(10.0).model_copy(update={"process": 4.0}))
    assert by_kind(estimate(grid, 1, HERE, [], {}, timing))["knn"] == (10 if can_fork else 14)
    alone = replace(grid, stages=[knn_of(grid)])  # one that has a process to itself everywhere
    assert by_kind(estimate(alone, 1, HERE, [], {}, timing))["knn"] == 14


def test_several_processes_share_the_work_on_gpus_alone(grid: Grid):
    gpus = Machine("A CPU", 4, gpus=("A GPU", "A GPU"), auto="bf16")
    timing = Timing(pretrain=costing(100.0), linear=costing(100.0), convert=costing(100.0))
    assert by_kind(estimate(grid, 2, gpus, [], {}, timing))["pretrain"] == 50
    assert by_kind(estimate(grid, 2, gpus, [], {}, timing))["linear"] == 50
    assert by_kind(estimate(grid, 2, gpus, [], {}, timing))["convert"] == 100  # it runs in one
    assert by_kind(estimate(grid, 2, HERE, [], {}, timing))["pretrain"] == 100  # they share the cores


# ---------------------------------------------------------------------------------------- records


def record_of(stage: Stage, grid: Grid, **changes) -> Record:
    """The record that a task of the grid would leave."""
    task, recipe = stage.config, stage.recipe
    data = {name: fingerprint(name, Path(root)) for name, root in grid.roots.items()}
    fields = {
        "pretrain": recipe.name, "pretrain_set": recipe.dataset, "arch": recipe.arch, "task": task.name,
        "kind": stage.kind, "dataset": "imagenet", "profile": "smoke", "seed": 3, "metrics": {"top1_percent": 1.0},
        "fingerprints": Fingerprints(stage="0" * 12, recipe="1" * 12, protocol="2" * 12), "data": data,
        "settings": {"pretrain": recorded_settings(recipe), "downstream": recorded_settings(task)},
        "hardware": Hardware(cpu=HERE.cpu, cores=HERE.cores, memory_gib=8.0),
        "wall_seconds": {"pretrain": 500.0, "convert": 5.0, stage.kind: 50.0},
        "peak_memory_mib": {"pretrain": 3000.0, "convert": 900.0, stage.kind: 1500.0},
        "precision": {"pretrain": "bf16", stage.kind: "bf16"},
    }  # fmt: skip
    return Record(**{**fields, **changes})


def knn_of(grid: Grid) -> Stage:
    return next(stage for stage in grid.stages if stage.kind == "knn")


def test_records_of_an_equal_machine_come_before_timing(grid: Grid):
    stage = knn_of(grid)
    longer = {"pretrain": 600.0, "convert": 5.0, "knn": 90.0}
    records = [record_of(stage, grid), record_of(stage, grid, seed=4, wall_seconds=longer)]
    found = estimate(grid, 1, HERE, records, {}, Timing(pretrain=costing(1.0, disk=77)))
    assert by_kind(found) == {"pretrain": 550, "convert": 5, "knn": 70, "linear": 1}
    knn = next(one for one in found.stages if one.stage is stage)
    assert knn.seconds == (50, 70, 90)  # from the least to the most
    assert knn.source == "from 2 records of this machine"
    assert knn.memory_mib == {"process": 1500}
    assert found.stages[0].disk_bytes == 77  # which records do not have


OTHERS = {
    "processor": {"hardware": Hardware(cpu="Another CPU", cores=4, memory_gib=8.0)},
    "cores": {"hardware": Hardware(cpu="A CPU", cores=8, memory_gib=8.0)},
    "GPU": {"hardware": Hardware(cpu="A CPU", cores=4, memory_gib=8.0, gpus=("A GPU",))},
    "no machine": {"hardware": None},
    "precision": {"precision": {"pretrain": "float32", "knn": "float32"}},
    "data": {"data": {"imagenet": "other", "imagenet100": "other"}},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_records_of_something_else_are_not_used(grid: Grid, changes):
    found = estimate(grid, 1, HERE, [record_of(knn_of(grid), grid, **changes)], {}, Timing())
    assert {kind: seconds for kind, seconds in by_kind(found).items() if kind != "convert"} == {
        "pretrain": 1, "knn": 1, "linear": 1,
    }  # fmt: skip


def test_records_of_another_view_backend_or_size_are_not_used(grid: Grid):
    stage = knn_of(grid)
    for key, value in (("view_backend", "fast"), ("view_size", 96), ("batch_size", 8), ("arch", "resnet18")):
        settings = {
            "pretrain": {**recorded_settings(stage.recipe), key: value},
            "downstream": recorded_settings(stage.config),
        }
        found = estimate(grid, 1, HERE, [record_of(stage, grid, settings=settings)], {}, Timing())
        assert by_kind(found)["pretrain"] == 1, key


def test_a_stage_that_was_resumed_says_nothing_of_how_long_it_takes(grid: Grid):
    record = record_of(knn_of(grid), grid, untimed={"pretrain": ["120 of 400 steps"], "knn": ["500 features of val"]})
    found = by_kind(estimate(grid, 1, HERE, [record], {}, Timing()))
    assert (found["pretrain"], found["convert"], found["knn"]) == (1, 5, 1)


def test_a_pretraining_on_a_gpu_says_nothing_of_a_machine_without_one(grid: Grid):
    memory = {"pretrain": 3000.0, "pretrain gpu": 9000.0, "knn": 1500.0}
    found = estimate(grid, 1, HERE, [record_of(knn_of(grid), grid, peak_memory_mib=memory)], {}, Timing())
    assert by_kind(found)["pretrain"] == 1
    assert by_kind(found)["knn"] == 50


def test_records_do_not_say_how_many_processes_there_were(grid: Grid):
    found = estimate(grid, 2, HERE, [record_of(knn_of(grid), grid)], {}, Timing())
    assert by_kind(found)["pretrain"] == 1


def test_a_learning_rate_does_not_change_the_time(grid: Grid):
    stage = knn_of(grid)
    recipe = {**recorded_settings(stage.recipe), "optimizer": {"name": "lars", "lr": 0.123}}
    other = record_of(stage, grid, settings={"pretrain": recipe, "downstream": recorded_settings(stage.config)})
    assert keys_of(other)["pretrain"] == key_of(grid.stages[0], HERE)


def test_a_record_that_cannot_be_understood_is_passed_over(grid: Grid):
    stage = knn_of(grid)
    assert keys_of(record_of(stage, grid, kind="pixels")) == {}
    assert keys_of(record_of(stage, grid, settings={"pretrain": {"dataset": "?"}, "downstream": {}})) == {}


# ---------------------------------------------------------------------------------------- timing, kept


def test_what_was_timed_is_kept_by_machine(tmp_path: Path):
    probing.keep(tmp_path / "work", HERE, {"a": costing(3.0)})
    probing.keep(tmp_path / "work", HERE, {"b": costing(4.0)})
    assert {key: costs.seconds(1).middle for key, costs in probing.kept(tmp_path / "work", HERE).items()} == {
        "a": 3, "b": 4,
    }  # fmt: skip
    assert probing.kept(tmp_path / "work", Machine("Another CPU", 4)) == {}
    (tmp_path / "work" / probing.FILE).write_text('{"version": 0, "machines": {"A CPU, 4 cores": {"a": {}}}}')
    assert probing.kept(tmp_path / "work", HERE) == {}


def test_what_is_much_alike_is_timed_last(rendered: Path, tmp_path: Path):
    grid = planned(rendered, tmp_path, pretrain=("coco", "coco_two_loss"), tasks=("imagenet_knn",))
    stages = {key_of(stage, HERE): stage for stage in grid.stages}
    order = [stages[key].title for key in probing._order(stages, HERE)]
    assert order[-1] == "pretrain coco_two_loss-s0"
    assert "pretrain coco-s0" in order[:-1]


def test_timing_needs_nothing_of_what_came_before(grid: Grid):
    alone = probing._alone(knn_of(grid))
    assert alone.parents["convert"].parents["pretrain"].parents == {}
    assert probing.probe({}, {}, HERE, grid.work_dir) == {}


def test_what_killed_timing_left_is_removed_once_it_is_old(tmp_path: Path):
    left, new = tmp_path / "timing-a", tmp_path / "timing-b"
    for folder in (left, new):
        (folder / "convert").mkdir(parents=True)
    os.utime(left, (0, 0))
    probing._remove_left(tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == ["timing-b"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_kind_of_stage_can_be_timed(rendered: Path, tmp_path: Path):
    """How long it takes depends on the machine; that something is found, and what it is made of, does not."""
    tasks = ("imagenet_knn", "imagenet_linear_cached", "diagnostics", "cityscapes_pspnet")
    grid = planned(rendered, tmp_path, tasks=tasks, assignments=["pretrain.arch=resnet18"])
    stages = {key_of(stage, HERE): stage for stage in grid.stages}
    found = probing.probe(stages, grid.roots, HERE, grid.work_dir, seconds=200)
    named = {stages[key].kind: costs for key, costs in found.items()}
    assert {kind: costs for kind, costs in named.items() if isinstance(costs, str)} == {}
    phases = {kind: [phase.name for phase in costs.phases] for kind, costs in named.items() if isinstance(costs, Costs)}
    assert phases == {
        "pretrain": ["steps", "diagnostics", "last checkpoint"],
        "convert": [],
        "knn": ["bank", "queries", "search"],
        "linear": ["features", "heads", "selection", "validation"],
        "diagnostics": ["images", "pairs", "measures"],
        "segmentation": ["steps", "validation", "copies for validation"],
    }
    recipe = load_recipe("imagenet_0", "smoke")
    steps = named["pretrain"].phases[0]  # type: ignore[union-attr]
    assert steps.count == recipe.epochs * ((recipe.subset or 0) // recipe.batch_size)
    assert min(steps.load.low, steps.compute.low) > 0
    assert named["segmentation"].phases[0].count == load_task("cityscapes_pspnet", "smoke").iterations  # type: ignore
    for costs in named.values():
        assert isinstance(costs, Costs)
        assert costs.start.middle > 0
        assert costs.process > 0
        assert costs.memory_mib["process"] > 100
    assert not list(grid.work_dir.glob("timing-*"))
    assert set(probing.kept(grid.work_dir, HERE)) == set(stages)


# ---------------------------------------------------------------------------------------- command line


def test_json_needs_an_estimate(capsys: pytest.CaptureFixture[str]):
    assert cli.run(["plan", "--pretrain", "coco", "--json"]) == 2
    assert "--json prints an estimate; give --estimate with it" in capsys.readouterr().err


def test_the_command_prints_the_estimate(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(estimating, "this_machine", lambda: HERE)
    monkeypatch.setattr(
        estimating, "probe", lambda stages, roots, machine, work_dir: dict.fromkeys(stages, costing(2.0, disk=2**20))
    )
    words = ["plan", "--estimate", "--pretrain", "coco", "--downstream", *TASKS, "--profile", "smoke"]
    words += ["--data-root", str(rendered), "--work-dir", str(tmp_path / "w"), "--results-dir", str(tmp_path / "r")]
    assert cli.run(words) == 0
    out = capsys.readouterr().out
    assert "command   bench stage" in out  # the plan itself
    assert "all 4 stages to do, one after another: 8 s (7 s – 9 s); at most 100 MiB of memory; 4 MiB of disk" in out
    assert cli.run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["seconds"]["about"] == 8


@pytest.mark.slow
def test_a_smoke_run_is_estimated_on_rendered_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimating, "this_machine", lambda: HERE)
    monkeypatch.setattr(
        estimating, "probe", lambda stages, roots, **more: asked.extend(roots) or dict.fromkeys(stages, costing(2.0))
    )
    assert cli.run(["plan", "--estimate", "--smoke", "--pretrain", "coco", "--downstream", "imagenet_knn"]) == 0
    assert "all 3 stages to do, one after another: 6 s" in capsys.readouterr().out
    assert set(asked) == {"coco", "imagenet"}


def test_an_estimate_is_put_together_without_torch():
    """Only this machine's description, and the processes that time, need it."""
    words = "import sys, bench.execute.estimate, bench.execute.reproduce; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
