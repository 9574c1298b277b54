"""The command line: start-up, exit codes, and one sentence for each kind of bad input."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forked import Forks, Started

from bench.cli import run
from bench.execute import stage_file
from bench.execute.grid import Grid
from bench.execute.jobs.holder import Holder
from bench.execute.request import Request

Run = Callable[..., "subprocess.CompletedProcess[str]"]

TINY = ("--set", "arch=resnet18w16", "view_size=32", "pretrain.batch_size=2", "pretrain.subset=4")
TINY += ("objective.hidden_dim=16", "objective.projection_dim=8")


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2 and one sentence, without a traceback, that has all the parts."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("bench: ")]
    assert lines, done.stderr
    for part in parts:
        assert part in lines[0]


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    """The time itself is measured in benchmarks/; here: what would make it slow is not imported."""
    code = (
        "import sys; from bench.cli import run; run(['--help'])\n"
        "heavy = {'torch', 'pandas', 'pydantic', 'mmengine', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("run", "plan", "stage", "table", "list", "show", "doctor", "data"):
        assert command in done.stdout


@pytest.mark.parametrize("seeds", [("--seeds", "0", "1"), ("--seeds", "0", "--seeds", "1"), ("--seeds=0", "--seeds=1")])
def test_options_take_several_values(seeds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def plan(request: Request, *, act: bool, gpus: int) -> Grid:
        assert gpus == 2
        asked.append(request)
        return Grid([], {}, {}, {}, request.work_dir, request.results)

    monkeypatch.setattr("bench.execute.grid.plan_grid", plan)
    monkeypatch.setenv("BENCH_WORK_DIR", "elsewhere")
    assert run(["plan", *seeds, "--gpus", "2", "--pretrain", "a", "b", "--profile", "mini", "--set", "c=1"]) == 0
    wanted = Request(["a", "b"], [], [0, 1], [], "mini", assignments=["c=1"], sweep=[], data_root=[])
    assert asked == [replace(wanted, work_dir=Path("elsewhere"))]


def test_list_and_show(bench: Run, bench_here: Run) -> None:
    names = json.loads(bench("list", "--json").stdout)
    assert {"byol", "two_loss", "patch_byol", "supervised", "random_init"} <= set(names["objectives"])
    assert {"coco_two_loss", "random_init"} <= set(names["pretrain"])
    assert all(summary for entries in names.values() for summary in entries.values())
    assert "coco_two_loss" in bench_here("list").stdout
    shown = bench_here("show", "coco_two_loss", "--profile", "mini", "--set", "epochs=3")
    assert shown.returncode == 0
    values = json.loads(shown.stdout[shown.stdout.index("\n{") :])
    assert (values["epochs"], values["objective"]["loss2"], values["profile"]) == (3, "logistic", "mini")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["run", "--pretrain", "coco_two_los", "--smoke"], ["'coco_two_los'", "did you mean coco_two_loss"]),
        (["run", "--pretrain", "coco", "--downstream", "imagenet_lin", "--smoke"], ["did you mean imagenet_linear"]),
        (["run", "--pretrain", "coco", "--smoke", "--set", "epoch=3"], ["'epoch'", "did you mean epochs"]),
        (["run", "--pretrain", "coco", "--smoke", "--set", "pretrain.epochs=many"], ["'many'", "valid integer"]),
        (["run", "--pretrain", "coco", "--smoke", "--set", "pretrain.objective.tau=1"], ["'objective.tau'"]),
        (["run", "--pretrain", "coco", "--smoke", "--seeds", "-1"], ["--seeds"]),
        (["run", "--pretrain", "coco", "--profile", "huge"], ["huge", "full"]),
        (["run", "--pretrian", "coco"], ["--pretrian", "--pretrain"]),
        (["run"], ["--pretrain"]),
        (["data"], ["No command given", "--help"]),
        (["show", "coc"], ["'coc'", "coco"]),
        (["stage", "nowhere"], ["holds no stage.json"]),
        (["data", "check", "coco"], ["coco", "--data-root"]),
        (["data", "check", "cocoa"], ["cocoa", "coco"]),
        (["run", "--pretrain", "coco", "--profile", "mini"], ["coco", "--data-root"]),
    ],
)
def test_bad_arguments_get_one_sentence(bench_here: Run, tmp_path: Path, words: list[str], parts: list[str]) -> None:
    refused(bench_here(*words), *parts)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.slow
def test_missing_layout_and_empty_class_folder(bench: Run, bench_here: Run, tmp_path: Path, rendered: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = ("run", "--pretrain", "coco", "--profile", "smoke", "--data-root")
    refused(bench(*words, f"coco={tmp_path / 'empty'}"), "train2017")
    refused(bench_here(*words, f"coco={tmp_path / 'nowhere'}"), "nowhere")
    copy = tmp_path / "imagenet"
    shutil.copytree(rendered / "imagenet", copy)
    victim = sorted((copy / "train").iterdir())[0]
    for file in victim.iterdir():
        file.unlink()
    words = ("run", "--pretrain", "imagenet_supervised", "--profile", "smoke", "--data-root")
    refused(bench_here(*words, f"imagenet={copy}"), victim.name)


@pytest.mark.slow
def test_unreadable_image_fails_or_is_counted(bench: Run, bench_here: Run, tmp_path: Path, rendered: Path) -> None:
    copy = tmp_path / "coco"
    shutil.copytree(rendered / "coco", copy)
    victim = sorted((copy / "train2017").glob("*.jpg"))[0]
    victim.write_bytes(victim.read_bytes()[:200])
    checked = bench_here("data", "check", "coco", "--data-root", f"coco={copy}")
    refused(checked, "correct or remove")
    assert victim.name in checked.stdout
    words = (
        "run",
        "--pretrain",
        "coco",
        "--profile",
        "smoke",
        *TINY,
        "pretrain.subset=none",
        "--data-root",
        f"coco={copy}",
    )
    refused(bench(*words), victim.name)
    skipped = bench(*words, "--unreadable", "skip")
    assert skipped.returncode == 0, skipped.stderr
    (done,) = tmp_path.glob("runs/pretrain/*/done.json")
    assert json.loads(done.read_text())["metrics"]["images_skipped"] == 1


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_refused(bench: Run, tmp_path: Path, rendered: Path) -> None:
    from bench.nn.encoder import build_encoder

    weights = tmp_path / "weights.pth"
    words = ("run", "--pretrain", "coco", "--profile", "smoke", *TINY, f"init.checkpoint={weights}")
    words += ("--data-root", str(rendered))
    state = build_encoder("resnet18w16", 0).state_dict()
    torch.save(build_encoder("resnet50w16", 0).state_dict(), weights)
    refused(bench(*words), "resnet18w16", "tensors")
    weights.write_text("no checkpoint at all")
    refused(bench(*words), "weights.pth", "checkpoint")
    torch.save({f"module.encoder_q.{name}": value for name, value in state.items()}, weights)
    assert bench(*words).returncode == 0


@pytest.mark.slow
def test_a_checkpoint_that_carries_code_is_never_unpickled(bench: Run, tmp_path: Path, rendered: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": Bomb()}, weights)
    words = ("run", "--pretrain", "coco", "--profile", "smoke", *TINY, f"init.checkpoint={weights}")
    refused(bench(*words, "--data-root", rendered), "weights.pth", "code")
    assert not (tmp_path / "exploded").exists()
    torch.load(weights, weights_only=False)  # the bomb is real
    assert (tmp_path / "exploded").exists()


def test_folders_that_cannot_be_written(bench_here: Run, tmp_path: Path, rendered: Path) -> None:
    """A file where a folder should be fails for root too, unlike missing permissions."""
    (tmp_path / "file").write_text("")
    words = (
        "run",
        "--pretrain",
        "random_init",
        "--downstream",
        "imagenet_knn",
        "--profile",
        "smoke",
        "--data-root",
        rendered,
    )
    refused(bench_here(*words, "--results-dir", tmp_path / "file" / "results"), "Cannot write", "--results-dir")
    refused(bench_here(*words, "--work-dir", tmp_path / "file" / "runs"), "Cannot write", "--work-dir")


@pytest.mark.slow
def test_dry_run_and_plan_write_nothing(bench_here: Run, tmp_path: Path, rendered: Path) -> None:
    words = (
        "--pretrain",
        "coco_4_1finetune_79_4p",
        "--downstream",
        "imagenet_knn",
        "--profile",
        "smoke",
        "--data-root",
        rendered,
    )
    for command in (("run", *words, "--dry-run"), ("plan", *words)):
        done = bench_here(*command)
        assert done.returncode == 0, done.stderr
        assert "pretrain coco-s0" in done.stdout  # the parent, first
        assert "bench stage runs/pretrain/coco-s0-" in done.stdout
        assert "init: pretrain coco-s0" in done.stdout
        assert "4 stages: 4 to do" in done.stdout
    assert not list(tmp_path.iterdir())


def test_plan_without_data_says_what_is_missing(bench_here: Run) -> None:
    done = bench_here("plan", "--pretrain", "coco")
    assert done.returncode == 0
    assert "data: coco (missing)" in done.stdout
    assert "--data-root" in done.stdout


@pytest.mark.slow
def test_doctor_names_what_is_missing(bench_here: Run, rendered: Path) -> None:
    roots = [f"{name}={rendered / name}" for name in ("coco", "imagenet")]
    done = bench_here("doctor", "--data-root", *roots)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"coco: {rendered / 'coco'}" in done.stdout
    assert "cityscapes: not found; give --data-root cityscapes=DIR" in done.stdout
    assert re.search(r"^class        [a-z0-9-]+ \(.+\): docs/performance.md says", done.stdout, re.MULTILINE)
    assert f"imagenet: {rendered / 'imagenet'}" in done.stdout
    assert f"imagenet100: not found ({rendered / 'imagenet'} has 6 of its 100 classes); give" in done.stdout
    assert f"torch {torch.__version__.split('+')[0]}" in done.stdout


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | Started, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def start_fresh(*words: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def start(forks: Forks) -> Callable[..., Started]:
    """Return start(*words, cwd=FOLDER): starts `bench WORDS` there as a fork of what has imported the libraries."""
    return lambda *words, cwd: forks.popen(["-m", "bench", *words], cwd, os.environ)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "others"),
    [(signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGINT, ("random_init",))],  # several stages: they are forks
)
def test_an_interrupted_run_keeps_its_checkpoint_and_says_how_to_go_on(
    start: Callable[..., Started], tmp_path: Path, rendered: Path, number: signal.Signals, others: tuple[str, ...]
) -> None:
    words = ("run", "--pretrain", "coco", *others, "--profile", "smoke", *TINY, "pretrain.epochs=2000", "log_every=1")
    process = start(*words, "--data-root", rendered, cwd=tmp_path)
    wait_for(lambda: any(tmp_path.glob("runs/pretrain/*/metrics.jsonl")), process)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert err.count("Go on with: ") == 1
    assert "Go on with: bench run --pretrain coco" in err
    (checkpoint,) = tmp_path.glob("runs/pretrain/*/last.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] > 0


def working_on(folder: Path) -> list[int]:
    """The processes that run a stage: its launcher, unless that is a fork, and ranks."""
    pids = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"stage\0{folder}".encode() in place.read_bytes():
                pids.append(int(place.parent.name))
    return pids


@pytest.mark.slow
def test_ranks_end_with_the_process_that_holds_the_stage(tmp_path: Path, rendered: Path) -> None:
    """Otherwise they would train on in the folder where the next run begins."""
    words = ("run", "--pretrain", "coco", "--profile", "smoke", *TINY, "pretrain.epochs=2000", "log_every=1")
    process = start_fresh(*words, "--gpus", 2, "--data-root", rendered, cwd=tmp_path)
    wait_for(lambda: any(tmp_path.glob("runs/pretrain/*/metrics.jsonl")), process)
    (folder,) = tmp_path.glob("runs/pretrain/*")
    holder = int((folder / "holder").read_text().split()[1])
    assert len(working_on(folder)) >= 2  # two ranks; the holder may be a fork of another name
    os.kill(holder, signal.SIGKILL)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1, err
    end = time.monotonic() + 100
    while working_on(folder):
        assert time.monotonic() < end, working_on(folder)
        time.sleep(0.1)


@pytest.mark.slow
def test_the_second_process_on_a_stage_waits_or_leaves(
    start: Callable[..., Started], tmp_path: Path, rendered: Path, bench_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stands still until the second, which is the process of this test, knows that the stage is held."""
    words = ("run", "--pretrain", "coco", "--profile", "smoke", *TINY, "pretrain.epochs=30", "log_every=1")
    first = start(*words, "--data-root", rendered, cwd=tmp_path)
    wait_for(lambda: any(tmp_path.glob("runs/pretrain/*/metrics.jsonl")), first)
    (folder,) = tmp_path.glob("runs/pretrain/*")
    holder = int((folder / "holder").read_text().split()[1])
    look = stage_file.holder_of

    def look_and_let_go_on(place: Path) -> Holder:
        found = look(place)
        os.kill(holder, signal.SIGCONT)
        return found

    os.kill(holder, signal.SIGSTOP)
    try:
        refused(bench_here("stage", folder, "--no-wait"), "is being run by process")
        monkeypatch.setattr(stage_file, "holder_of", look_and_let_go_on)
        second = bench_here("stage", folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder, signal.SIGCONT)
    assert second.returncode == 0, second.stderr
    assert "waiting for process" in second.stdout
    assert "done already" in second.stdout
    assert first.wait() == 0
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))  # nothing was trained twice
