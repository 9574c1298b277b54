"""Shards: the lists, bytes and fingerprints of the folder that they were written of; and what is wrong is said."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench.data.sets.fingerprints as fingerprints
import bench.data.shards.index_file as index_file
import bench.data.shards.reading as reading
from bench.cli import run
from bench.data.decode import WorkerError
from bench.data.packs.manifest import Form, find_packs
from bench.data.packs.writing import pack
from bench.data.roots import resolve_roots
from bench.data.sets import fingerprint, identity, index, pretraining_index, splits
from bench.data.sets.check import check
from bench.data.sets.data_set import part
from bench.data.shards.writing import write_shards
from bench.errors import BadInput

Paint = Callable[..., Path]


@pytest.fixture(autouse=True)
def _index_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SHARD_INDEX", str(tmp_path / "index"))


def picture(seed: int, ending: str = "PNG") -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, ending)
    return content.getvalue()


def tar(file: Path, members: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    """Write a tar with Python's own writer."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=format) as opened:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            opened.addfile(about, io.BytesIO(content))
    return file


def sample(key: str, label: int | None = None, seed: int = 0) -> dict[str, bytes]:
    return {f"{key}.png": picture(seed)} | ({} if label is None else {f"{key}.cls": str(label).encode()})


@pytest.fixture
def shards(imagenet: Path, tmp_path: Path) -> Path:
    """The images of `imagenet` in shards of at most 1 MB."""
    write_shards("imagenet", imagenet, tmp_path / "shards", size=1)
    return tmp_path / "shards"


# ---------------------------------------------------------------------------------------------- as the folder


@pytest.mark.parametrize("name", ["coco", "imagenet"])
def test_lists_bytes_and_fingerprint_are_those_of_the_folder(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, to = request.getfixturevalue(name), tmp_path / "shards"
    monkeypatch.setattr("bench.data.shards.writing.MB", 6000)
    written = write_shards(name, root, to, size=1)
    assert sum(one.shards for one in written) > 3  # so that the order of images is not that of one shard
    assert splits(name, to) == splits(name, root)
    for split in splits(name, root):
        plain, sharded = index(name, root, split), index(name, to, split)
        assert (sharded.files, sharded.labels, sharded.classes) == (plain.files, plain.labels, plain.classes)
        assert sharded.members is not None
        for place, file in enumerate(plain.files):
            assert sharded.members.read(place) == (root / file).read_bytes()
    assert pretraining_index(name, to).files == pretraining_index(name, root).files
    assert fingerprint(name, to) == fingerprint(name, root)
    monkeypatch.setattr(fingerprints, "SAMPLED", 3)
    assert fingerprint(name, to) == fingerprint(name, root)


def test_a_fingerprint_follows_names_content_and_labels_and_not_the_shards(imagenet: Path, tmp_path: Path) -> None:
    base = sample("n0/a", 0, 1) | sample("n1/b", 1, 2)
    contents = {
        "as they are": [base],
        "in two shards": [sample("n0/a", 0, 1), sample("n1/b", 1, 2)],
        "other order": [sample("n1/b", 1, 2) | sample("n0/a", 0, 1)],
        "content": [sample("n0/a", 0, 3) | sample("n1/b", 1, 2)],
        "name": [sample("n0/c", 0, 1) | sample("n1/b", 1, 2)],
        "labels": [sample("n0/a", 1, 1) | sample("n1/b", 0, 2)],
    }
    found = {}
    for case, members in contents.items():
        root = tmp_path / case
        for number, one in enumerate(members):
            tar(root / f"train-{number:03d}.tar", one)
        found[case] = fingerprint("imagenet", root)
    assert found["as they are"] == found["in two shards"] == found["other order"]
    assert len(set(found.values())) == 4
    (tmp_path / "name" / "classes.txt").write_text("cat\ndog\n")
    named = fingerprint("imagenet", tmp_path / "name")
    (tmp_path / "name" / "classes.txt").write_text("dog\ncat\n")
    assert len({named, fingerprint("imagenet", tmp_path / "name"), found["name"]}) == 3


def test_the_same_images_give_the_same_bytes_and_may_be_sharded_anew(
    imagenet: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(imagenet / "train" / "n00000001" / "n00000001_0.JPEG", (1, 1))
    write_shards("imagenet", imagenet, tmp_path / "again", size=1)
    monkeypatch.setattr("bench.data.shards.writing.MB", 6000)
    write_shards("imagenet", shards, tmp_path / "smaller", size=1)
    monkeypatch.undo()
    monkeypatch.setenv("BENCH_SHARD_INDEX", str(tmp_path / "index"))
    write_shards("imagenet", tmp_path / "smaller", tmp_path / "back", size=1)
    for other in ("again", "back"):
        assert {f.name: f.read_bytes() for f in (tmp_path / other).iterdir()} == {
            f.name: f.read_bytes() for f in shards.iterdir()
        }
    with tarfile.open(shards / "train-000000.tar") as opened:  # what other readers of such shards see
        assert opened.getnames()[:2] == ["train/n00000001/n00000001_0.JPEG", "train/n00000001/n00000001_0.cls"]
        labels = [opened.extractfile(name).read() for name in opened.getnames() if name.endswith(".cls")]  # type: ignore[union-attr]
    assert labels == [b"0", b"0", b"1", b"1", b"2", b"2"]


def test_a_part_of_an_index_reads_its_images(shards: Path, imagenet: Path) -> None:
    chosen = part(index("imagenet", shards, "train"), [4, 1])
    assert chosen.members is not None
    assert [chosen.members.read(place) for place in (0, 1)] == [(imagenet / file).read_bytes() for file in chosen.files]


# ---------------------------------------------------------------------------------------------- recognition


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train-0.tar", "val-0.tar"),
        ("train/00000.tar", "val/00000.tar"),
        ("train/some-000001.tar", "val-000001.tar"),
        ("imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"),
        ("laion-000000.tar", None),
        ("00000.tar", None),
    ],
)
def test_shards_are_recognised_by_their_names(tmp_path: Path, train: str, val: str | None) -> None:
    tar(tmp_path / "data" / train, sample("b", 1) | sample("a", 0))
    if val is not None:
        tar(tmp_path / "data" / val, sample("./c", 1))
        assert index("imagenet", tmp_path / "data", "val").files == ("c.png",)
    listed = index("imagenet", tmp_path / "data", "train")
    assert (listed.files, listed.labels, listed.classes) == (("a.png", "b.png"), (0, 1), ("0", "1"))


def test_labels_come_from_json_too_and_names_of_classes_from_a_list(tmp_path: Path) -> None:
    members = {
        "z.jpg": picture(0, "JPEG"),
        "z.json": json.dumps({"label": 0, "width": 40}).encode(),
        "y.webp": picture(1, "WEBP"),
        "y.json": json.dumps({"caption": "no label"}).encode(),
        "y.cls": b"2\n",
        "x.JPEG": picture(2, "JPEG"),
        "x.cls": b"0",
        "x.json": b"broken",  # .cls was there, and counts
        "x.txt": b"what webdataset allows, and nobody reads",
    }
    tar(tmp_path / "train-0.tar", members, tarfile.GNU_FORMAT)
    (tmp_path / "classes.txt").write_text("cat\ndog\nowl\n")
    listed = index("imagenet", tmp_path, "train")
    assert listed.files == ("x.JPEG", "z.jpg", "y.webp")  # by class, then by name
    assert (listed.labels, listed.classes) == ((0, 0, 2), ("cat", "dog", "owl"))
    assert index("coco", tmp_path, "train").files == ("x.JPEG", "y.webp", "z.jpg")
    assert index("coco", tmp_path, "train").labels is None


def test_a_hundred_classes_are_taken_from_the_shards_of_all(tmp_path: Path) -> None:
    from bench.data.sets.imagenet import imagenet100_classes

    wanted = sorted(imagenet100_classes())
    names = ["n00000000", *wanted]
    tar(tmp_path / "train-0.tar", {k: v for n, name in enumerate(names) for k, v in sample(f"{name}/i", n).items()})
    with pytest.raises(BadInput, match=r"classes\.txt has 0 of the 100 classes"):
        index("imagenet100", tmp_path, "train")
    (tmp_path / "classes.txt").write_text("\n".join(names))
    listed = index("imagenet100", tmp_path, "train")
    assert (list(listed.classes), listed.labels) == (wanted, tuple(range(100)))
    assert listed.files[0] == f"{wanted[0]}/i.png"
    assert len(index("imagenet", tmp_path, "train").files) == 101


def test_long_and_foreign_names_are_read(tmp_path: Path) -> None:
    key = "ordner-" + "ü" * 120 + "/bild"
    for number, format in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        tar(tmp_path / str(number) / "train-0.tar", sample(key, 0), format)
        listed = index("imagenet", tmp_path / str(number), "train")
        assert listed.files == (f"{key}.png",)
        assert listed.members is not None
        assert listed.members.read(0) == picture(0)


# ---------------------------------------------------------------------------------------------- what is refused


def test_what_is_in_no_shard_or_twice_is_refused(tmp_path: Path, imagenet: Path) -> None:
    def refused(message: str, files: Mapping[str, Mapping[str, bytes]], name: str = "imagenet") -> None:
        root = tmp_path / str(len([*tmp_path.iterdir()]))
        for file, members in files.items():
            tar(root / file, members)
        with pytest.raises(BadInput, match=message):
            index(name, root, "train")

    one, two = sample("a", 0), sample("b", 0, 1)
    refused(r"number 0 and 2, and none between", {"train-0.tar": one, "train-2.tar": two})
    refused(r"number 1 twice", {"train-1.tar": one, "train-01.tar": two})
    refused(r"from number 2 on", {"train-2.tar": one, "train-3.tar": two})
    refused(r"several names .* rename", {"one-0.tar": one, "two-0.tar": two})
    refused(r"is compressed.*gunzip", {"train-0.tar": one, "train-1.tar.gz": two})
    refused(r"train-1\.tar/a\.png is in train-0\.tar, too", {"train-0.tar": one, "train-1.tar": one})
    refused(r"a\.png has no label.*coco", {"train-0.tar": sample("a")})
    refused(r"a\.cls holds no class", {"train-0.tar": one | {"a.cls": b"cat"}})
    refused(r"a\.json holds no class", {"train-0.tar": sample("a") | {"a.json": b'{"label": -1}'}})
    refused(r"train-0\.tar/c is a sample without an image", {"train-0.tar": one | {"c.cls": b"0"}})
    refused(r"a\.jpg is the second image of its sample", {"train-0.tar": one | {"a.jpg": picture(0, "JPEG")}})
    refused(r"a\.CLS is the second label of its sample", {"train-0.tar": one | {"a.CLS": b"1"}})
    refused(
        r"shards of train in two places \(train/0\.tar and train-0\.tar\)", {"train/0.tar": two, "train-0.tar": one}
    )
    refused(r"hold no images", {"train-0.tar": {}})
    refused(r"there is no train-\*\.tar", {"val-0.tar": one})
    refused(r"no train2017/", {"train-0.tar": one}, "coco_plus")
    shutil.copytree(imagenet, tmp_path / "both")
    tar(tmp_path / "both" / "train-0.tar", one)
    with pytest.raises(BadInput, match=r"both in shards \(train-0\.tar\) and unpacked"):
        index("imagenet", tmp_path / "both", "train")
    tar(tmp_path / "label" / "train-0.tar", sample("a", 2))
    (tmp_path / "label" / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(BadInput, match=r"has the label 2, but there are 2 classes"):
        index("imagenet", tmp_path / "label", "train")
    (tmp_path / "label" / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(BadInput, match=r"'cat' twice or empty"):
        index("imagenet", tmp_path / "label", "train")


def test_a_tar_that_is_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    file = tar(tmp_path / "data" / "train-0.tar", sample("a", 0) | sample("b", 0, 1))
    whole = file.read_bytes()
    with tarfile.open(file) as opened:
        end = max(member.offset_data + 512 for member in opened.getmembers())
    for length in (0, 1, 511, 512, 700, *range(1024, end + 1024, 512), end + 1023):
        file.write_bytes(whole[:length])
        with pytest.raises(BadInput, match=r"train-0\.tar.* (is truncated|is damaged).*(fetch it anew)"):
            index("imagenet", tmp_path / "data", "train")
    file.write_bytes(whole[: end + 1024])  # the two blocks of zeros are there; the rest is padding
    assert len(index("imagenet", tmp_path / "data", "train").files) == 2
    with tarfile.open(file) as opened:
        header = opened.getmembers()[2].offset
    file.write_bytes(whole[:header] + b"x" + whole[header + 1 :])
    with pytest.raises(BadInput, match=rf"train-0\.tar is damaged at byte {header}, where the header"):
        index("imagenet", tmp_path / "data", "train")
    import gzip

    file.write_bytes(gzip.compress(whole))
    with pytest.raises(BadInput, match=r"train-0\.tar is compressed by gzip; uncompress it"):
        index("imagenet", tmp_path / "data", "train")


def test_links_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "train-0.tar", "w") as opened:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        opened.addfile(link)
    with pytest.raises(BadInput, match=r"a\.png is a link or no plain file"):
        index("imagenet", tmp_path / "data", "train")


# ---------------------------------------------------------------------------------------------- the index


def test_the_index_is_made_once_and_again_for_the_shard_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[str] = []
    scan = index_file.scan
    monkeypatch.setattr(index_file, "scan", lambda root, shard: (scanned.append(shard), scan(root, shard))[1])
    root = tmp_path / "data"
    for number in range(3):
        tar(root / f"train-{number}.tar", sample(f"k{number}", number, number))
    first = index("imagenet", root, "train")
    assert sorted(scanned) == ["train-0.tar", "train-1.tar", "train-2.tar"]
    assert index("imagenet", root, "train") == first
    assert len(scanned) == 3
    assert not [f.name for f in root.iterdir() if not f.name.endswith(".tar")]  # nothing is written beside the data
    tar(root / "train-1.tar", sample("new", 0, 7) | sample("newer", 1, 8))
    again = index("imagenet", root, "train")
    assert scanned[3:] == ["train-1.tar"]
    assert again.files == ("k0.png", "new.png", "newer.png", "k2.png")
    assert again.members is not None
    assert [again.members.read(i) for i in range(4)] == [picture(0), picture(7), picture(8), picture(2)]
    for file in (tmp_path / "index").iterdir():  # a damaged index is made anew
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
    assert index("imagenet", root, "train") == again
    assert len(scanned) == 7


def test_the_index_is_kept_beside_the_shards_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    tar(root / "train-0.tar", sample("a", 0))
    tar(root / "train-1.tar", sample("b", 0, 1))
    words = ["data", "check", "coco", "--keep-index", "--data-root", f"coco={root}"]
    assert run(words) == 0
    assert str(root / ".bench-shards") in capsys.readouterr().out
    shutil.rmtree(tmp_path / "index")
    scanned: list[str] = []
    scan = index_file.scan
    monkeypatch.setattr(index_file, "scan", lambda root, shard: (scanned.append(shard), scan(root, shard))[1])
    assert len(index("coco", root, "train").files) == 2
    assert scanned == []
    os.utime(root / "train-0.tar", (1, 1))  # as of a copy, whose index is kept with this user
    for _ in range(2):
        assert len(index("coco", root, "train").files) == 2
        assert scanned == ["train-0.tar"]


def test_a_change_of_shards_is_noticed(shards: Path, tmp_path: Path) -> None:
    cache = tmp_path / "work" / "data.json"
    before = identity("imagenet", shards, cache)
    assert identity("imagenet", shards, cache) == before
    tar(shards / "val-000000.tar", sample("n00000001/other", 0))
    after = identity("imagenet", shards, cache)
    assert after.fingerprint != before.fingerprint
    assert "val-000000.tar" in after.notes[0]


# ---------------------------------------------------------------------------------------------- reading


def test_few_files_are_open_whatever_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "OPEN", 3)
    for number in range(12):
        tar(tmp_path / "data" / f"train-{number:02d}.tar", sample(f"k{number:02d}", 0, number))
    members = index("imagenet", tmp_path / "data", "train").members
    assert members is not None
    wrong: list[int] = []

    def held() -> list[int]:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [int(link.name) for link in links if "train-" in str(link.readlink())]

    def read(members: reading.Members, seed: int) -> None:
        for place in np.random.default_rng(seed).integers(0, 12, 100).tolist():
            if members.read(place) != picture(place):
                wrong.append(place)

    expected = [picture(place) for place in range(12)]
    monkeypatch.setitem(globals(), "picture", lambda place: expected[place])
    threads = [threading.Thread(target=read, args=(members, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(held()) == 3
    assert all(os.lseek(number, 0, os.SEEK_CUR) == 0 for number in held())  # else forks and threads would disturb
    child = os.fork()
    if not child:  # a fork reads with the same descriptors
        os._exit(0 if all(members.read(place) == expected[place] for place in range(12)) else 1)
    assert os.waitpid(child, 0)[1] == 0
    copied = pickle.loads(pickle.dumps(members))  # as another process gets it
    assert copied.read(5) == expected[5]
    del copied, members
    assert not held()


def test_a_shard_that_changes_after_it_was_listed_ends_the_run_by_name(tmp_path: Path) -> None:
    file = tar(tmp_path / "train-0.tar", sample("a", 0) | sample("b", 0, 1))
    listed, opened = index("imagenet", tmp_path, "train"), index("imagenet", tmp_path, "train")
    assert listed.members is not None
    assert opened.members is not None
    opened.members.read(0)
    os.truncate(file, 700)
    with pytest.raises(WorkerError, match=r"train-0\.tar is truncated at byte 700; fetch it anew"):
        opened.members.read(0)
    with pytest.raises(WorkerError, match=r"train-0\.tar changed after this run had listed"):
        listed.members.read(0)
    file.unlink()
    with pytest.raises(WorkerError, match=r"Cannot read .*train-0\.tar: No such file.*put the shard back"):
        listed.members.read(0)


# ---------------------------------------------------------------------------------------------- commands


def test_the_check_lists_damaged_shards_doubles_and_samples_without_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    tar(root / "train-0.tar", sample("a", 0) | sample("b", 1) | {"c.png": b"no image", "c.cls": b"1"})
    tar(root / "train-1.tar", sample("a", 0) | sample("d"))
    cut = tar(root / "train-2.tar", sample("e", 0) | sample("f", 0))
    with tarfile.open(cut) as opened:
        os.truncate(cut, opened.getmember("f.png").offset_data + 100)
    tar(root / "val-0.tar", sample("g", 0))
    report = check("imagenet", root)
    assert sum(report.counts["train"].values()) == 5  # with a label, the double included: a a b c e
    assert [where for where, _ in report.unreadable] == [
        "train-2.tar",
        "train-1.tar/a.png",
        "train-1.tar/d.png",
        "train-0.tar/c.png",
    ]
    assert report.missing == ["val: class 1 has no image"]
    assert run(["data", "check", "imagenet", "--data-root", f"imagenet={root}"]) == 2
    out = capsys.readouterr().out
    assert "layout     train is 3 shards: train-0.tar to train-2.tar" in out
    assert "unreadable train-0.tar/c.png: not an image" in out


def test_the_command_writes_shards_and_refuses_what_makes_none(
    coco: Path, tmp_path: Path, paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "shards"

    def shard(name: str = "coco", *words: str) -> tuple[int, str]:
        code = run(["data", "shard", name, "--to", str(to), "--data-root", f"{name}={coco}", *words])
        return code, "".join(capsys.readouterr())

    code, said = shard("coco", "--split", "val")
    assert (code, f"val: 3 images in 1 shards, 0 MB, in {to}" in said) == (0, True)
    code, said = shard()
    assert (code, "holds shards already" in said) == (2, True)
    shutil.rmtree(to)
    odd = paint(coco / "train2017" / "two.dots.jpg")
    assert "has a dot in the middle" in shard()[1]
    odd.rename(coco / "train2017" / "000000000001.png")
    assert "would be one sample" in shard()[1]
    assert "is not read from shards" in shard("coco_plus")[1]
    assert not to.exists()


def test_an_interrupted_writing_leaves_no_shards(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.data.shards.writing as writing

    add, count = writing._add, [0]

    def interrupted(*words: object) -> None:
        count[0] += 1
        if count[0] == 11:  # of val
            raise KeyboardInterrupt
        add(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "_add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_shards("coco", coco, tmp_path / "shards")
    assert not [*(tmp_path / "shards").iterdir()]


def test_a_killed_writing_leaves_no_data_set_and_is_begun_anew(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.shards.writing.MB", 6000)
    to = tmp_path / "shards"
    (whole,) = (one.shards for one in write_shards("coco", coco, to, size=1, split_names=["train"]))
    assert whole > 1
    first = to / "train-000000.tar"
    first.rename(partial := to / ".train-000000.tar.partial")  # the last name that is given
    with pytest.raises(BadInput, match=r"\.train-000000\.tar\.partial is of shards that were not finished; remove all"):
        index("coco", to, "train")
    for file in to.glob("train-*.tar"):
        file.unlink()
    partial.rename(to / f".train-{whole:06d}.tar.partial")  # of smaller shards
    assert write_shards("coco", coco, to, size=1, split_names=["train"])[0].shards == whole
    assert index("coco", to, "train").files == index("coco", coco, "train").files


def test_a_pack_of_the_folder_serves_its_shards(
    imagenet: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PACK_DIR", str(tmp_path / "packs"))
    made, _ = pack("imagenet", imagenet, "train", Form(short_side=32), to=tmp_path / "packs")
    (found,), refused = find_packs("imagenet", shards, fingerprint("imagenet", shards))
    assert (found.manifest.digest, refused) == (made.manifest.digest, [])
    report = check("imagenet", shards)
    assert (len(report.packs), report.ok) == (1, True)


def test_the_same_shards_lie_where_the_roots_say_and_no_pack_is_made_of_them(shards: Path) -> None:
    places = {name: where for name, where, _ in resolve_roots([f"imagenet={shards}"], environ={}).sources()}
    assert places["imagenet"] == shards
    with pytest.raises(BadInput, match="packs are made of files"):
        pack("imagenet", shards, "train", Form())
