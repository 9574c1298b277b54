"""No file changes without being noticed: with the cache as without, and held to a manifest whatever it is."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.data.sets.fingerprints as fingerprints
import bench.data.sets.manifests as manifests
from bench.cli import run
from bench.data.roots import resolve_roots
from bench.data.sets import fingerprint, identity
from bench.data.sets.check import check_content
from bench.data.sets.kept import kept_file, look, read_kept
from bench.data.sets.manifests import ChangedFiles, read_manifest, write_manifest
from bench.errors import BadInput
from bench.execute.grid import find_data

Paint = Callable[..., Path]
SAMPLED, UNSAMPLED = "000000000000.jpg", "000000000005.jpg"  # where two files of train2017 are read


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint reads two files: the first, and the seventh of thirteen."""
    monkeypatch.setattr(fingerprints, "SAMPLED", 2)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "work" / "data.json"


def spoil(file: Path, more: bytes = b"") -> None:
    """Change a byte (and append some), and put the time of modification back."""
    before = file.stat()
    content = file.read_bytes()
    with file.open("r+b") as opened:  # in place, so that the folder does not change
        opened.write(content[:50] + bytes([content[50] ^ 1]) + content[51:] + more)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("name", "more"), [(UNSAMPLED, b"x"), (SAMPLED, b""), (SAMPLED, b"x")])
def test_an_edit_whose_time_was_put_back_is_noticed(coco: Path, cache: Path, name: str, more: bytes) -> None:
    before = fingerprint("coco", coco, cache)
    spoil(coco / "train2017" / name, more)
    after = identity("coco", coco, cache)
    assert after.fingerprint == fingerprint("coco", coco) != before
    (note,) = after.notes
    assert f"1 file (train2017/{name}) changed, came or went" in note
    assert f"was {before} and is {after.fingerprint}" in note
    assert identity("coco", coco, cache) == fingerprints.Identity(after.fingerprint)  # it is said once


@pytest.mark.usefixtures("few")
def test_what_came_and_what_went_is_named(coco: Path, cache: Path, paint: Paint) -> None:
    fingerprint("coco", coco, cache)
    (coco / "train2017" / UNSAMPLED).unlink()
    assert f"1 file (train2017/{UNSAMPLED}) changed" in identity("coco", coco, cache).notes[0]
    paint(coco / "train2017" / "new.jpg")
    paint(coco / "train2017" / "newer.jpg")
    assert "2 files (first train2017/new.jpg) changed" in identity("coco", coco, cache).notes[0]


@pytest.mark.usefixtures("few")
def test_an_edit_that_no_fingerprint_reads_is_said_until_it_is_settled(
    coco: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity("coco", coco, cache)
    assert before.notes == ()
    spoil(coco / "train2017" / UNSAMPLED)
    os.utime(coco / "train2017" / SAMPLED)  # which is read again, and is the same
    for _ in range(2):
        after = identity("coco", coco, cache)
        assert after.fingerprint == before.fingerprint
        (note,) = after.notes
        assert note.startswith(f"1 file (train2017/{UNSAMPLED}) of coco may have changed since first seen")
        monkeypatch.setattr(fingerprints, "_hash", lambda *_: pytest.fail("the second time, nothing is read"))
    monkeypatch.undo()
    monkeypatch.setattr(fingerprints, "SAMPLED", 2)
    os.utime(coco / "train2017" / "000000000003.jpg")
    (note,) = identity("coco", coco, cache).notes
    assert note.startswith("2 files (first train2017/000000000003.jpg) of coco may have changed")
    command = re.fullmatch(r".*: (bench data check coco --full .*)", note)
    assert command is not None
    assert run(command[1].split()[1:]) == 0
    assert identity("coco", coco, cache) == before


@pytest.mark.usefixtures("few")
def test_annotations_are_watched(coco: Path, cache: Path) -> None:
    before = identity("coco", coco, cache)
    spoil(coco / "train2017" / UNSAMPLED)
    assert len(identity("coco", coco, cache).notes) == 1
    (coco / "annotations").mkdir()
    file = coco / "annotations" / "instances_train2017.json"
    file.write_text('{"images": [' + " " * 99)
    spoil(coco / "train2017" / UNSAMPLED)  # so that files are listed again
    assert f"1 file (train2017/{UNSAMPLED}) of coco may" in identity("coco", coco, cache).notes[0]
    spoil(file, b" ")
    after = identity("coco", coco, cache)
    assert after.fingerprint == before.fingerprint  # images alone make it
    assert f"2 files (first train2017/{UNSAMPLED}) of coco may have changed" in after.notes[0]
    assert check_content("coco", coco, cache).endswith("written (14 files)")
    spoil(file)
    with pytest.raises(ChangedFiles, match=r"instances_train2017.json has another content"):
        identity("coco", coco, cache)


def test_of_three_thousand_files_none_changes_unnoticed(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "coco"
    (root / "train2017").mkdir(parents=True)
    for number in range(3000):
        (root / "train2017" / f"{number:012d}.jpg").write_bytes(b"%060d" % number)
    before = fingerprint("coco", root, cache)
    edited = range(0, 3000, 7)
    for number in edited:
        spoil(root / "train2017" / f"{number:012d}.jpg")
    kept = read_kept(kept_file(cache, "coco", root), "coco")
    assert kept is not None
    assert kept.differing(kept.names, look(root, kept.names, kept.folders)) == [
        f"train2017/{number:012d}.jpg" for number in edited
    ]
    after = identity("coco", root, cache)
    assert after.fingerprint != before
    assert f"{len(edited)} files (first train2017/000000000000.jpg)" in after.notes[0]


@pytest.mark.usefixtures("few")
def test_planning_reads_what_is_kept_and_keeps_nothing(
    coco: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = resolve_roots([f"coco={coco}"])
    found = find_data(["coco"], roots, cache, keep=False)
    assert found.fingerprints == {"coco": fingerprint("coco", coco)}
    assert not cache.parent.exists()
    find_data(["coco"], roots, cache)
    spoil(coco / "train2017" / UNSAMPLED)
    before = sorted((file.name, file.read_bytes()) for file in cache.parent.iterdir())
    found = find_data(["coco"], roots, cache, keep=False)
    assert "1 file" in found.notes[0]
    assert sorted((file.name, file.read_bytes()) for file in cache.parent.iterdir()) == before
    find_data(["coco"], roots, cache)
    monkeypatch.setattr(fingerprints, "_hash", lambda *_: pytest.fail("was read again"))
    assert find_data(["coco"], roots, cache, keep=False) == found


def test_a_file_that_comes_while_others_are_looked_at_is_not_lost(
    coco: Path, cache: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def slow(*arguments: Any) -> np.ndarray:
        looks.append(1)
        if len(looks) == 1:  # listed already
            paint(coco / "train2017" / "late.jpg")
        return look(*arguments)

    monkeypatch.setattr(fingerprints, "look", slow)
    found = fingerprint("coco", coco, cache)
    monkeypatch.undo()
    assert found == fingerprint("coco", coco) == fingerprint("coco", coco, cache)


def test_what_never_comes_to_rest_is_not_kept(
    coco: Path, cache: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "look", lambda *a: (paint(coco / "train2017" / SAMPLED), look(*a))[1])
    assert fingerprint("coco", coco, cache) == fingerprint("coco", coco)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "bit"])
def test_a_damaged_cache_is_taken_anew(coco: Path, cache: Path, damage: str) -> None:
    before = fingerprint("coco", coco, cache)
    kept = kept_file(cache, "coco", coco)
    content = kept.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 40 if damage == "bit" else 1).tolist():
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << (place % 8)
        kept.write_bytes({"empty": b"", "cut": content[:-9], "text": b"text"}.get(damage, bytes(spoilt)))
        assert fingerprint("coco", coco, cache) == before


# --------------------------------------------------------------------------------------------- manifests


def full(coco: Path, cache: Path, *more: str) -> int:
    words = ["data", "check", "coco", "--full", "--data-root", f"coco={coco}", "--work-dir", str(cache.parent)]
    return run([*words, *more])


def manifest_of(cache: Path, root: Path) -> Path:
    return kept_file(cache, "coco", root).with_suffix(".sha256.gz")


def test_a_manifest_has_the_checksum_of_every_file(coco: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert full(coco, cache) == 0
    assert f"manifest   {manifest_of(cache, coco)}: written (13 files)" in capsys.readouterr().out
    lines = gzip.decompress(manifest_of(cache, coco).read_bytes()).decode().splitlines()
    files = sorted(coco.rglob("*.jpg"))
    assert lines == [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(coco)}" for f in files]
    content = manifest_of(cache, coco).read_bytes()
    assert full(coco, cache) == 0  # compares
    assert "as the files are (13)" in capsys.readouterr().out
    assert manifest_of(cache, coco).read_bytes() == content
    assert identity("coco", coco, cache).notes == ()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("change", ["content", "sampled", "size", "gone", "new"])
def test_what_is_not_as_the_manifest_has_it_is_refused_by_name(
    coco: Path, cache: Path, paint: Paint, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert full(coco, cache) == 0
    file = coco / "train2017" / (SAMPLED if change == "sampled" else UNSAMPLED)
    if change == "gone":
        file.unlink()
    elif change == "new":
        file = paint(coco / "train2017" / "new.jpg")
    else:
        spoil(file, b"x" if change == "size" else b"")
    why = {"gone": "is missing", "new": "is new"}.get(change, "has another content")
    said = (
        rf"{file} {why}, by the manifest {manifest_of(cache, coco)}; put the files back .* bench data check coco --full"
    )
    for keep in (True, False, True):
        with pytest.raises(ChangedFiles, match=said):
            identity("coco", coco, cache, keep=keep)
    capsys.readouterr()
    assert full(coco, cache) == 2
    out, err = capsys.readouterr()
    assert f"changed    train2017/{file.name} {why}" in out
    assert re.search(said, err)
    found = find_data(["coco"], resolve_roots([f"coco={coco}"]), cache)
    assert isinstance(found.problems["coco"], ChangedFiles)
    words = ["--pretrain", "coco_densecl", "--data-root", f"coco={coco}", "--work-dir", str(cache.parent)]
    assert run(["plan", *words]) == 0
    out, _ = capsys.readouterr()
    assert "needs     data: coco (changed)" in out
    assert re.search(f"^changed: {said}", out, re.MULTILINE)
    assert run(["run", *words]) == 2
    assert re.search(said, capsys.readouterr().err)
    manifest_of(cache, coco).unlink()  # the change is meant
    assert full(coco, cache) == 0
    assert identity("coco", coco, cache) == fingerprints.Identity(fingerprint("coco", coco))


@pytest.mark.usefixtures("few")
def test_only_what_changed_is_read_again(
    coco: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert full(coco, cache) == 0
    read: list[list[str]] = []
    digests_of = manifests.digests_of

    def noted(root: Path, names: list[str], title: str) -> dict[str, str]:
        read.append([*names])
        return digests_of(root, names, title)

    monkeypatch.setattr(manifests, "digests_of", noted)
    assert identity("coco", coco, cache).notes == ()
    assert read == []
    for name in (UNSAMPLED, "000000000008.jpg"):
        os.utime(coco / "train2017" / name)
    capsys.readouterr()
    assert identity("coco", coco, cache).notes == ()  # they are what they were
    out, err = capsys.readouterr()
    assert (out, "2/2 files" in err) == ("", True)
    assert read == [[f"train2017/{UNSAMPLED}", "train2017/000000000008.jpg"]]
    assert identity("coco", coco, cache).notes == ()
    os.utime(manifest_of(cache, coco))
    assert identity("coco", coco, cache).notes == ()
    assert len(read) == 1
    kept_file(cache, "coco", coco).unlink()
    assert identity("coco", coco, cache).notes == ()
    assert len(read[1]) == 13


def test_another_manifest_in_its_place_is_held_against_all_files(coco: Path, cache: Path) -> None:
    assert full(coco, cache) == 0
    file = manifest_of(cache, coco)
    digests, _ = read_manifest(file)
    write_manifest(file, digests | {f"train2017/{UNSAMPLED}": "0" * 64})
    with pytest.raises(ChangedFiles, match=f"{UNSAMPLED} has another content"):
        identity("coco", coco, cache)


def test_rot_that_changes_no_time_is_found_by_reading_all(
    coco: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert full(coco, cache) == 0
    kept = read_kept(kept_file(cache, "coco", coco), "coco")
    assert kept is not None
    spoil(coco / "train2017" / UNSAMPLED)
    monkeypatch.setattr(fingerprints, "look", lambda *_: kept.now)  # as a disk does that returns other bits
    with pytest.raises(ChangedFiles, match=f"{UNSAMPLED} has another content"):
        check_content("coco", coco, cache)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "words"])
def test_a_damaged_manifest_is_one_sentence(coco: Path, cache: Path, damage: str) -> None:
    assert full(coco, cache) == 0
    file = manifest_of(cache, coco)
    content = file.read_bytes()
    spoilt = {"empty": b"", "cut": content[:-20], "text": b"text", "words": gzip.compress(b"not one\n")}[damage]
    file.write_bytes(spoilt)
    with pytest.raises(BadInput, match=r"manifest|checksum and name"):
        identity("coco", coco, cache)
    assert full(coco, cache) == 2


def test_no_flipped_bit_of_a_manifest_passes(coco: Path, cache: Path) -> None:
    assert full(coco, cache) == 0
    file = manifest_of(cache, coco)
    content = file.read_bytes()
    digests, _ = read_manifest(file)
    for place in np.random.default_rng(1).integers(10, len(content), 60).tolist():  # gzip's head says nothing of it
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << (place % 8)
        file.write_bytes(spoilt)
        with pytest.raises(BadInput):
            read_manifest(file)
    file.write_bytes(b"")
    with pytest.raises(BadInput, match="it is empty"):
        read_manifest(file)
    file.write_bytes(content)
    assert read_manifest(file)[0] == digests


def test_a_manifest_elsewhere(coco: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "kept" / "coco.sha256.gz"
    assert full(coco, cache, "--manifest", str(place)) == 0
    assert place.is_file()
    spoil(coco / "train2017" / UNSAMPLED)
    with pytest.raises(ChangedFiles, match="has another content"):
        identity("coco", coco, cache)
    other = tmp_path / "other" / "data.json"
    assert identity("coco", coco, other).notes == ()  # of a work folder that is not held to it
    assert full(coco, other, "--manifest", str(place)) == 2
    spoil(coco / "train2017" / UNSAMPLED)  # back again
    assert identity("coco", coco, cache).notes == ()
    assert full(coco, other, "--manifest", str(place)) == 0
    place.unlink()
    assert f"{place}, the manifest that coco was held to, is not there" in identity("coco", coco, cache).notes[0]
    capsys.readouterr()
    assert run(["data", "check", "coco", "--data-root", f"coco={coco}", "--manifest", str(place)]) == 2
    assert "--manifest says where --full keeps the manifest" in capsys.readouterr().err


def test_a_manifest_that_is_there_is_not_replaced_by_another(
    coco: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert full(coco, cache) == 0
    assert full(coco, cache, "--manifest", str(tmp_path / "other.gz")) == 2
    assert "is there already, as the manifest of coco" in capsys.readouterr().err
    assert manifest_of(cache, coco).is_file()


def test_a_manifest_that_cannot_be_written_is_said_before_anything_is_read(
    coco: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(fingerprints, "digests_of", lambda *_: pytest.fail("was read"))
    assert full(coco, cache, "--manifest", str(tmp_path / "file" / "coco.gz")) == 2
    assert "Cannot write to" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a b", "a\\b", "a\nb", "a\\nb", "ä", "a\u2028b", os.fsdecode(b"\xff")])
def test_any_name_is_written_and_read(tmp_path: Path, name: str) -> None:
    digests = {name: "a" * 64, "other": "b" * 64}
    write_manifest(tmp_path / "m.gz", digests)
    assert read_manifest(tmp_path / "m.gz")[0] == digests


def test_a_data_set_that_only_mmseg_reads(
    tmp_path: Path, paint: Paint, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = paint(tmp_path / "ade" / "images" / "a.png")
    words = ["--data-root", f"ade20k={tmp_path / 'ade'}", "--work-dir", str(cache.parent)]
    assert run(["data", "check", "ade20k", *words]) == 2
    assert run(["data", "check", "ade20k", "--full", *words]) == 0
    assert "written (1 file)" in capsys.readouterr().out
    spoil(file)
    with pytest.raises(ChangedFiles, match=r"a.png has another content.*bench data check ade20k --full"):
        identity("ade20k", tmp_path / "ade", cache)
    assert run(["data", "check", "ade20k", "--full", *words]) == 2
    assert "changed    images/a.png has another content" in capsys.readouterr().out


def test_a_data_set_from_outside_is_held_to_its_manifest_too(tmp_path: Path, paint: Paint, cache: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from bench.data.sets import DataSet, Index\n"
        "class Mine(DataSet):\n"
        "    name, layout, labelled = 'mine', 'images', False\n"
        "    def index(self, root, split):\n"
        "        return Index(self.name, root, split, tuple(sorted(f.name for f in root.glob('*.png'))))\n"
        "    def splits(self, root):\n"
        "        return ('train',)\n"
    )
    root = paint(tmp_path / "data" / "a.png").parent
    paint(root / "b.png")
    name = f"{source}:Mine"
    done = check_content(name, root, cache)
    assert "written (2 files)" in done
    spoil(root / "b.png")
    with pytest.raises(ChangedFiles, match=rf"b.png has another content.*bench data check {re.escape(name)} --full"):
        identity(name, root, cache)
