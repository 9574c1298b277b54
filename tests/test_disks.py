"""What is written on a disk that fails: nothing is half there, and the message says which file, why, and what to do."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from bench import cli, storage
from bench.architectures import parameters_of
from bench.config.load import load_recipe, load_task
from bench.convert.checksums import save_archive
from bench.convert.dialects import COUNTER, trunk_shapes
from bench.data.packs import unfinished
from bench.errors import BadInput, CannotWrite, StageFailed, writing_to
from bench.execute import stage_ending
from bench.execute.grid import Request, plan_grid
from bench.execute.recording import created_after
from bench.execute.room import check_room, sizes_of
from bench.execute.stage_ending import REPORT, kept_traceback
from bench.execute.stage_file import held, read_stage, write_stage
from bench.execute.stage_log import LOG, logged
from bench.files import remove_tree, replacing, second_name, write_text
from bench.plan import Planner, Stage
from bench.stages import feature_cache
from bench.stages.feature_cache import FeatureCache, clean
from bench.storage import when_there_is_room
from bench.synthetic import render


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


# ------------------------------------------------------------------------------------------------ one file


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space there"),
        (errno.EDQUOT, "free space there, or ask for a larger quota"),
        (errno.EROFS, "mount that disk for writing"),
        (errno.EIO, "check that disk, or its server"),
        (errno.ESTALE, "mount that share again"),
        (errno.EACCES, "correct its permissions"),
        (errno.ENXIO, "check that disk"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_with_why_and_what_to_do(
    number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state"
    write_text(file, "old")
    monkeypatch.setattr(Path, "replace", failing(number))
    with pytest.raises(CannotWrite) as caught:
        write_text(file, "new")
    words = f"Cannot write {file} ({os.strerror(number)}); {remedy}, then run it again to go on."
    assert (str(caught.value), caught.value.errno, caught.value.exit_code) == (words, number, StageFailed.exit_code)
    assert isinstance(caught.value, StageFailed)  # so that no traceback is shown
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_that_cannot_even_be_tidied_says_what_went_wrong_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", failing(errno.EIO))
    monkeypatch.setattr(Path, "unlink", failing(errno.EROFS))
    with pytest.raises(CannotWrite, match="Input/output error"):
        write_text(tmp_path / "state", "new")


def test_a_server_that_renamed_and_then_says_that_the_file_is_gone_has_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def twice(source: Path, target: Path) -> None:
        replace(source, target)
        replace(source, target)  # as a request that is sent again is answered

    file = tmp_path / "state"
    write_text(file, "old")
    monkeypatch.setattr(Path, "replace", twice)
    write_text(file, "new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("number", "fails"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_file_system_that_cannot_sync_folders_is_taken_as_it_is(
    number: int, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, calls = os.fsync, list[int]()

    def second_fails(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:  # the first one is of the file
            raise OSError(number, os.strerror(number))
        fsync(handle)

    def write() -> None:
        with replacing(tmp_path / "state", durable=True) as temporary:
            temporary.write_text("new")

    monkeypatch.setattr(os, "fsync", second_fails)
    if fails:
        with pytest.raises(CannotWrite, match="Input/output error"):
            write()
    else:
        write()
    assert len(calls) == 2
    assert (tmp_path / "state").read_text() == "new"


def test_an_archive_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """Where its stream cannot be written, torch says `unexpected pos` and no more."""

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 20_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    with (
        pytest.raises(CannotWrite, match=rf"Cannot write {tmp_path / 'trunk.pth'} \(No space left"),
        replacing(tmp_path / "trunk.pth"),
    ):
        save_archive(Full(), {"weight": torch.zeros(10_000)})


def test_what_could_not_be_read_is_not_taken_for_what_could_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="source") as caught:
        second_name(tmp_path / "source", tmp_path / "name")
    assert not isinstance(caught.value, CannotWrite)


def test_a_folder_that_is_not_there_any_more_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"No such file or directory.*leave that folder in place while a stage runs"):
        write_text(tmp_path / "gone" / "state", "new")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space there or give another --to"),
        (errno.EACCES, "correct its permissions or give another --to"),
    ],
)
def test_a_folder_that_takes_nothing_is_named_with_its_option(number: int, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=remedy), writing_to(tmp_path, "--to"):
        raise OSError(number, os.strerror(number))


def test_a_tree_is_gone_even_where_a_file_of_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, where a file that is open somewhere stays under another name, and with it its folder."""
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "data").touch()

    def busy(place: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(shutil, "rmtree", busy)
    remove_tree(folder)
    assert not folder.exists()
    assert unfinished.remove_tree is remove_tree


# ------------------------------------------------------------------------------------------------ waiting


class Clock:
    """Time that passes only while something is waited for."""

    def __init__(self, stopped_at: float = float("inf")) -> None:
        self.now, self.stopped_at, self.waits = 1e6, 1e6 + stopped_at, list[float]()

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.now >= self.stopped_at


def waits(file: Path, write: Callable[[], None], clock: Clock) -> None:
    when_there_is_room(file, write, clock, clock.wait)


def test_a_full_disk_is_waited_for_and_said_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(storage.VARIABLE, "2.5")
    clock = Clock()
    with pytest.raises(OSError, match="No space left"):
        waits(tmp_path / "a", failing(errno.ENOSPC), clock)
    assert sum(clock.waits) == 150
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{tmp_path / 'a'} waits for space (No space left on device), for {minutes} more minutes at most; free some, "
        "or stop the run with Ctrl-C"
        for minutes in (3, 2, 1)
    ]


def test_nothing_waits_unless_it_is_told_to_and_for_room_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with pytest.raises(OSError, match="No space left"):
        waits(tmp_path / "a", failing(errno.ENOSPC), clock)
    monkeypatch.setenv(storage.VARIABLE, "60")
    for number in (errno.EROFS, errno.EIO, errno.ENOENT):
        with pytest.raises(OSError, match=os.strerror(number)):
            waits(tmp_path / "a", failing(number), clock)
    with pytest.raises(ValueError, match="no error of a disk"):
        waits(tmp_path / "a", lambda: (_ for _ in ()).throw(ValueError("no error of a disk")), clock)
    assert clock.waits == []
    stopped = Clock(stopped_at=25)
    with pytest.raises(OSError, match="quota"):
        waits(tmp_path / "a", failing(errno.EDQUOT), stopped)
    assert len(stopped.waits) == 3


@pytest.mark.parametrize("word", ["soon", "-1", "inf", "nan"])
def test_a_time_to_wait_that_is_none_is_refused_when_a_stage_starts(
    word: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(storage.VARIABLE, word)
    with pytest.raises(BadInput, match=f"BENCH_WAIT_FOR_SPACE is '{word}', but it is a number of minutes; correct it"):
        hold(folder)


# ------------------------------------------------------------------------------------------------ a stage's folder


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A pretraining."""
    work_dir = tmp_path_factory.mktemp("planned")
    return plan_grid(Request(pretrain=["coco"], profile="smoke", work_dir=work_dir), act=False).stages[0]


@pytest.fixture
def folder(planned: Stage, tmp_path: Path) -> Path:
    """The folder of a stage that has not started."""
    return write_stage(planned, tmp_path, {}, tmp_path, "fail")


def hold(folder: Path, wait: bool = True) -> None:
    with held(folder, read_stage(folder), wait):
        pass


def test_what_killed_processes_left_goes_when_the_stage_starts_again(folder: Path) -> None:
    left = [folder / name for name in (".done.json.123", ".last.ckpt.partial", ".trunk.safetensors.77")]
    fresh, forgotten = folder / ".stage.json.123", folder / ".stage.json.124"
    others = [folder / name for name in ("last.ckpt", ".hidden", "metrics.jsonl")]
    for file in (*left, fresh, forgotten, *others):
        file.touch()
    os.utime(forgotten, (0, 0))
    with FileLock(folder / "lock"):  # another process works there
        with pytest.raises(BadInput, match="is being run by"):
            hold(folder, wait=False)
        assert all(file.exists() for file in left)
    hold(folder)
    assert not any(file.exists() for file in (*left, forgotten))
    assert all(file.exists() for file in (fresh, *others))  # a plan may be writing stage.json


def test_a_stage_on_a_disk_for_reading_ends_with_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FileLock, "acquire", failing(errno.EROFS))
    assert cli.run(["stage", str(folder)]) == 1
    words = f"Cannot write {folder / 'lock'} (Read-only file system); mount that disk for writing, then run it again"
    assert capsys.readouterr().err == f"bench: {words} to go on.\n"


def test_a_log_on_a_full_disk_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LOG).symlink_to("/dev/full")

    def stage() -> None:
        with logged(tmp_path, "knn x"):
            os.write(1, b"trained\n")
            raise StageFailed("what went wrong")

    with pytest.raises(StageFailed, match="what went wrong"):
        stage()
    assert "trained\n" in capfd.readouterr().out


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / LOG).mkdir()
    with pytest.raises(CannotWrite, match=f"Cannot write {tmp_path / LOG} "), logged(tmp_path, "knn x"):
        pass


def test_a_traceback_that_cannot_be_kept_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        raise ValueError("what went wrong")
    except ValueError:
        assert kept_traceback(tmp_path) == f"traceback: {tmp_path / REPORT}"
        monkeypatch.setattr(stage_ending, "write_text", failing(errno.ENOSPC))
        assert kept_traceback(tmp_path) == f"its traceback could not be written to {tmp_path}"
    assert "ValueError: what went wrong" in (tmp_path / REPORT).read_text()


# ------------------------------------------------------------------------------------------------ other folders


def test_features_that_a_killed_process_left_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    living, killed = (FeatureCache(tmp_path, {"name": name}, 4, 2) for name in ("living", "killed"))
    for cache in (living, killed):
        cache.add(torch.ones(2, 2), torch.arange(2), 0)
    os.utime(living.partial, (0, 0))  # whatever the clock says
    killed._lock.release()  # as the system does for a process that ends
    clean(tmp_path, 2**30, keep=None)
    assert living.partial.is_dir()
    assert not killed.partial.exists()
    living.add(torch.zeros(2, 2), torch.arange(2), 0)
    living.publish()
    entry = FeatureCache(tmp_path, {"name": "living"}, 4, 2).read()
    assert entry is not None
    assert entry.features.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert {file.name for file in entry.folder.iterdir()} == {"about.json", "features.npy", "labels.npy"}


def test_features_take_up_their_room_before_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = FeatureCache(tmp_path, {}, 20_000, 8)
    cache.add(torch.ones(1, 8), torch.arange(1), 0)
    assert (cache.partial / "features.npy").stat().st_blocks * 512 >= 20_000 * 8 * 4
    monkeypatch.setattr(feature_cache.os, "posix_fallocate", failing(errno.ENOSPC))
    full = FeatureCache(tmp_path, {"name": "full"}, 20_000, 8)
    full.add(torch.ones(1, 8), torch.arange(1), 0)
    full.publish()
    assert "features are not kept: [Errno 28] No space left on device" in capsys.readouterr().out
    assert not full.partial.exists()
    assert not full.place.exists()


def test_scenes_that_a_killed_process_left_half_rendered_go(tmp_path: Path) -> None:
    left, other = tmp_path / ".coco.a1b2c3d4", tmp_path / ".other.a1b2c3d4"
    left.mkdir()
    other.mkdir()
    render._whole(tmp_path / "coco", "mark", lambda folder: (folder / "image").touch())
    assert (tmp_path / "coco" / "image").is_file()
    assert not left.exists()
    assert other.exists()


# ------------------------------------------------------------------------------------------------ room before a grid


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnet18w16"])
def test_parameters_are_those_of_torchvisions_networks(arch: str, stem: str) -> None:
    buffers = ("running_mean", "running_var", COUNTER)
    shapes = {name: shape for name, shape in trunk_shapes(arch, stem).items() if not name.endswith(buffers)}
    assert parameters_of(arch, stem) == sum(torch.Size(shape).numel() for shape in shapes.values())


def test_a_grid_that_cannot_fit_on_the_disk_is_refused_and_noted_in_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("coco", extra={"arch": "resnet50", "epochs": 3, "checkpoint": {"keep_every_epochs": 1}})
    stages = Planner(lambda name: name).grid([recipe], [load_task("cityscapes_pspnet")], [0])
    trunk = 4 * 23_508_032  # torchvision's ResNet-50 without its classifier, in float32
    sizes = {stage.kind: sizes_of(stage) for stage in stages}
    # SGD and LARS keep one number of each weight: a whole checkpoint is two trunks.
    assert sizes == {
        "pretrain": (2 * 2 * trunk + 3 * trunk, 2 * trunk),
        "convert": (4 * trunk, 0),
        "segmentation": (trunk, 0),
    }
    needed = 7 * trunk + 4 * trunk + trunk + 2 * trunk
    (short, *_) = Planner(lambda name: name).grid(
        [load_recipe("coco", extra={"arch": "resnet50", "epochs": 1})], [], [0]
    )
    assert sizes_of(short) == (2 * trunk + trunk, 0)  # one checkpoint, and the epoch that is always kept
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=needed - 1))
    with pytest.raises(BadInput, match=rf"take at least 1\.32 GB, but {tmp_path} has 1\.32 GB free; free space there"):
        check_room(stages, tmp_path / "not" / "made")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=needed))
    check_room(stages, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=needed - trunk))
    there = tmp_path / stages[0].folder / "last.ckpt"
    there.parent.mkdir(parents=True)
    there.touch()
    os.truncate(there, trunk)  # what is there needs no room any more
    check_room(stages, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=0, total=0))
    check_room(stages, tmp_path)  # a file system that does not say


def test_a_plan_notes_that_the_disk_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=1_000))
    request = Request(pretrain=["coco"], profile="full", work_dir=tmp_path / "work")
    assert any("has 1 KB free; free space there" in note for note in plan_grid(request, act=False).notes)


# ------------------------------------------------------------------------------------------------ clocks


def test_a_record_is_newer_than_those_of_its_cell_whatever_the_clock_says(tmp_path: Path) -> None:
    def record(name: str, created: object) -> None:
        (tmp_path / name).write_text(json.dumps({"created": created}))

    record("coco[epochs=9]__knn__s0__aaaaaaaaaaaa.json", "2199-01-01T00:00:00+00:00")
    record("coco[epochs=9]__knn__s0__bbbbbbbbbbbb.json", "2198-01-01T00:00:00+00:00")
    record("coco[epochs=9]__knn__s0__cccccccccccc.json", "no time")
    record("coco[epochs=9]__knn__s0__dddddddddddd.json", "2299-01-01T00:00:00")  # no zone: not ours
    record("coco[epochs=9]__knn__s1__aaaaaaaaaaaa.json", "2299-01-01T00:00:00+00:00")
    assert created_after(tmp_path, "coco[epochs=9]", "knn", 0, None) == "2199-01-01T00:00:01+00:00"
    assert created_after(tmp_path, "coco[epochs=9]", "knn", 0, 3) < "2199"
    now = created_after(tmp_path / "none", "coco", "knn", 0, None)
    assert now <= time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
