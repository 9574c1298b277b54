"""Rendered files are like ImageNet's in size, and a function of their number."""

from __future__ import annotations

import statistics

import cv2
import numpy as np
import photographs
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    photographs.render(folder / "train2017", 8)
    return folder


def test_size_and_weight_of_files(folder):
    files = photographs.listed(folder)
    shapes = [cv2.imread(str(file)).shape for file in files]
    assert shapes[0] == (375, 500, 3)
    assert shapes[3] == (500, 375, 3)  # every fourth is upright
    assert shapes.count((500, 375, 3)) == 2
    assert 70_000 < statistics.median(file.stat().st_size for file in files) < 120_000


def test_the_same_number_gives_the_same_pixels(folder):
    assert np.array_equal(photographs.photograph(2, 375, 500), photographs.photograph(2, 375, 500))
    assert not np.array_equal(photographs.photograph(3, 375, 500), photographs.photograph(2, 375, 500))
    before = {file: file.stat().st_mtime_ns for file in photographs.listed(folder)}
    photographs.render(folder / "train2017", 8)
    assert {file: file.stat().st_mtime_ns for file in photographs.listed(folder)} == before  # rendered once


def test_given_files_are_taken_in_order(tmp_path, folder):
    given = tmp_path / "given"
    (given / "deep").mkdir(parents=True)
    for name, file in zip(("b.jpg", "deep/a.JPEG", "c.png"), photographs.listed(folder), strict=False):
        (given / name).write_bytes(file.read_bytes())
    values, notes = photographs.prepare(False, given, tmp_path)
    laid_out = photographs.listed(values["folder"])
    assert [file.read_bytes() for file in laid_out] == [
        (given / name).read_bytes() for name in ("b.jpg", "deep/a.JPEG")
    ]
    assert notes[0].startswith("Images: 2 JPEG files, given photographs, median ")
