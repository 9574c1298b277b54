from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stand_in
import torch
from forked import Forks
from stand_in import assert_same_run, lines, recipe, train

from bench.errors import BadInput, Interrupted
from bench.timing_gaps import forget_gaps, noted_gaps
from bench.train.checkpoint import LAST, read, write

STEPS = 9

VARIANTS: dict[str, dict[str, Any]] = {
    "lars, accumulated": {"accumulate": 2},
    "sgd, each epoch": {
        "optimizer": {"name": "sgd", "lr": 0.1, "nesterov": True, "weight_decay": 1e-2},
        "checkpoint": {},
        "log_every": 4,
    },
    "adamw, bf16": {"optimizer": {"name": "adamw", "lr": 0.5, "weight_decay": 0.1}, "precision": "bf16"},
}


class Crash(Exception):
    pass


def crash_at(step: int) -> Callable[[int], None]:
    def hook(now: int) -> None:
        if now == step:
            raise Crash

    return hook


def signal_at(step: int, number: int = signal.SIGTERM) -> Callable[[int], None]:
    def hook(now: int) -> None:
        if now == step:
            os.kill(os.getpid(), number)

    return hook


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One undisturbed run for each variant."""
    folders = {name: tmp_path_factory.mktemp("straight") for name in VARIANTS}
    for name, folder in folders.items():
        metrics = train(folder, recipe(**VARIANTS[name]))
        assert metrics["steps"] == STEPS
        assert len(read(folder / LAST)["optimizer"]["state"]) > 0
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, STEPS))
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_stopped_by_a_signal_goes_on_bit_for_bit(
    straight: dict[str, Path], tmp_path: Path, variant: str, step: int
) -> None:
    config = recipe(**VARIANTS[variant])
    with pytest.raises(Interrupted, match=f"after step {step} of {STEPS}"):
        train(tmp_path, config, hook=signal_at(step, (signal.SIGTERM, signal.SIGINT)[step % 2]))
    assert read(tmp_path / LAST)["step"] == step
    metrics = train(tmp_path, config)
    assert metrics["steps"] == STEPS
    assert_same_run(straight[variant], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_crashed_goes_on_bit_for_bit(
    straight: dict[str, Path], tmp_path: Path, variant: str, step: int
) -> None:
    """After a crash the log is ahead of the checkpoint: its lines must not be there twice."""
    config = recipe(**VARIANTS[variant])
    with pytest.raises(Crash):
        train(tmp_path, config, hook=crash_at(step))
    train(tmp_path, config)
    assert_same_run(straight[variant], tmp_path)


def test_a_resumed_run_says_where_it_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    forget_gaps()
    with pytest.raises(Interrupted):
        train(tmp_path, recipe(), hook=signal_at(4))
    said = capfd.readouterr().out
    assert "going on" not in said
    assert noted_gaps() == []
    assert "Stopping after this step, in at most about " in said
    train(tmp_path, recipe())
    assert f"going on after step 4 of {STEPS}, with the weights of {LAST}" in capfd.readouterr().out
    assert noted_gaps() == [f"4 of {STEPS} steps"]


def test_lines_past_the_checkpoint_were_there_and_are_dropped(tmp_path: Path) -> None:
    config = recipe(log_every=1, checkpoint={"every_steps": 4})
    with pytest.raises(Crash):
        train(tmp_path, config, hook=crash_at(7))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert read(tmp_path / LAST)["step"] == 4
    train(tmp_path, config)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, STEPS + 1))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [3, 5])  # the end of an epoch, and the middle of one
def test_resuming_is_exact_with_any_number_of_workers(
    straight: dict[str, Path], tmp_path: Path, workers: int, step: int
) -> None:
    config = recipe(accumulate=2)
    with pytest.raises(Interrupted):
        train(tmp_path, config, workers=workers, hook=signal_at(step))
    train(tmp_path, config, workers=2 - workers)
    assert_same_run(straight["lars, accumulated"], tmp_path)


def test_the_result_does_not_depend_on_the_workers(straight: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path, recipe(accumulate=2), workers=2)
    assert_same_run(straight["lars, accumulated"], tmp_path)


def test_a_finished_run_is_left_as_it_is(straight: dict[str, Path], tmp_path: Path) -> None:
    config = recipe(accumulate=2)
    first = train(tmp_path, config)
    before = {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in tmp_path.iterdir()}
    assert train(tmp_path, config) == first
    assert before == {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in tmp_path.iterdir()}
    assert first["loss"] == lines(tmp_path)[-1]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_to_the_whole_group_leaves_a_checkpoint_that_goes_on(
    straight: dict[str, Path], tmp_path: Path, workers: int, forks: Forks
) -> None:
    """As a cluster and torchrun do it: workers get the signal, too, in the middle of an accumulated step."""
    folder = tmp_path / "run"
    words = [stand_in.__file__, folder, "--workers", workers, "--set", "accumulate=2", "--signal-at", "4"]
    stopped = forks.run(words, Path.cwd(), os.environ)
    assert stopped.returncode == 1
    assert "Interrupted: Stopped after step 4 of 9" in stopped.stderr
    assert read(folder / LAST)["step"] == 4
    train(folder, recipe(accumulate=2))
    assert_same_run(straight["lars, accumulated"], folder)


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    def hook(step: int) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe(), hook=hook)
    assert signal.getsignal(signal.SIGINT) is before
    assert read(tmp_path / LAST)["step"] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 2}, "steps_per_epoch 3, not 7"),
        ({"epochs": 4}, "epochs 3, not 4"),
        ({"arch": "resnet50"}, "arch resnet18, not resnet50"),
        ({"objective": {"name": "byol"}}, "objective stand_in, not byol"),
        ({"accumulate": 2}, "accumulate 1, not 2"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    train(tmp_path, recipe())
    with pytest.raises(BadInput, match=words) as caught:
        train(tmp_path, recipe(**change))
    assert f"remove {tmp_path / LAST}" in str(caught.value)


def test_a_checkpoint_that_does_not_fit_or_is_damaged_is_refused(tmp_path: Path) -> None:
    config = recipe()
    train(tmp_path, config)
    content = read(tmp_path / LAST)
    del content["objective"]["projector.weight"]
    write(tmp_path / LAST, content)
    with pytest.raises(BadInput, match=r"does not fit this run .*projector\.weight"):
        train(tmp_path, config)
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:1000])
    (tmp_path / "previous.ckpt").unlink()
    with pytest.raises(BadInput, match=r"damaged.*; remove .*last\.ckpt to start this run anew\.$"):
        train(tmp_path, config)


def test_tensors_keep_their_layout(tmp_path: Path) -> None:
    """LARS sums in the order of memory: a layout lost on the way would change the last bits."""
    train(tmp_path, recipe())
    weight = read(tmp_path / LAST)["objective"]["encoder.0.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last)


def spoil(file: Path) -> None:
    """Change one bit of the weights."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_ends_the_same(
    straight: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = recipe(accumulate=2)
    with pytest.raises(Interrupted):
        train(tmp_path, config, hook=signal_at(5))
    steps = [read(tmp_path / name)["step"] for name in ("previous.ckpt", LAST)]
    assert steps[0] < steps[1] == 5
    for _ in range(2):  # however often it is started anew: the one before must not be lost
        spoil(tmp_path / LAST)
        with pytest.raises(Crash):
            train(tmp_path, config, hook=crash_at(steps[0] + 1))
        said = capfd.readouterr().out
        assert f"{LAST} is damaged: its checksum is not that of its content: going on from previous.ckpt, the" in said
        assert f"going on after step {steps[0]} of {STEPS}" in said
        assert [read(tmp_path / name)["step"] for name in ("previous.ckpt", LAST)] == [steps[0]] * 2
    train(tmp_path, config)
    assert_same_run(straight["lars, accumulated"], tmp_path)


def test_of_two_damaged_checkpoints_one_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, recipe(), hook=signal_at(5))
    spoil(tmp_path / LAST)
    spoil(tmp_path / "previous.ckpt")
    with pytest.raises(BadInput) as caught:
        train(tmp_path, recipe())
    assert str(caught.value) == (
        f"{tmp_path / LAST} is damaged: its checksum is not that of its content, and so is previous.ckpt, the one "
        "before; remove both to start anew."
    )


def test_without_one_before_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, recipe(checkpoint={}), hook=signal_at(1))
    assert not (tmp_path / "previous.ckpt").exists()
    spoil(tmp_path / LAST)
    with pytest.raises(BadInput, match=r"is damaged: .*; remove .*last\.ckpt to start this run anew\.$"):
        train(tmp_path, recipe(checkpoint={}))


def test_a_run_that_starts_anew_forgets_the_one_before(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, recipe(), hook=signal_at(5))
    (tmp_path / LAST).unlink()
    with pytest.raises(Interrupted):
        train(tmp_path, recipe(checkpoint={}), hook=signal_at(1))
    assert read(tmp_path / LAST)["step"] == 1
    assert not (tmp_path / "previous.ckpt").exists()


def test_where_files_have_one_name_alone_the_one_before_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError("no hard links")

    monkeypatch.setattr(os, "link", link)
    for step in (1, 2):
        write(tmp_path / LAST, {"objective": {}, "step": step})
    assert [read(tmp_path / name)["step"] for name in ("previous.ckpt", LAST)] == [1, 2]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(({key: None}, f"it lacks {key}") for key in ("run", "step", "optimizer", "meter", "skipped", "logged")),
        ({"run": 3}, "its run is of the type int"),
        ({"step": "3"}, "its step is of the type str"),
        ({"step": -1}, "it counts fewer than 0 steps or images"),
        ({"meter": {}}, "does not fit this run .KeyError: 'sums'"),
        ({"meter": {"sums": [], "parts": 1}}, "does not fit this run .AttributeError"),
        ({"optimizer": {}}, "does not fit this run .KeyError"),
        ({"optimizer": {"state": 3, "param_groups": 3}}, "does not fit this run .TypeError"),
    ],
)
def test_a_state_that_is_not_whole_is_one_sentence(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(Crash):
        train(tmp_path, recipe(), hook=crash_at(4))
    content = read(tmp_path / LAST) | change
    write(tmp_path / LAST, {key: value for key, value in content.items() if value is not None})
    with pytest.raises(BadInput, match=rf"^\S+last\.ckpt .*{said}.*; remove \S+last\.ckpt to start this run anew\.$"):
        train(tmp_path, recipe())


def test_a_log_with_bad_bytes_stops_no_resume(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        train(tmp_path, recipe(), hook=crash_at(4))
    log = tmp_path / "metrics.jsonl"
    first, *others = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([first[:5] + b"\xff" + first[6:], *others]))
    assert train(tmp_path, recipe())["steps"] == STEPS
    assert [line["step"] for line in stand_in.read_metrics(tmp_path)] == [4, 6, 8, 9]
