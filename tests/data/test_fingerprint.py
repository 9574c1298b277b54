"""A fingerprint follows the content, and is not taken twice."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import bench.data.sets.fingerprints as fingerprints
from bench.data.sets import fingerprint
from bench.data.sets.kept import kept_file
from bench.errors import BadInput

Paint = Callable[..., Path]


def test_it_follows_content_size_name_and_nothing_else(imagenet: Path, tmp_path: Path) -> None:
    first = fingerprint("imagenet", imagenet)
    assert len(first) == 16
    assert set(first) <= set("0123456789abcdef")
    elsewhere = shutil.copytree(imagenet, tmp_path / "elsewhere")
    assert fingerprint("imagenet", elsewhere) == first
    (elsewhere / "README").write_text("no part of the data set")
    assert fingerprint("imagenet", elsewhere) == first

    file = imagenet / "val" / "n00000001" / "ILSVRC2012_val_1.JPEG"
    content = file.read_bytes()
    seen = {first}
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # content alone
    seen.add(fingerprint("imagenet", imagenet))
    file.write_bytes(content + b"x")  # size
    seen.add(fingerprint("imagenet", imagenet))
    file.write_bytes(content)
    assert fingerprint("imagenet", imagenet) == first
    file = file.rename(file.with_name("another.JPEG"))  # name
    seen.add(fingerprint("imagenet", imagenet))
    shutil.move(file, imagenet / "val" / "n00000002" / "another.JPEG")
    shutil.rmtree(imagenet / "val" / "n00000001")
    seen.add(fingerprint("imagenet", imagenet))  # class
    assert len(seen) == 5


def test_label_maps_are_part_of_cityscapes(cityscapes: Path) -> None:
    before = fingerprint("cityscapes", cityscapes)
    mask = cityscapes / "gtFine/val/lindau/lindau_000001_000019_gtFine_labelTrainIds.png"
    mask.write_bytes(mask.read_bytes() + b"x")
    assert fingerprint("cityscapes", cityscapes) != before


def test_only_evenly_spaced_files_are_read(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "SAMPLED", 2)  # of 13: the first and the seventh
    before = fingerprint("coco", coco)

    def spoil(name: str, more: bytes = b"") -> str:
        file = coco / "train2017" / name
        content = file.read_bytes()
        file.write_bytes(b"x" + content[1:] + more)
        changed = fingerprint("coco", coco)
        file.write_bytes(content)
        return changed

    assert spoil("000000000005.jpg") == before
    assert spoil("000000000005.jpg", b"x") != before  # the size of every file counts
    assert spoil("000000000006.jpg") != before
    assert spoil("000000000000.jpg") != before


def refuse(*args: object, **named: object) -> object:
    raise AssertionError("looked at the files again")


def test_the_second_call_reads_nothing(imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "work" / "data.json"
    first = fingerprint("imagenet", imagenet, cache)
    assert first == fingerprint("imagenet", imagenet)
    with monkeypatch.context() as patched:
        patched.setattr(fingerprints.hashlib, "file_digest", refuse)
        patched.setattr(os, "scandir", refuse)
        assert fingerprint("imagenet", imagenet, cache) == first
    kept = kept_file(cache, "imagenet", imagenet)
    assert sorted(file.name for file in cache.parent.iterdir()) == [kept.name, "data.json"]  # and nothing left over


def test_the_cache_notices_changes(imagenet: Path, coco: Path, tmp_path: Path, paint: Paint) -> None:
    cache = tmp_path / "data.json"
    seen = [fingerprint("imagenet", imagenet, cache)]
    other = fingerprint("coco", coco, cache)
    paint(imagenet / "train" / "n00000003" / "new.JPEG")  # in a folder
    seen.append(fingerprint("imagenet", imagenet, cache))
    paint(imagenet / "train" / "n00000004" / "new.JPEG")  # a folder
    seen.append(fingerprint("imagenet", imagenet, cache))
    paint(imagenet / "train" / "n00000003" / "new.JPEG", seed=1)  # in place: no folder changes
    seen.append(fingerprint("imagenet", imagenet, cache))
    assert len(set(seen)) == 4
    assert fingerprint("coco", coco, cache) == other
    assert len(json.loads(cache.read_text())) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"x": {"fingerprint": "0", "stamps": {"": [1, 0]}}}', "not JSON"])
def test_a_spoilt_cache_is_no_obstacle(coco: Path, tmp_path: Path, content: str) -> None:
    cache = tmp_path / "data.json"
    cache.write_text(content.replace('"x"', json.dumps(f"coco:{coco}")))
    assert fingerprint("coco", coco, cache) == fingerprint("coco", coco)
    assert "fingerprint" in cache.read_text()


def test_without_a_cache_that_can_be_written_nothing_fails(coco: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert fingerprint("coco", coco, tmp_path / "file" / "data.json") == fingerprint("coco", coco)


def test_data_sets_without_a_reader(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "ade" / "images" / "a.png")
    before = fingerprint("ade20k", tmp_path / "ade")
    paint(tmp_path / "ade" / "images" / "b.png")
    assert fingerprint("ade20k", tmp_path / "ade") != before
    with pytest.raises(BadInput, match="--data-root ade20k=DIR"):
        fingerprint("ade20k", tmp_path / "nowhere")


def test_complaints_of_the_reader_come_through(tmp_path: Path, imagenet: Path) -> None:
    with pytest.raises(BadInput, match="train2017"):
        fingerprint("coco", tmp_path / "imagenet")
    for file in (imagenet / "train" / "n00000001").iterdir():
        file.unlink()
    with pytest.raises(BadInput, match="n00000001 holds no images"):
        fingerprint("imagenet", imagenet)
