"""Stages side by side: which runs when and on what, and what becomes of the others when one fails or Ctrl-C comes.

Short scripts stand for the stages. None depends on time: who must run beside another waits for it, and fails without.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from bench import cli
from bench.config.load import load_recipe, load_task
from bench.errors import BadInput, Interrupted, StageFailed
from bench.execute import devices, schedule
from bench.execute.grid import Grid
from bench.execute.stage_file import Done, known_memory_mib, write_done
from bench.plan import Planner

Run = Callable[..., "CompletedProcess[str]"]

STAGE = """
import json, os, signal, sys, time
from pathlib import Path
folder, place, processes = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
stage = json.loads((folder / "stage.json").read_text())
title = stage["kind"] + " " + stage["label"]
behaviour = json.loads((place / "behaviour.json").read_text()).get(title, {})
def stop(*_):
    print("stopped well", flush=True)
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
alone = place / "alone"
try:
    alone.touch(exist_ok=False)
except FileExistsError:
    (place / "together").touch()
facts = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "BENCH_SHARED_BY")}
facts |= {"title": title, "processes": processes}
with (place / "order").open("a") as file:
    file.write(json.dumps(facts) + "\\n")
(place / title.replace(" ", "_")).touch()
until = time.monotonic() + 60
for other in behaviour.get("meet", []):
    while not (place / other.replace(" ", "_")).exists():
        if time.monotonic() > until:
            sys.exit("did not meet " + other)
        time.sleep(0.01)
for number in behaviour.get("signal", []):
    os.kill(os.getppid(), number)
if "signal" in behaviour:
    time.sleep(60)
alone.unlink(missing_ok=True)
if behaviour.get("cancelled"):
    (folder / "cancel").touch()
print("the end of", title, flush=True)
sys.exit(behaviour.get("code", 0))
"""

ONE, OTHER = "coco", "coco_two_loss"
LINEAR, KNN = "imagenet_linear", "imagenet_knn"


class Stages:
    """Makes a grid of stages that are scripts, and says what they were told, in the order of their starts."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.behave({})

    def behave(self, behaviour: Mapping[str, Any]) -> None:
        (self.place / "behaviour.json").write_text(json.dumps(behaviour))

    def grid(self, *recipes: str, tasks: tuple[str, ...] = ()) -> Grid:
        planner = Planner(lambda name: f"fingerprint of {name}")
        of_recipes = [load_recipe(name, "smoke") for name in recipes]
        stages = planner.grid(of_recipes, [load_task(name, "smoke") for name in tasks], [0])
        return Grid(
            stages=stages,
            states=dict.fromkeys((stage.fingerprint for stage in stages), "to do"),
            roots={},
            problems={},
            work_dir=self.place / "runs",
            results_dir=self.place / "results",
        )

    def told(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.place / "order").read_text().splitlines()]

    def order(self) -> list[str]:
        return [facts["title"] for facts in self.told()]


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    def start(folder: Path, processes: int, environ: Mapping[str, str], output: int) -> Any:
        words = [sys.executable, "-I", "-S", "-c", STAGE, folder, tmp_path, str(processes)]
        return subprocess.Popen(words, start_new_session=True, env=environ, stdout=output, stderr=output)

    monkeypatch.setattr(schedule, "start", start)
    monkeypatch.setattr(schedule, "cuda_devices", list)
    monkeypatch.setattr(schedule, "available_memory", lambda: 1 << 40)
    monkeypatch.setattr(schedule, "cores", lambda: 16)
    monkeypatch.setattr(schedule, "POLL_SECONDS", 0.01)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Stages(tmp_path)


def test_what_unblocks_most_comes_first(stages: Stages) -> None:
    grid = stages.grid("random_init", ONE, tasks=(LINEAR, KNN))
    titles = [stage.title for stage in schedule.ordered(grid.stages)]
    assert titles[:4] == [f"{kind} {name}-s0" for kind in ("pretrain", "convert") for name in ("random_init", ONE)]
    done_before = [stage for stage in grid.stages if stage.label != f"{ONE}-s0"]  # its trunk is there already
    titles = [stage.title for stage in schedule.ordered(done_before)]
    assert titles[:2] == ["pretrain random_init-s0", "convert random_init-s0"]
    assert set(titles[2:]) == {stage.title for stage in grid.stages if stage.is_task}


def test_one_at_a_time_goes_down_the_longest_chain(stages: Stages) -> None:
    schedule.run_side_by_side(stages.grid(ONE, OTHER, tasks=(KNN,)), 1, 1)
    pretrain, convert = f"pretrain {ONE}-s0", f"convert {ONE}-s0"
    order = stages.order()
    assert order[0] == pretrain
    assert sorted(order) == sorted({stage.title for stage in stages.grid(ONE, OTHER, tasks=(KNN,)).stages})
    assert order.index(pretrain) < order.index(convert) < order.index(f"knn {ONE}--{KNN}-s0")
    assert order.index(f"pretrain {OTHER}-s0") < order.index(f"knn {ONE}--{KNN}-s0")  # two stages wait for it


def test_stages_run_at_once_on_gpus_of_their_own(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "cuda_devices", lambda: ["5", "GPU-a", "1"])
    one, other = f"pretrain {ONE}-s0", f"pretrain {OTHER}-s0"
    stages.behave({one: {"meet": [other]}, other: {"meet": [one]}})
    schedule.run_side_by_side(stages.grid(ONE, OTHER, tasks=(LINEAR,)), 2, 1)
    told = {facts["title"]: facts for facts in stages.told()}
    assert {told[one]["CUDA_VISIBLE_DEVICES"], told[other]["CUDA_VISIBLE_DEVICES"]} == {"5", "GPU-a"}
    assert told[f"convert {ONE}-s0"]["CUDA_VISIBLE_DEVICES"] == ""  # it computes nothing there
    assert told[f"linear {ONE}--{LINEAR}-s0"]["CUDA_VISIBLE_DEVICES"] in {"5", "GPU-a"}
    assert {(facts["BENCH_SHARED_BY"], facts["OMP_NUM_THREADS"]) for facts in told.values()} == {("2", "8")}


def test_on_a_cpu_a_stage_keeps_the_threads_that_it_has_alone(stages: Stages) -> None:
    schedule.run_side_by_side(stages.grid(ONE, OTHER), 2, 1)
    told = stages.told()
    assert {(facts["BENCH_SHARED_BY"], facts["OMP_NUM_THREADS"]) for facts in told} == {("2", None)}


def test_a_stage_gets_as_many_gpus_as_its_kind_can_use(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "cuda_devices", lambda: ["0", "1", "2", "3"])
    schedule.run_side_by_side(stages.grid(ONE, tasks=("diagnostics",)), 4, 2)
    told = {facts["title"].split()[0]: facts for facts in stages.told()}
    got = {kind: (facts["processes"], facts["CUDA_VISIBLE_DEVICES"]) for kind, facts in told.items()}
    assert got == {"pretrain": ("2", "0,1"), "convert": ("1", ""), "diagnostics": ("1", "0")}


def test_what_needs_no_gpu_runs_beside_what_has_them_all(stages: Stages) -> None:
    control = "pretrain random_init-s0"
    stages.behave({f"pretrain {ONE}-s0": {"meet": [control, "convert random_init-s0"]}})
    schedule.run_side_by_side(stages.grid(ONE, "random_init"), 1, 1)
    assert sorted(stages.order()[:2]) == sorted([control, f"pretrain {ONE}-s0"])


def test_without_memory_one_runs_after_another(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "available_memory", lambda: 1)
    schedule.run_side_by_side(stages.grid(ONE, OTHER, "random_init", tasks=(KNN,)), 4, 1)
    assert len(stages.order()) == 9
    assert not (stages.place / "together").exists()


def test_a_stage_is_taken_to_need_what_it_took_before(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "available_memory", lambda: 10 << 30)
    one, other = f"pretrain {ONE}-s0", f"pretrain {OTHER}-s0"
    stages.behave({one: {"meet": [other]}, other: {"meet": [one]}})
    schedule.run_side_by_side(stages.grid(ONE, OTHER), 2, 1)  # nothing is known: 4 GiB each
    for file in stages.place.glob("*_*-s0"):
        file.unlink()
    (stages.place / "together").unlink()
    stages.behave({})
    for name in (f"pretrain/{ONE}", f"convert/{ONE}", f"convert/{OTHER}", f"knn/x--{KNN}"):
        folder = stages.place / "runs" / f"{name}-s1-0123456789ab"
        folder.mkdir(parents=True)
        done = Done(fingerprint="", metrics={}, wall_seconds=1.0, peak_memory_mib={"process": 7000.0}, finished="")
        write_done(folder, done)
    assert known_memory_mib(stages.place / "runs", "pretrain", ONE) == 7000.0
    assert known_memory_mib(stages.place / "runs", "knn", KNN) == 7000.0
    assert known_memory_mib(stages.place / "runs", "pretrain", OTHER) == 0.0
    schedule.run_side_by_side(stages.grid(ONE, OTHER), 2, 1)
    assert not (stages.place / "together").exists()


def test_a_failure_leaves_what_does_not_need_it(stages: Stages, capfd: pytest.CaptureFixture[str]) -> None:
    stages.behave({f"pretrain {ONE}-s0": {"code": 1}})
    with pytest.raises(StageFailed, match=f"3 of 6 stages did not finish: pretrain {ONE}-s0, convert {ONE}-s0, knn"):
        schedule.run_side_by_side(stages.grid(ONE, OTHER, tasks=(KNN,)), 2, 1)
    assert [title for title in stages.order() if OTHER in title] == [
        f"pretrain {OTHER}-s0",
        f"convert {OTHER}-s0",
        f"knn {OTHER}--{KNN}-s0",
    ]
    said = capfd.readouterr().out
    assert f"pretrain {ONE}-s0: failed (exit code 1): the end of pretrain {ONE}-s0 (log: " in said
    assert f"knn {ONE}--{KNN}-s0: not run, convert {ONE}-s0 failed" in said
    assert "the end of pretrain" not in said.replace(f"failed (exit code 1): the end of pretrain {ONE}-s0", "")
    (log,) = (stages.place / "runs" / "pretrain").glob(f"{OTHER}-s0-*/log.txt")
    assert log.read_text() == f"the end of pretrain {OTHER}-s0\n"
    assert str(log) in said


def test_a_cancelled_stage_leaves_what_does_not_need_it(stages: Stages, capfd: pytest.CaptureFixture[str]) -> None:
    stages.behave({f"pretrain {ONE}-s0": {"code": 130, "cancelled": True}})
    with pytest.raises(StageFailed, match=f"2 of 4 stages did not finish: pretrain {ONE}-s0, convert {ONE}-s0"):
        schedule.run_side_by_side(stages.grid(ONE, OTHER), 2, 1)
    assert stages.order()[2:] == [f"convert {OTHER}-s0"]
    said = capfd.readouterr().out
    assert f"pretrain {ONE}-s0: cancelled by bench cancel; its last checkpoint stays: the end of" in said
    assert f"convert {ONE}-s0: not run, pretrain {ONE}-s0 failed" in said


def test_bad_input_alone_ends_as_bad_input(stages: Stages, capfd: pytest.CaptureFixture[str]) -> None:
    stages.behave({f"pretrain {ONE}-s0": {"code": 2}})
    with pytest.raises(BadInput, match="2 of 2 stages did not finish"):
        schedule.run_side_by_side(stages.grid(ONE), 2, 1)


@pytest.mark.parametrize("numbers", [[2], [15], [1, 1]])
def test_ctrl_c_stops_all_and_is_acknowledged_once(
    stages: Stages, capfd: pytest.CaptureFixture[str], numbers: list[int]
) -> None:
    one, other = f"pretrain {ONE}-s0", f"pretrain {OTHER}-s0"
    stages.behave({one: {"meet": [other], "signal": numbers}, other: {"meet": [one], "signal": [0]}})
    with pytest.raises(Interrupted, match=f"Interrupted: {one}, {other}; what was finished stays"):
        schedule.run_side_by_side(stages.grid(ONE, OTHER, tasks=(KNN,)), 2, 1)
    assert sorted(stages.order()) == sorted([one, other])
    said = capfd.readouterr().out
    assert said.count("Stopping") == 1
    assert "Stopping 2 stages after the step at hand" in said
    for log in (stages.place / "runs" / "pretrain").glob("*/log.txt"):
        assert log.read_text() == "stopped well\n"


def test_a_terminal_that_says_twice_that_it_is_closed_ends_nothing_at_once(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = "def stop(*_):\n    os.kill(os.getppid(), signal.SIGHUP)\n    time.sleep(0.5)"  # to be killed in, if it is
    monkeypatch.setitem(globals(), "STAGE", STAGE.replace("def stop(*_):", again))
    stages.behave({f"pretrain {ONE}-s0": {"signal": [1]}})
    with pytest.raises(Interrupted):
        schedule.run_side_by_side(stages.grid(ONE), 2, 1)
    (log,) = (stages.place / "runs" / "pretrain").glob("*/log.txt")
    assert log.read_text() == "stopped well\n"


def test_a_second_ctrl_c_ends_all_at_once(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    unresponsive = "signal.signal(signal.SIGINT, lambda *_: os.kill(os.getppid(), signal.SIGINT))"
    monkeypatch.setitem(globals(), "STAGE", STAGE.replace("signal.signal(signal.SIGINT, stop)", unresponsive))
    stages.behave({f"pretrain {ONE}-s0": {"signal": [2]}})
    with pytest.raises(Interrupted):
        schedule.run_side_by_side(stages.grid(ONE), 2, 1)
    assert stages.order() == [f"pretrain {ONE}-s0"]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_more_gpus_than_there_are(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: ["0", "1"])
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.chdir(tmp_path)
    words = [command, "--smoke", "--pretrain", "coco", "--gpus"]
    assert cli.run([*words, "3"]) == 2
    assert capsys.readouterr().err == "bench: --gpus 3 is more than the 2 GPUs here; give --gpus 2.\n"
    assert cli.run([*words, "2", "--per-stage", "3"]) == 2
    assert "--per-stage 3 is more than --gpus 2; lower it, or raise --gpus." in capsys.readouterr().err
    monkeypatch.setenv(devices.VISIBLE, "6")
    monkeypatch.setattr(devices, "cuda_devices", lambda: ["6"])
    assert cli.run([*words, "2"]) == 2
    assert "the 1 GPU in CUDA_VISIBLE_DEVICES here; give --gpus 1." in capsys.readouterr().err


def test_a_stage_and_a_study_refuse_them_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: ["0", "1"])
    for words in (["stage", str(tmp_path)], ["reproduce", "deck-small", "--dry-run", "--no-time"]):
        assert cli.run([*words, "--gpus", "8"]) == 2
        assert "--gpus 8 is more than the 2 GPUs" in capsys.readouterr().err


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.cuda_devices({}) == ["0", "1"]
    assert devices.cuda_devices({devices.VISIBLE: " 7, GPU-b"}) == ["7", "GPU-b"]
    assert devices.cuda_devices({devices.VISIBLE: "7,3,-1,2"}) == ["7", "3"]  # CUDA ignores what follows
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.cuda_devices({devices.VISIBLE: "0"}) == []


def test_planning_takes_any_number_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_devices", list)
    devices.check_gpus(64, 8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_side_by_side_gives_the_bits_of_one_after_the_other(
    bench: Run, tmp_path: Path, render_into: Callable[[Path], Path]
) -> None:
    from safetensors.torch import load_file

    words = ("run", "--smoke", "--pretrain", "random_init", "--seeds", "0", "1")
    words += ("--downstream", "imagenet_knn", LINEAR, "--set", "arch=resnet18w16")
    found = []
    for name, more in (("serial", ()), ("beside", ("--gpus", "2", "--per-stage", "1"))):
        render_into(tmp_path / name)
        done = bench(*words, *more, "--work-dir", tmp_path / name, "--results-dir", tmp_path / name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("8 stages, at most 2 side by side" in done.stdout) == (name == "beside")
        facts: dict[str, Any] = {}
        for file in (tmp_path / name / "records").glob("*.json"):
            record = json.loads(file.read_text())
            assert 0 <= record["data_wait_share"][record["kind"]] <= 1
            facts[file.name] = {key: record[key] for key in ("metrics", "settings", "data", "precision")}
        tensors = {
            file: load_file(file)
            for kind in ("linear", "convert")
            for file in (tmp_path / name).glob(f"{kind}/*/*.safetensors")
        }
        for file, values in tensors.items():
            for key, value in values.items():
                facts[f"{file.parent.name} {key}"] = hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
            file.unlink()  # the disk may be small
        found.append(facts)
        logs = (tmp_path / name).glob("*/*/log.txt")
        waited = {log.parent.parent.name for log in logs if "waiting for data" in log.read_text()}
        assert waited >= ({"linear"} if name == "beside" else set())
    serial, beside = found
    assert len([name for name in serial if name.endswith(".json")]) == 4
    assert len(serial) > 240  # tensors of two trunks and two linear stages among them
    assert beside == serial


def test_a_line_that_nobody_reads_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def isatty(self) -> bool:
            return False

        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    schedule.say("started")
