"""A run whose disk fails: it stops with one sentence or waits, its older checkpoint is whole, and it goes on later.

Most errors are raised in the place of the system's own, so that the tests run everywhere; one disk is really full.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from stand_in import assert_same_run, recipe, train
from tensorboard.summary.writer.record_writer import RecordWriter

from bench import storage
from bench.errors import BadInput, StageFailed
from bench.train import checkpoint
from bench.train.checkpoint import LAST, epoch_file, read
from bench.train.metrics_log import FILE, MetricsLog, read_metrics

FOREGROUND = {"every_steps": 2, "keep_every_epochs": 1, "background": False}
Break = Callable[[Path, int], None]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    train(folder, recipe())
    return folder


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def half_written(patch: pytest.MonkeyPatch, number: int) -> None:
    def save(stream: Any, _content: Any) -> str:
        stream.write(b"half of it")
        raise error(number)

    patch.setattr(checkpoint, "save_archive", save)


def unsynced(patch: pytest.MonkeyPatch, number: int) -> None:
    def fsync(_handle: int) -> None:
        raise error(number)

    patch.setattr(os, "fsync", fsync)


def not_renamed(patch: pytest.MonkeyPatch, number: int) -> None:
    replace = Path.replace

    def fail(source: Path, target: Path) -> Path:
        if Path(target).name != LAST:
            return replace(source, target)
        raise error(number)

    patch.setattr(Path, "replace", fail)


@pytest.mark.parametrize(
    ("how", "number", "remedy"),
    [
        (half_written, errno.ENOSPC, "Free space there, then run it again"),
        (half_written, errno.EDQUOT, "Free space there, or ask for a larger quota, then run it again"),
        (half_written, errno.EROFS, "Mount that disk for writing, then run it again"),
        (unsynced, errno.EIO, "Check that disk, or its server, then run it again"),
        (not_renamed, errno.EIO, "Check that disk, or its server, then run it again"),
        (not_renamed, errno.ESTALE, "Mount that share again, then run it again"),
    ],
)
def test_a_disk_that_fails_ends_a_run_with_what_to_do_and_it_goes_on_later(
    how: Callable[[pytest.MonkeyPatch, int], None],
    number: int,
    remedy: str,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:

        def hook(step: int) -> None:
            if step == 4:
                how(patch, number)

        with pytest.raises(StageFailed) as caught:
            train(tmp_path, recipe(checkpoint=FOREGROUND), hook=hook)
    words = str(caught.value)
    assert words.startswith(f"Cannot write {tmp_path / LAST} ({os.strerror(number)}); {LAST} of step ")
    assert words.endswith(f"stays. {remedy} to go on.")
    kept = read(tmp_path / LAST)["step"]
    assert f"{LAST} of step {kept} stays" in words
    assert kept == 3  # of the end of the first epoch, which is kept as well
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]
    train(tmp_path, recipe(checkpoint=FOREGROUND))
    assert_same_run(tmp_path, straight)


def test_a_folder_that_is_deleted_while_a_run_trains_is_said_to_be_gone(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def hook(step: int) -> None:
        if step == 4:
            shutil.rmtree(folder)

    with pytest.raises(StageFailed) as caught:
        train(folder, recipe(checkpoint=FOREGROUND), hook=hook)
    assert str(caught.value) == (
        f"Cannot write {folder / LAST} (No such file or directory); the folder is gone, and its checkpoints with it: "
        "put it back, or run it again to start anew."
    )
    assert not folder.exists()
    train(folder, recipe())
    assert_same_run(folder, straight)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """A folder, what fills its disk, and what frees it: a file system in memory, or, without the right to mount one,
    a limit on the size of files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if shutil.which("mount") and os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0:
        filler = folder / "filler"

        def fill() -> None:
            with suppress(OSError), filler.open("wb", buffering=0) as stream:
                while True:
                    stream.write(b"\0" * 512)

        try:
            yield folder, fill, filler.unlink
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield (
            folder,
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1])),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_while_a_run_trains(
    small_disk: tuple[Path, Callable[[], None], Callable[[], None]], straight: Path
) -> None:
    disk, fill, free = small_disk
    folder = disk / "run"
    with pytest.raises(StageFailed, match=r"Cannot write .*\((No space left on device|File too large)\); last"):
        train(folder, recipe(checkpoint=FOREGROUND), hook=lambda step: fill() if step == 4 else None)
    assert read(folder / LAST)["step"] == 3
    free()
    train(folder, recipe())
    assert_same_run(folder, straight)


# ------------------------------------------------------------------------------------------------ waiting


class Full:
    """The writing of a disk that has no room for the first so many checkpoints after step 2."""

    def __init__(self, times: int, then: Callable[[], None] = lambda: None) -> None:
        self.left, self.tries, self.then, self.save = times, 0, then, checkpoint.save_archive

    def __call__(self, stream: Any, content: Any) -> str:
        if content["step"] > 2 and self.left:
            self.left, self.tries = self.left - 1, self.tries + 1
            stream.write(b"as much as there is room for")
            self.then()
            raise error(errno.ENOSPC)
        return self.save(stream, content)


@pytest.mark.parametrize("background", [False, True])
def test_a_run_waits_for_room_where_it_is_told_to(
    background: bool,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = Full(3)
    monkeypatch.setenv(storage.VARIABLE, "60")
    monkeypatch.setattr(storage, "TRY_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "save_archive", full)
    train(tmp_path, recipe(checkpoint=FOREGROUND | {"background": background}))
    assert full.tries == 3
    said = [line for line in capsys.readouterr().out.splitlines() if "waits for space" in line]
    assert said == [
        f"{tmp_path / epoch_file(0)} waits for space (No space left on device), for 60 more minutes at most; "
        "free some, or stop the run with Ctrl-C"
    ]
    assert_same_run(tmp_path, straight)


@pytest.mark.parametrize("background", [False, True])
def test_a_signal_ends_the_waiting(background: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Full(100, then=lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setenv(storage.VARIABLE, "0.2")  # so that a run which does not notice ends as well
    monkeypatch.setattr(checkpoint, "save_archive", full)
    with pytest.raises(StageFailed, match=r"No space left on device\); last\.ckpt of step 2 stays"):
        train(tmp_path, recipe(checkpoint=FOREGROUND | {"background": background}))
    assert full.tries == 1
    assert read(tmp_path / LAST)["step"] == 2


# ------------------------------------------------------------------------------------------------ what only informs


def test_a_log_that_cannot_be_written_is_said_once_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stream:
        """A file whose disk has room for some bytes alone."""

        def __init__(self, file: Path) -> None:
            self.stream, self.room = file.open("ab", buffering=0), 30

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise error(errno.ENOSPC)
            written = self.stream.write(data[: self.room])
            self.room -= written
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

    with MetricsLog(tmp_path, 0) as log:
        stream = Stream(tmp_path / FILE)
        monkeypatch.setattr(log, "_stream", stream)
        for step in (1, 2, 3):
            log.write(step, {"loss": 0.5})
            log.flush()
        assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.5}]  # no half of a line
        stream.room = 1_000
        log.write(4, {"loss": 0.25})
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4]
    words = f"The log of {tmp_path} cannot be written (No space left on device); training goes on."
    assert capsys.readouterr().out.splitlines() == [words]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_goes_on_where_tensorboard_cannot_write(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(_writer: RecordWriter, _data: bytes) -> None:
        raise error(errno.ENOSPC)

    monkeypatch.setattr(RecordWriter, "write", full)
    train(tmp_path / "full", recipe())
    monkeypatch.undo()
    shown = capfd.readouterr()
    assert shown.out.count("cannot be written (No space left on device); training goes on.") == 1
    assert "Traceback" not in shown.err
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "tensorboard").touch()
    train(blocked, recipe())
    assert "cannot be written (File exists); training goes on." in capfd.readouterr().out
    for folder in (tmp_path / "full", blocked):
        assert_same_run(folder, straight)


# ------------------------------------------------------------------------------------------------ room before a run


def test_a_run_that_has_no_room_for_its_checkpoints_is_refused_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "measured", recipe())
    content = read(tmp_path / "measured" / LAST)
    model = sum(tensor.nbytes for tensor in content["objective"].values())
    momenta = sum(state["momentum_buffer"].nbytes for state in content["optimizer"]["state"].values())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=1_000))
    steps: list[int] = []
    with pytest.raises(BadInput) as caught:
        train(tmp_path / "small", recipe(), hook=steps.append)
    words = str(caught.value)
    assert words.startswith("tiny needs room for 3 whole checkpoints and 3 of epochs to keep, in all ")
    assert words.endswith(f"but {tmp_path / 'small'} has 1 KB free; free space there or give another --work-dir.")
    assert steps == []
    said = float(words.partition("in all ")[2].partition(" KB")[0]) * 1e3
    assert said == pytest.approx(3 * (model + momenta) + 3 * model, rel=0.01)
    # One whole checkpoint alone is written of a run that ends after its first.
    short = recipe(epochs=1, checkpoint={})
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=2 * model + momenta - 1))
    with pytest.raises(BadInput, match="room for 1 whole checkpoints and 1 of epochs to keep"):
        train(tmp_path / "short", short)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=2 * model + momenta))
    train(tmp_path / "short", short)
