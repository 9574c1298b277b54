"""Packs: the images that went in come out, whatever interrupts the writing; what is damaged or stale is refused."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch._utils import ExceptionWrapper

import bench.data.packs.encoding as encoding
import bench.data.packs.manifest as manifests
import bench.data.packs.unfinished as unfinished
import bench.data.packs.writing as packing
from bench.cli import run
from bench.data.decode import Undecodable, read_rgb
from bench.data.images import Batch, EvalDataset, ViewDataset, in_order, loader
from bench.data.packs.encoding import shrink
from bench.data.packs.manifest import MANIFEST, Form, find_packs
from bench.data.packs.reading import DamagedPack, Pack, open_pack, verify
from bench.data.sampler import DrawSampler
from bench.data.sets import fingerprint, index
from bench.data.sets.check import check
from bench.data.views import BYOL_VIEWS
from bench.data.views.pillow import make_test_view
from bench.errors import BadInput

Paint = Callable[..., Path]
RAW = Form(format="uint8", short_side=24, quality=None)
JPEG = Form(format="jpeg", short_side=24, quality=90)


def made(root: Path, form: Form = RAW, split: str = "train", **options: Any) -> Pack:
    pack, _ = packing.pack("coco", root, split, form, **options)
    return pack


def tree(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.fixture
def photos(coco: Path) -> Path:
    """COCO's layout with smooth images of all modes and shapes; `…3.jpg` is a copy of `…1.jpg`, 10 to 17 are odd."""
    folder = coco / "train2017"
    y, x = np.mgrid[:60, :90].astype(np.float32)
    for number in range(10):
        smooth = np.stack([np.sin(x / (7 + number)), np.cos(y / 9), np.sin((x + y) / 11)], axis=2) * 100 + 128
        shape = (slice(60 - 3 * number), slice(90 - 5 * number))
        Image.fromarray(smooth.astype(np.uint8)[shape]).save(folder / f"{number:012d}.jpg", quality=95)
    shutil.copy(folder / f"{1:012d}.jpg", folder / f"{3:012d}.jpg")
    colour = Image.open(folder / f"{0:012d}.jpg").convert("RGB")
    ramp = np.asarray(colour.convert("L"))
    odd = {
        "10.png": colour.quantize(64),
        "11.png": colour.convert("L"),
        "12.jpg": colour.convert("CMYK"),
        "13.png": Image.fromarray(ramp.astype(np.uint16) * 257),
        "14.png": colour.resize((24, 24)),
        "15.png": colour.resize((11, 70)),
        "16.png": colour.resize((200, 25)),
        "17.png": colour.convert("RGBA").resize((31, 47)),
    }
    for name, image in odd.items():
        image.save(folder / f"9{name}")
    return coco


# ------------------------------------------------------------------------------------------- round trip


def test_raw_pixels_come_back_shrunk_and_nothing_else(photos: Path) -> None:
    pack = made(photos)
    files = index("coco", photos, "train").files
    assert len(pack) == len(files) == 18
    assert pack.describe() == "uint8, short side 24"
    for position, file in enumerate(files):
        image = read_rgb(photos / file)
        pixels = pack.read(position)
        assert pixels.dtype == np.uint8
        assert min(pixels.shape[:2]) == min(24, *image.size)
        assert np.array_equal(pixels, np.asarray(shrink(image, 24)))
        assert not pixels.flags.writeable
    assert pack.read(files.index("train2017/915.png")).shape == (70, 11, 3)  # never enlarged


def test_jpeg_comes_back_near_and_in_the_right_channels(photos: Path) -> None:
    pack = made(photos, JPEG)
    assert pack.describe() == "jpeg, short side 24, q90"
    assert sum(pack.manifest.data_bytes) < sum(made(photos).manifest.data_bytes) / 2
    for position, file in enumerate(index("coco", photos, "train").files):
        wanted = shrink(read_rgb(photos / file), 24)
        jpeg = io.BytesIO()
        wanted.save(jpeg, "JPEG", quality=90)
        decoded = cv2.imdecode(np.frombuffer(jpeg.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.array_equal(pack.read(position), decoded)
        assert np.abs(decoded.astype(int) - np.asarray(wanted)).mean() < 16
    first = np.asarray(shrink(read_rgb(photos / "train2017" / f"{0:012d}.jpg"), 24)).astype(int)
    assert np.abs(pack.read(0)[..., ::-1] - first).mean() > 40  # which a swap of channels would give


def test_equal_files_are_stored_once(photos: Path) -> None:
    pack = made(photos)
    assert (pack.manifest.images, pack.manifest.stored) == (18, 17)
    distinct = [pack.read(position).size for position in range(18) if position != 3]
    assert sum(pack.manifest.data_bytes) == sum(distinct)
    assert np.array_equal(pack.read(3), pack.read(1))
    assert not np.array_equal(pack.read(3), pack.read(2))


def test_many_data_files(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(photos)
    monkeypatch.setattr(unfinished, "FILE_BYTES", 9000)
    parts = made(photos, to=photos / "elsewhere")
    assert len(parts.manifest.data_bytes) > 5
    assert all(size <= 9000 for size in parts.manifest.data_bytes if size != 192 * 24 * 3)  # alone more
    assert sum(parts.manifest.data_bytes) == sum(whole.manifest.data_bytes)
    for position in range(18):
        assert np.array_equal(parts.read(position), whole.read(position))


def test_shrinking_what_was_shrunk_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        width, height = (int(side) for side in rng.integers(20, 150, 2))
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for resize in (32, 45):
            once, box = make_test_view(image, 28, resize)
            again, same = make_test_view(shrink(image, resize), 28, resize)
            assert np.array_equal(once, again)
            assert box == same


# --------------------------------------------------------------------------------------------- reading


def equal(a: list[Batch], b: list[Batch]) -> None:
    assert len(a) == len(b) > 0
    for x, y in zip(a, b, strict=True):
        for one, other in zip([*x.views, *x.boxes, x.indices], [*y.views, *y.boxes, y.indices], strict=True):
            assert torch.equal(one, other)
        assert x.skipped == y.skipped


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_from_a_raw_pack_is_that_from_the_files_bit_for_bit(photos: Path, workers: int) -> None:
    (photos / "train2017" / f"{5:012d}.jpg").write_bytes(b"torn")
    images, pack = index("coco", photos, "train"), made(photos, unreadable="skip")

    def batches(pack: Pack | None, workers: int = 0) -> list[Batch]:
        return list(loader(EvalDataset(images, 20, 24, "skip", pack=pack), in_order(18, 5), workers))

    equal(batches(pack, workers), batches(None))
    with pytest.raises(AssertionError):
        equal(batches(made(photos, JPEG, unreadable="skip")), batches(None))


def test_training_views_are_drawn_from_the_pack_in_forked_workers(photos: Path) -> None:
    images, pack = index("coco", photos, "train"), made(photos)

    def batches(workers: int, pack: Pack | None) -> list[Batch]:
        dataset = ViewDataset(images, BYOL_VIEWS(16), seed=0, subset=9, pack=pack)
        sampler = DrawSampler(9, 4, 0)
        return [batch for batch, _ in zip(loader(dataset, sampler, workers), range(4), strict=False)]

    equal(batches(2, pack), batches(0, pack))
    # The same images: the boxes of views differ by what rounding to whole pixels does.
    for packed, files in zip(batches(0, pack), batches(0, None), strict=True):
        assert torch.equal(packed.indices, files.indices)
        assert not torch.equal(packed.views[0], files.views[0])


def test_a_part_of_the_split_finds_its_images(photos: Path) -> None:
    pack = made(photos)
    names = np.asarray([os.fsencode(file) for file in index("coco", photos, "train").files])
    some = [17, 2, 9, 3]
    assert pack.positions(names[some]).tolist() == some
    assert pack.positions(names).tolist() == list(range(18))
    with pytest.raises(BadInput, match=r"lacks train2017/other\.jpg"):
        pack.positions(np.asarray([names[0], b"train2017/other.jpg"]))


def test_a_copy_for_another_process_carries_no_pixels(photos: Path) -> None:
    pack = made(photos)
    content = pickle.dumps(pack)
    assert len(content) < 1000
    assert np.array_equal(pickle.loads(content).read(2), pack.read(2))


def test_nothing_grows_with_the_number_of_images_but_arrays(photos: Path) -> None:
    """Forked workers copy what they count references to: no container of the reader may have an entry an image."""
    pack = made(photos)
    for name, value in vars(pack).items():
        if isinstance(value, np.ndarray):
            assert value.dtype != object, name
        elif hasattr(value, "__len__") and not isinstance(value, Path):
            assert len(value) < len(pack), name


# ------------------------------------------------------------------------------------------- unreadable


def test_an_unreadable_image_keeps_its_position(photos: Path) -> None:
    torn = photos / "train2017" / f"{5:012d}.jpg"
    torn.write_bytes(torn.read_bytes()[:-300])
    with pytest.raises(BadInput, match=r"Cannot read .*000000000005\.jpg \(.*truncated.*\).*--unreadable skip"):
        made(photos)
    assert find_packs("coco", photos, fingerprint("coco", photos))[0] == []
    pack = made(photos, unreadable="skip")
    assert len(pack) == 18
    with pytest.raises(Undecodable, match="truncated"):
        pack.read(5)
    assert np.array_equal(pack.read(6), np.asarray(shrink(read_rgb(photos / "train2017" / f"{6:012d}.jpg"), 24)))
    images = index("coco", photos, "train")
    with pytest.raises(BadInput, match=r"000000000005\.jpg \(.*truncated"):
        EvalDataset(images, 20, 24, pack=pack)[5]
    batch = ViewDataset(images, BYOL_VIEWS(16), 0, unreadable="skip", pack=pack)[5, 0]
    assert (batch.index, batch.skipped) == (6, 1)


def test_images_skipped_before_an_interrupt_fail_after_it_without_skip(photos: Path, monkeypatch: Any) -> None:
    (photos / "train2017" / f"{5:012d}.jpg").write_bytes(b"torn")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(packing.Writer, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            made(photos, unreadable="skip")
    with pytest.raises(BadInput, match=r"000000000005\.jpg \(not an image\)"):
        made(photos)
    assert made(photos, unreadable="skip").manifest.unreadable == {5: "not an image"}


def test_a_file_that_cannot_be_opened_is_no_unreadable_image(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def failing(file: Path) -> bytes:
        if file.name == f"{4:012d}.jpg":
            raise OSError(5, "Input/output error")
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(BadInput, match=r"000000000004\.jpg: Input/output error"):
        made(photos, unreadable="skip")


# ------------------------------------------------------------------------------------- interrupted, resumed

KILLED = """
import os, signal, sys
from pathlib import Path
import bench.data.packs.unfinished as unfinished
import bench.data.packs.writing as packing
unfinished.COMMIT_IMAGES, unfinished.FILE_BYTES = 4, 9000
for point in range(40):
    child = os.fork()
    if child == 0:
        left, sync, add = [point], os.fsync, packing.Writer._add
        def step(call, *arguments):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            call(*arguments)
        os.fsync = lambda descriptor: step(sync, descriptor)
        packing.Writer._add = lambda *arguments: step(add, *arguments)
        form = packing.Form(format="uint8", short_side=24, quality=None)
        packing.pack("coco", Path(sys.argv[1]), "train", form, to=Path(sys.argv[2], str(point)))
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.slow
def test_an_interrupt_at_any_moment_changes_no_byte(photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    mark = fingerprint("coco", photos)
    monkeypatch.setattr(unfinished, "COMMIT_IMAGES", 4)
    monkeypatch.setattr(unfinished, "FILE_BYTES", 9000)
    wanted = tree(made(photos, to=tmp_path / "undisturbed").folder)
    killed = tmp_path / "killed"
    subprocess.run([sys.executable, "-c", KILLED, str(photos), str(killed)], check=True, capture_output=True)
    points = sorted(killed.iterdir(), key=lambda folder: int(folder.name))
    assert len(points) > 25
    begun_late = 0
    for point in points[:-1]:  # the last one came to its end
        monkeypatch.setenv(manifests.VARIABLE, str(point))
        if int(point.name) < len(points) - 2:  # then only the folder's entry was still to reach the disk
            packs, refused = find_packs("coco", photos, mark)
            assert not packs
            assert "unfinished" in refused[0]
        written: list[int] = []
        add = packing.Writer._add

        def counting(*arguments: Any, add: Any = add, written: list[int] = written) -> None:
            written.append(1)
            add(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(packing.Writer, "_add", counting)
            pack = made(photos, to=point)
        begun_late += 0 < len(written) < 18
        assert tree(pack.folder) == wanted, point.name
    assert begun_late > 10  # work was not done twice


def test_an_interrupted_pack_is_not_continued_with_other_data(photos: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(unfinished, "COMMIT_IMAGES", 4)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(packing.Writer, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            made(photos)
    (partial,) = (photos / ".bench-pack").glob("*/train.partial")
    flip(partial / "index.bin", 12 * unfinished.ROW.itemsize + 3)  # a torn row: all from there on is done again
    assert len(unfinished._whole_rows(partial / "index.bin")) == 12
    with (partial / "data-00000.bin").open("r+b") as opened:
        opened.truncate(100)  # the disk lost pixels that the rows point to: all is done again
    pack = made(photos)
    assert verify(pack, photos) == []
    assert tree(pack.folder) == tree(made(photos, to=photos / "other").folder)


@pytest.mark.slow
def test_the_number_of_processes_changes_no_byte(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK", 4)
    alone = made(photos, JPEG, workers=1)
    together = made(photos, JPEG, workers=3, to=photos / "other")
    assert together.folder != alone.folder
    assert tree(together.folder) == tree(alone.folder)


def runs(process: int) -> bool:
    """Whether a process exists and is more than an entry that nobody has asked about."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_processes_end_when_the_one_that_writes_is_killed(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; import bench.data.packs.writing as packing\n"
        "def hang(*_): print('here', flush=True); time.sleep(60)\n"
        "packing.Writer._add = hang\n"
        "if __name__ == '__main__':\n"
        "    packing.pack('coco', Path(sys.argv[1]), 'train', packing.Form(), workers=1 + 1)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script), str(photos)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert any("here" in line for line in process.stdout)
        children = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        assert len(children) >= 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 20
    while any(runs(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_writers_at_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def meanwhile(*_: object) -> None:
        with pytest.raises(BadInput, match="is being packed by another process") as error:
            made(photos)
        refused.append(error)

    monkeypatch.setattr(packing.Writer, "_check_space", meanwhile)
    made(photos)
    assert refused


# ------------------------------------------------------------------------------------- damaged, changed


def test_a_flipped_bit_is_caught(photos: Path) -> None:
    pack = made(photos)
    record = pack.rows[7]
    flip(pack.folder / "data-00000.bin", int(record["offset"]) + int(record["size"]) // 2)
    pack = open_pack(pack.folder)  # records are not read until they are wanted
    assert pack.read(6).shape
    with pytest.raises(DamagedPack, match=r"000000000007\.jpg in .*data-00000\.bin is damaged; remove"):
        pack.read(7)
    dataset = EvalDataset(index("coco", photos, "train"), 20, 24, "skip", pack=pack)
    try:
        dataset[7]
    except DamagedPack:
        raised = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(DamagedPack, match=r"^train2017/000000000007\.jpg.*again\.$"):  # one sentence all the same
        raised.reraise()
    report = check("coco", photos)
    assert not report.ok
    assert [problem.partition(" in ")[0] for problem in report.damaged] == ["train2017/000000000007.jpg"]


@pytest.mark.parametrize("name", ["index.bin", "names.npy", MANIFEST])
def test_a_flipped_bit_beside_the_data_is_caught(photos: Path, name: str) -> None:
    folder = made(photos).folder
    position = -1 if name != MANIFEST else (folder / name).read_bytes().index(b'"images": 18') + 11
    flip(folder / name, position)
    with pytest.raises(BadInput, match="pack again"):
        open_pack(folder)
    _, there = packing.pack("coco", photos, "train", RAW)
    assert not there
    assert open_pack(folder).read(0).shape


def test_a_file_of_another_size_or_none_is_caught(photos: Path) -> None:
    folder = made(photos).folder
    with (folder / "data-00000.bin").open("ab") as opened:
        opened.write(b"x")
    with pytest.raises(BadInput, match=r"has \d+ bytes instead of"):
        open_pack(folder)
    assert "instead of" in find_packs("coco", photos, fingerprint("coco", photos))[1][0]
    (folder / "data-00000.bin").unlink()
    with pytest.raises(BadInput, match="is missing"):
        open_pack(folder)
    with pytest.raises(BadInput, match="holds no pack"):
        open_pack(photos)


def test_a_pack_of_other_data_is_refused(photos: Path, paint: Paint) -> None:
    pack = made(photos)
    before = fingerprint("coco", photos)
    assert [pack_before.folder for pack_before in find_packs("coco", photos, before)[0]] == [pack.folder]
    paint(photos / "train2017" / "new.png")
    now = fingerprint("coco", photos)
    with pytest.raises(BadInput, match="was made of another state of coco"):
        open_pack(pack.folder, fingerprint=now)
    packs, refused = find_packs("coco", photos, now)
    assert not packs
    assert "was made of another state of coco and is not used; remove it" in refused[0]
    assert len(made(photos)) == 19
    with pytest.raises(BadInput, match="was planned"):
        open_pack(pack.folder, "jpeg-24-q90-0123456789ab")


def test_data_that_change_while_they_are_packed(photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    write = packing.Writer.write

    def meanwhile(*arguments: Any) -> None:
        write(*arguments)
        paint(photos / "train2017" / "new.png")

    monkeypatch.setattr(packing.Writer, "write", meanwhile)
    with pytest.raises(BadInput, match="changed while it was packed"):
        made(photos)
    assert not list(photos.glob(".bench-pack/*/train"))


def test_check_looks_at_the_files_too(photos: Path) -> None:
    made(photos)
    made(photos, JPEG, "val")
    report = check("coco", photos)
    assert report.ok
    assert [line.partition(", /")[0] for line in report.lines() if line.startswith("pack ")] == [
        "pack       val: jpeg, short side 24, q90, 3 images",
        "pack       train: uint8, short side 24, 18 images",
    ]
    file = photos / "train2017" / f"{8:012d}.jpg"
    pack = made(photos)
    flip(file, file.stat().st_size // 2)
    assert verify(pack, photos) == [f"{file} changed after it was packed"]
    assert run(["data", "check", "coco", "--data-root", f"coco={photos}"]) == 2


# ----------------------------------------------------------------------------------------- command line


def test_the_command(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, words = f"coco={photos}", ["data", "pack", "coco", "--short-side", "32"]
    assert run([*words, "--data-root", root]) == 0
    told = capsys.readouterr().out
    assert "coco train: packed, 18 images" in told
    assert "1 equal to others" in told
    assert "coco val: packed, 3 images" in told
    packs, _ = find_packs("coco", photos, fingerprint("coco", photos))
    assert [one.manifest.form.name for one in packs] == ["jpeg-32-q90"] * 2
    assert run([*words, "--data-root", root, "--split", "train"]) == 0
    assert "coco train: is there" in capsys.readouterr().out
    assert (
        run([*words, "--data-root", root, "--split", "val", "train", "--format", "uint8", "--to", str(tmp_path)]) == 0
    )
    assert f"set BENCH_PACK_DIR={tmp_path}" in capsys.readouterr().out
    packs, _ = find_packs("coco", photos, fingerprint("coco", photos), {"BENCH_PACK_DIR": str(tmp_path)})
    assert [one.manifest.form.name for one in packs] == ["uint8-32"] * 2 + ["jpeg-32-q90"] * 2


def test_ctrl_c_says_how_to_go_on(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    words = ["data", "pack", "coco", "--data-root", f"coco={photos}"]
    with monkeypatch.context() as patched:
        patched.setattr(packing.Writer, "_add", interrupt)
        assert run(words) == 130
    complaint = capsys.readouterr().err
    assert "what was packed stays. Go on with: bench data pack coco --data-root" in complaint
    assert run(words) == 0


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run(["data", "pack", *map(str, words)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("bench: ")
    assert complaint.count("\n") == 1
    return complaint


def test_bad_input_in_one_sentence(
    photos: Path, cityscapes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ("--data-root", f"coco={photos}")
    assert "did you mean coco, coco_plus?" in refused(capsys, "cocoo", *here)
    assert "full size" in refused(capsys, "cityscapes", "--data-root", f"cityscapes={cityscapes}")
    assert "leave it out" in refused(capsys, "coco", *here, "--format", "uint8", "--quality", 80)
    assert "quality" in refused(capsys, "coco", *here, "--quality", 101)
    assert "split" in refused(capsys, "coco", *here, "--split", "test")
    blocked = photos / "train2017" / f"{0:012d}.jpg"
    complaint = refused(capsys, "coco", *here, "--to", blocked / "packs")
    assert "Cannot write to" in complaint
    assert "give --to DIR and set BENCH_PACK_DIR" in complaint
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage(10**6, 10**6 - 5000, 5000))
    complaint = refused(capsys, "coco", *here, "--format", "uint8")
    assert "Packing coco train takes about" in complaint
    assert "has 5 KB free" in complaint
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unfinished, "_sync", full)
    assert "No space left on device" in refused(capsys, "coco", *here)
    monkeypatch.undo()
    assert run(["data", "pack", "coco", *here]) == 0


def test_an_image_that_jpeg_cannot_hold(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (65_600, 2)).save(coco / "train2017" / "long.png")
    assert "long.png (65600×2 pixels) cannot be stored as JPEG; give --format uint8" in refused(
        capsys, "coco", "--data-root", f"coco={coco}", "--split", "train"
    )
