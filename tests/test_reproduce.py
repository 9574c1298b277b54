"""A study: its order, its plan, its sittings, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import cli
from bench.config.objective_settings import settings_of
from bench.config.studies import reference_folder, studies_of
from bench.errors import BadInput, Interrupted, MoreToDo, StageFailed
from bench.execute import local, reproduce, speed
from bench.execute import probe as probing
from bench.execute.local import OVER
from bench.execute.reproduce import Options, StudyPlan, plan_study, run_study
from bench.execute.stage_file import Done, read_stage, write_done
from bench.execute.words import duration
from bench.plan import Stage, record_name
from bench.stages.costs import Amount, Costs, Phase
from bench.train.metrics_log import read_metrics

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SLOT = settings_of("two_loss")["loss2"].choices or ()

# The recipe for cifar10 in steps of four images.
TINY = ("pretrain.batch_size=4", "pretrain.subset=8", "pretrain.precision=float32", "log_every=1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parent folder with a cifar10 of 16 and 8 images."""
    root, draw = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name in ("cat", "dog"):
            folder = root / "cifar10" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture
def options(tmp_path: Path, data: Path) -> Options:
    return Options(data_root=[str(data)], work_dir=tmp_path / "runs", results_dir=tmp_path / "results")


def write_study(results: Path, name: str, epochs: int, *parts: tuple[str, ...]) -> None:
    """Write a study file into a results folder; a part is a pretraining and what is measured of it."""
    kept = "pretrain.checkpoint.keep_every_epochs=None"  # whose files a disk may have no room for
    settings = [*TINY, f"pretrain.epochs={epochs}", kept]
    listed = [{"dataset": "cifar10", "pretrain": [first], "downstream": list(others)} for first, *others in parts]
    # What is made of words and lists is written alike in TOML and in JSON, but for the sign between key and value.
    inline = ["{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in part.items()) + "}" for part in listed]
    (results / "reference").mkdir(parents=True)
    (results / "reference" / f"{name}.toml").write_text(
        f'source = "tests"\n[studies.{name}]\nsummary = "for tests"\nset = {json.dumps(settings)}\n'
        f"smoke = {inline[0]}\nparts = [{', '.join(inline)}]\n"
    )


@pytest.fixture
def study(tmp_path: Path) -> str:
    """A study of two pretrainings and two tasks in two parts, in a file of the results folder."""
    first = ("cifar10_byol_loss1", "cifar10_linear_adam", "cifar10_knn5")
    write_study(tmp_path / "results", "tiny", 4, first, ("cifar10_byol_two_loss", "cifar10_knn5"))
    return "tiny"


class Pretended:
    """Runs no stage, but leaves what one leaves; `ends` are the exit codes, all 0 when they are used up."""

    def __init__(self, ends: tuple[int, ...] = ()) -> None:
        self.ran: list[str] = []
        self.ends = list(ends)

    def __call__(self, folder: Path, gpus: int, until: float | None = None, start: object = None) -> int:
        del gpus, until, start
        stage = read_stage(folder)
        self.ran.append(f"{stage.kind} {stage.label}")
        if code := self.ends.pop(0) if self.ends else 0:
            return code
        for name in stage.stage_kind.outputs:
            (folder / name).touch()
        if stage.task is not None:
            name = record_name(stage.recipe.name, stage.task.name, stage.seed, stage.fingerprint)
            (Path(stage.results_dir) / "records" / name).touch()
        write_done(folder, Done(fingerprint=stage.fingerprint, metrics={}, wall_seconds=60.0, finished="now"))
        return 0


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    runner = Pretended()
    monkeypatch.setattr(local, "run_folder", runner)
    monkeypatch.setattr(local, "can_fork", lambda: False)  # nor starts the server that would import all for it
    return runner


WHOLE = [
    *(f"{kind} cifar10_byol_loss1-s0" for kind in ("pretrain", "convert")),
    "linear cifar10_byol_loss1--cifar10_linear_adam-s0",
    "knn cifar10_byol_loss1--cifar10_knn5-s0",
    *(f"{kind} cifar10_byol_two_loss-s0" for kind in ("pretrain", "convert")),
    "knn cifar10_byol_two_loss--cifar10_knn5-s0",
]


def test_the_decks_table_in_its_order(tmp_path: Path) -> None:
    plan = plan_study("deck-small", Options(seeds=(0, 1), work_dir=tmp_path, results_dir=tmp_path), act=False)
    labels = [run.pretrain.label for run in plan.runs]
    first = [label.removesuffix("-s0") for label in labels[: len(labels) // 2]]
    assert [label.removesuffix("-s1") for label in labels[len(labels) // 2 :]] == first  # one seed after the other
    methods = ("byol_loss1", "byol_two_loss", "byol_loss2")
    assert first[:6] == [f"{dataset}_{method}" for dataset in ("cifar10", "cifar100") for method in methods]
    assert first[6:9] == ["stl10_byol_loss1", "stl10_byol_two_loss", "cifar10_byol_loss1"]
    # Every loss of the slot, with loss1 and alone, after BYOL at the same schedule.
    assert first[9:] == [f"cifar10_{method}[loss2={name}]" for method in methods[1:] for name in SLOT]
    assert {run.pretrain.recipe.epochs for run in plan.runs[8 : len(first)]} == {200}
    assert [run.pretrain.recipe.epochs for run in plan.runs[:8]] == [1000] * 6 + [2000] * 2
    assert all(len(run.tasks) == 4 for run in plan.runs)
    assert [task.config.name for task in plan.runs[0].tasks] == [
        f"cifar10_{name}" for name in ("linear_adam", "knn5", "knn", "linear")
    ]


@pytest.mark.parametrize("profile", ["full", "mini"])
def test_controls_are_of_the_network_and_images_of_the_rows_that_they_control(profile: str, tmp_path: Path) -> None:
    options = Options(work_dir=tmp_path, results_dir=tmp_path, profile=profile)  # type: ignore[arg-type]
    recipes = [run.pretrain.recipe for run in plan_study("positive-control", options, act=False).runs]
    assert len(recipes) == 13
    assert {(recipe.arch, recipe.stem) for recipe in recipes} == {("resnet18w16", "stl")}
    assert {recipe.dataset for recipe in recipes} == {"none", "cifar10"}
    photographs = plan_study("positive-control-photographs", options, act=False).runs
    assert {run.pretrain.recipe.arch for run in photographs} == {"resnet18"}


def test_the_help_names_the_studies_that_there_are() -> None:
    assert set(cli.STUDIES) == set(studies_of(reference_folder(Path("results"))))


def test_only_and_profiles(tmp_path: Path) -> None:
    options = Options(only=("stl10",), work_dir=tmp_path, results_dir=tmp_path)
    assert [run.pretrain.recipe.dataset for run in plan_study("deck-small", options, act=False).runs] == ["stl10"] * 2
    mini = plan_study("deck-small", replace(options, only=("cifar10",), profile="mini"), act=False)
    assert all(run.pretrain.recipe.profile == "mini" and run.pretrain.recipe.epochs < 200 for run in mini.runs)
    with pytest.raises(BadInput, match=r"no part on 'cifar1'.*did you mean cifar10"):
        plan_study("deck-small", replace(options, only=("cifar1",)), act=False)
    with pytest.raises(BadInput, match=r"--minutes is -1"):
        plan_study("deck-small", replace(options, minutes=-1), act=False)


@pytest.mark.slow
def test_sittings_go_on_from_one_another(study: str, options: Options, pretended: Pretended) -> None:
    pretended.ends = [0, 0, OVER]  # the time is over while the linear head is trained
    with pytest.raises(MoreToDo, match=r"linear cifar10_byol_loss1.* goes on .* 2 of 2 runs are left"):
        run_study(plan_study(study, options, act=True))
    assert pretended.ran == WHOLE[:3]
    run_study(plan_study(study, options, act=True))
    assert pretended.ran == WHOLE[:3] + WHOLE[2:]  # what was finished isn't done again
    plan = plan_study(study, options, act=True)
    assert [run.state for run in plan.runs] == ["recorded", "recorded"]
    run_study(plan)
    assert len(pretended.ran) == len(WHOLE) + 1


@pytest.mark.slow
def test_no_stage_starts_when_the_time_is_over(study: str, options: Options, pretended: Pretended) -> None:
    plan = plan_study(study, replace(options, minutes=0.001), act=True)
    with pytest.raises(MoreToDo, match=r"over before pretrain cifar10_byol_loss1-s0"):
        run_study(plan)
    assert pretended.ran == []


@pytest.mark.slow
def test_a_failure_is_reported_at_the_end_of_a_sitting(study: str, options: Options, pretended: Pretended) -> None:
    pretended.ends = [1, OVER]
    with pytest.raises(MoreToDo, match=r"The time is over; .* 4 of 4 stages did not finish"):
        run_study(plan_study(study, options, act=True))


@pytest.mark.slow
def test_a_failed_stage_does_not_stop_the_others(study: str, options: Options, pretended: Pretended) -> None:
    pretended.ends = [1]
    with pytest.raises(StageFailed, match=r"4 of 4 stages did not finish: pretrain cifar10_byol_loss1"):
        run_study(plan_study(study, options, act=True))
    assert pretended.ran == [WHOLE[0], *WHOLE[4:]]


# ------------------------------------------------------------------------------------------- time


def line(plan: StudyPlan, number: int) -> str:
    return plan.lines()[number]


@pytest.mark.slow
def test_the_plan_says_what_it_knows_of_the_time(
    study: str, options: Options, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_study(study, options, act=True)
    assert "to do" in line(plan, 1)
    assert "4 epochs in batches of 4; 2 of 2 evaluations to do" in line(plan, 1)
    assert "2 runs, 0 recorded; nothing timed yet; without 2 pretrainings that were not timed yet" in line(plan, 3)
    assert line(plan, 4) == (
        "--time times a few steps of each kind of pretraining, at most 60 s each, and keeps that in "
        f"{options.work_dir / 'speeds.json'}."
    )
    assert len(plan_study(study, replace(options, timing=True), act=True).lines()) == 4  # it is done then

    # 4 epochs × 2 steps × 4 images = 32 images, of which one step is done; at .55 images a second 50.9 s.
    monkeypatch.setattr(speed, "machine", lambda gpus: f"a box × {gpus}")
    key = speed.key_of(plan.runs[0].pretrain.recipe)
    known = {"images_per_second": 0.55, "words": "from 20 steps timed here"}
    (options.work_dir / "speeds.json").write_text(json.dumps({"a box × 1": {key: known}}))
    folder = plan.runs[0].folder
    folder.mkdir(parents=True)
    (folder / "last.ckpt").touch()
    (folder / "metrics.jsonl").write_text('{"step": 1, "images_per_second": 9.0}\n')
    plan = plan_study(study, options, act=True)
    assert "begun" in line(plan, 1)
    assert "about 51 s (0.6 images/s, from 20 steps timed here)" in line(plan, 1)
    assert "about 58 s" in line(plan, 2)  # a second loss hardly costs time
    assert "about 2 min left" in line(plan, 3)
    other = plan_study(study, replace(options, gpus=2), act=True)  # not the machine that was timed
    assert "4 epochs in batches of 4: about 4 s (9.0 images/s, from its own log)" not in line(other, 2)
    assert "about" not in line(other, 2)

    run_study(plan)
    pretended.ran.clear()
    (options.results_dir / "records").rename(options.results_dir / "gone")  # type: ignore[operator]
    plan = plan_study(study, options, act=True)
    assert "trained" in line(plan, 1)
    assert "2 of 2 evaluations to do, about 2 min" in line(plan, 1)  # each took 60 s before


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Costs | str], list[str]]:
    """Pretend that the timing of any stage finds these costs; returns the titles of what is timed."""

    def pretend(found: Costs | str) -> list[str]:
        asked: list[str] = []

        def probe(stages: Mapping[str, Stage], *rest: object) -> dict[str, Costs | str]:
            asked.extend(stage.title for stage in stages.values())
            if isinstance(found, Costs):
                probing.keep(rest[2], rest[1], dict.fromkeys(stages, found))  # type: ignore[arg-type]
            return dict.fromkeys(stages, found)

        monkeypatch.setattr(speed, "probe", probe)
        return asked

    return pretend


def test_steps_and_evaluations_are_timed_and_kept(
    study: str, options: Options, timing: Callable[[Costs | str], list[str]]
) -> None:
    steps = Phase(name="steps", count=8, compute=Amount(1.0, 2.0, 3.0))
    asked = timing(Costs(start=Amount(4.0, 4.0, 4.0), phases=(steps,)))
    plan = plan_study(study, replace(options, timing=True), act=True)
    reproduce.time_unknown(plan)
    # 2 s for 4 images; the second is alike but for the objective: not timed again. So are the two tasks' neighbours.
    assert plan.runs[0].speed == speed.Speed(2.0, "from parts of the steps of cifar10_byol_loss1 timed here")
    assert plan.runs[1].speed == plan.runs[0].speed
    assert asked[0] == "pretrain cifar10_byol_loss1-s0"
    assert set(asked[1:]) == {
        "linear cifar10_byol_loss1--cifar10_linear_adam-s0",
        "knn cifar10_byol_loss1--cifar10_knn5-s0",
    }
    assert len(asked) == 3
    again = plan_study(study, options, act=True)
    assert again.runs[0].speed == plan.runs[0].speed
    assert "about 16 s (2.0 images/s" in line(again, 1)
    assert "2 of 2 evaluations to do, about 40 s" in line(again, 1)  # 4 + 8 × 2 s each
    asked.clear()
    reproduce.time_unknown(again)
    assert asked == []


def test_what_takes_too_long_to_time_stays_unknown(
    study: str, options: Options, timing: Callable[[Costs | str], list[str]]
) -> None:
    timing("not timed: its parts took more than 60 s")
    plan = plan_study(study, options, act=True)
    reproduce.time_unknown(plan)
    assert (
        "4 epochs in batches of 4: unknown (cifar10_byol_loss1 was not timed: its parts took more than 60 s)"
        in line(plan, 1)
    )


def test_runs_that_are_as_fast_share_a_logged_rate(study: str, options: Options) -> None:
    plan = plan_study(study, options, act=False)
    plan.runs[0].folder.mkdir(parents=True)
    log = "".join(json.dumps({"step": step, "images_per_second": 8.0}) + "\n" for step in (1, 2))
    (plan.runs[0].folder / "metrics.jsonl").write_text(log, encoding="utf-8")
    plan = plan_study(study, options, act=False)
    assert "about 4 s (8.0 images/s, from its own log)" in line(plan, 1)
    assert "about 4 s (8.0 images/s, as cifar10_byol_loss1-s0)" in line(plan, 2)


def test_set_values_come_after_the_studys(study: str, options: Options) -> None:
    plan = plan_study(study, replace(options, assignments=["pretrain.epochs=9", "pretrain.lars=timm"]), act=False)
    assert {run.pretrain.recipe.epochs for run in plan.runs} == {9}
    assert {run.pretrain.recipe.subset for run in plan.runs} == {8}  # the study's
    mini = plan_study(study, replace(options, assignments=["pretrain.epochs=9"], profile="mini"), act=False)
    assert {run.pretrain.recipe.epochs for run in mini.runs} == {9}


def test_a_dry_run_times_where_it_is_asked_to(
    study: str, options: Options, timing: Callable[[Costs | str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    timing(Costs(start=Amount(4.0, 4.0, 4.0), phases=(Phase(name="steps", count=4, compute=Amount(0.5, 1.0, 2.0)),)))
    words = ["reproduce", study, "--dry-run", "--data-root", options.data_root[0], "--set", "pretrain.epochs=2"]
    words += ["--work-dir", str(options.work_dir), "--results-dir", str(options.results_dir)]
    assert cli.run(words) == 0
    assert "2 epochs in batches of 4; 2 of 2" in capsys.readouterr().out
    assert not options.work_dir.exists()
    assert cli.run([*words, "--time"]) == 0
    assert "2 epochs in batches of 4: about 4 s (4.0 images/s" in capsys.readouterr().out


def test_an_interrupted_timing_ends_it_all(study: str, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "probe", interrupted)
    with pytest.raises(Interrupted, match=r"Timing cifar10_byol_loss1"):
        run_study(plan_study(study, replace(options, timing=True), act=True))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (7800, "2 h 10 min"), (276000, "3 d 4 h")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# ----------------------------------------------------------------------------------------- command line


def test_bad_input_ends_with_2_and_one_sentence_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA_ROOT", raising=False)
    for words, sentence in (
        (["deck-smal"], "No study 'deck-smal'; did you mean deck-small?"),
        (["deck-small", "--only", "mnist"], "no part on 'mnist'"),
        (["deck-small", "--mini", "--smoke"], "leave one out"),
        (["deck-small"], "No data root for cifar10"),
        (["deck-small", "--only", "cifar100", "--data-root", str(tmp_path / "none")], "none"),
    ):
        assert cli.run(["reproduce", *words]) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("runs/pretrain/*"))


def test_a_dry_run_prints_the_plan_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA_ROOT", raising=False)
    assert cli.run(["reproduce", "deck-small", "--only", "cifar10", "stl10", "--dry-run", "--seeds", "0", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("-s1 ") == out.count("-s0 ") == 3 + 2 + 1 + 2 * len(SLOT)
    assert "missing: No data root for stl10" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sitting_that_leaves_something_ends_with_75(
    study: str,
    options: Options,
    pretended: Pretended,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretended.ends = [OVER]
    words = ["reproduce", study, "--minutes", "10", "--no-time", "--data-root", options.data_root[0]]
    words += ["--work-dir", str(options.work_dir), "--results-dir", str(options.results_dir)]
    assert cli.run(words) == 75
    said = capsys.readouterr().err
    assert re.search(r"The time is over; pretrain .* 2 of 2 runs are left. Go on with: bench reproduce tiny", said)
    monkeypatch.setattr(cli, "_print_small_images", lambda results: None)  # the pretended records hold nothing
    assert cli.run(words) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_sitting_leaves_a_checkpoint_that_the_next_goes_on_from(
    tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock counts steps that are logged, not seconds: a slow machine sits longer."""
    write_study(tmp_path / "results", "endless", 100000, ("cifar10_byol_loss1", "cifar10_knn5"))
    (run,) = plan_study("endless", options, act=True).runs

    def steps() -> int:
        return max((entry["step"] for entry in read_metrics(run.folder)), default=0)

    reached = [0]
    monkeypatch.setattr(local, "clock", lambda: 60.0 * min(2, steps() - reached[-1]))
    for _ in range(2):
        with pytest.raises(MoreToDo, match=r"pretrain cifar10_byol_loss1-s0"):
            run_study(plan_study("endless", replace(options, minutes=2), act=True))
        (run,) = plan_study("endless", options, act=True).runs
        assert run.state == "begun"
        reached.append(steps())
    assert reached[2] >= reached[1] + 2 >= 4
    assert [entry["step"] for entry in read_metrics(run.folder)] == list(range(1, reached[2] + 1))
    assert run.images_left() == (200000 - reached[2]) * 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_smoke_runs_one_data_set_and_a_second_time_nothing(bench: Run, bench_here: Run, tmp_path: Path) -> None:
    """Without a data root: it renders what it needs."""
    words = ("reproduce", "deck-small", "--smoke")
    done = bench(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| cifar10   | 32           | byol+two-loss |" in done.stdout
    records = [json.loads(file.read_text()) for file in tmp_path.glob("runs/smoke/results/records/*.json")]
    assert len(records) == 4
    both = next(record for record in records if "two_loss" in record["pretrain"])["pretrain_metrics"]
    assert set(both) == {"loss", "loss1", "loss2"}
    assert both["loss"] == pytest.approx(both["loss1"] + both["loss2"], abs=1e-4)
    again = bench_here(*words)
    assert again.returncode == 0, again.stderr
    assert "2 runs, 2 recorded" in again.stdout
    assert "[1/" not in again.stdout
