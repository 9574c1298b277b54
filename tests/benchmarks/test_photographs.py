"""Rendered files are like ImageNet's in size, and a function of their number."""

from __future__ import annotations

import statistics

import cv2
import numpy as np
import photographs
import pytest


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "FOLDER", tmp_path_factory.mktemp("rendered"))
        yield photographs.photographs(8)


def test_size_and_weight_of_files(rendered):
    shapes = [cv2.imread(str(file)).shape for file in rendered]
    assert shapes[0] == (375, 500, 3)
    assert shapes[3] == (500, 375, 3)  # every fourth is upright
    assert shapes.count((500, 375, 3)) == 2
    assert 70_000 < statistics.median(file.stat().st_size for file in rendered) < 120_000
    assert photographs.about(rendered).startswith("8 JPEG files, rendered with the entropy of photographs, median ")


def test_the_same_number_gives_the_same_pixels(rendered):
    again = photographs.photograph(2, 375, 500)
    assert np.array_equal(photographs.photograph(2, 375, 500), again)
    assert not np.array_equal(photographs.photograph(3, 375, 500), again)
    before = {file: file.stat().st_mtime_ns for file in rendered}
    assert photographs.photographs(8) == rendered
    assert {file: file.stat().st_mtime_ns for file in rendered} == before  # rendered once


def test_given_files_are_taken_in_order_and_again(tmp_path, rendered):
    folder = tmp_path / "given"
    (folder / "deep").mkdir(parents=True)
    for name, file in zip(("b.jpg", "deep/a.JPEG", "c.png"), rendered, strict=False):
        (folder / name).write_bytes(file.read_bytes())
    found = photographs.photographs(5, folder)
    assert [file.relative_to(folder).as_posix() for file in found] == ["b.jpg", "deep/a.JPEG"] * 2 + ["b.jpg"]
    with pytest.raises(SystemExit) as end:
        photographs.photographs(1, tmp_path / "empty")
    assert end.value.code == 2
