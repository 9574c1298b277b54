"""Contenders do their work on tiny sizes; those of peers run in their environment only."""

from __future__ import annotations

import statistics

import cv2
import evaluation
import features
import numpy as np
import photographs
import pytest
import reading
import steps
import torch
import view_stages
import views
from comparisons import COMPARISONS, beyond_stages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    place = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "FOLDER", place)
        yield reading.prepare(True, None, place)


@pytest.mark.slow
def test_rendered_files_are_like_imagenets_and_the_same_each_time(prepared):
    files = photographs.listed(prepared[0]["folder"])
    shapes = [cv2.imread(str(file)).shape for file in files]
    assert shapes == [(500, 375, 3) if number % 4 == 3 else (375, 500, 3) for number in range(8)]
    assert 70_000 < statistics.median(file.stat().st_size for file in files) < 120_000
    pixels = photographs.photograph(2, 75, 100)
    assert np.array_equal(pixels, photographs.photograph(2, 75, 100))
    assert not np.array_equal(pixels, photographs.photograph(3, 75, 100))
    before = {file: file.stat().st_mtime_ns for file in files}
    photographs.render(files[0].parent, 8)
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_given_files_are_taken_in_order(tmp_path):
    given = tmp_path / "photos"
    (given / "deep").mkdir(parents=True)
    for name in ("b.jpg", "deep/a.JPEG", "c.png"):
        (given / name).write_text(name)
    values, notes = photographs.prepare(False, given, tmp_path)
    assert [file.read_text() for file in photographs.listed(values["folder"])] == ["b.jpg", "deep/a.JPEG"]
    assert notes[0].startswith("Images: 2 JPEG files, given photographs, median ")


def test_images_and_features_are_the_same_in_every_process():
    assert photographs.small(3).shape == (3, 32, 32, 3)
    assert np.array_equal(photographs.small(3), photographs.small(3))
    rows, labels = features.drawn(5, 1, 16)
    assert torch.equal(rows, features.drawn(5, 1, 16)[0])
    assert torch.allclose(rows.norm(dim=1), torch.ones(5))
    assert not torch.equal(labels, features.drawn(5, 2, 16)[1])


@pytest.mark.slow
def test_views_and_packs(prepared):
    values, notes = prepared
    folder, pack = values["folder"], values["uint8"]
    assert notes[0].startswith(
        "Images: 8 JPEG files, rendered with the entropy of photographs, 500x375 pixels, median "
    )
    assert views.by_worker(2, 224, "fast", folder, pack)() == 2
    assert views.by_worker(2, 32, "reference")() == 2
    assert views.on_device(2, folder, pack)() == 2
    resident = views.resident(4, 32)
    assert resident() == resident() == 4
    for how, place in (("pillow", folder), ("opencv", folder), ("pack", values["jpeg"])):
        assert reading.read(2, place, how)() == 16


@pytest.mark.slow
def test_stages_of_views(prepared):
    folder, pack = prepared[0]["folder"], prepared[0]["jpeg"]
    (comparison,) = (one for one in COMPARISONS if one.name == "view_stages")
    named = {one.arguments["what"] for one in comparison.contenders if "what" in one.arguments}
    assert named == set(view_stages.STAGES)
    for what in sorted(named):
        assert view_stages.stage(3, 224, folder, what, pack)() == 3
        assert view_stages.stage(3, 224, folder, what)() == 3


def test_stages_do_what_chance_has_drawn(prepared, monkeypatch):
    """Of two views as often as the whole does it: every first view is blurred and a tenth of the second ones."""
    done = []
    for name in ("blur", "recolour"):
        monkeypatch.setattr(view_stages.fast, name, lambda *arguments, name=name: done.append(name))
    monkeypatch.setattr(view_stages.cv2, "min", lambda *arguments: done.append("solarize"))
    for what in ("blur", "colours", "flip_and_solarize"):
        view_stages.stage(view_stages.DRAWS, 32, prepared[0]["folder"], what)()
    rates = {name: done.count(name) / view_stages.DRAWS for name in ("blur", "recolour", "solarize")}
    assert rates == pytest.approx({"blur": 1.1, "recolour": 2 * 0.84, "solarize": 0.2}, abs=0.1)


def test_the_whole_against_the_sum_of_its_stages():
    (comparison,) = (one for one in COMPARISONS if one.name == "view_stages")
    rates = {one.name: 7.0 for one in comparison.contenders} | {"all of JPEG pack": 0.5}
    assert beyond_stages("JPEG pack", rates) == pytest.approx(2.0)
    rates["decode raw JPEG"] = 1e-9  # another source's
    assert beyond_stages("JPEG pack", rates) == pytest.approx(2.0)
    rates["decode JPEG pack"] = 1 / 3
    assert beyond_stages("JPEG pack", rates) == pytest.approx(2 / (6 / 7 + 3))


@pytest.mark.slow
def test_steps(prepared):
    assert steps.step(2, 32)() == 2
    assert steps.step(2, 32, copied=True)() == 2
    assert steps.small(2, 32, 4, steps=2)() == 4
    assert steps.with_checkpoint(2, 32, 1, "background")() == 1


def test_evaluation_of_frozen_trunks():
    assert evaluation.step("plain", "", 2, 32, classes=3)() == 2
    assert evaluation.step("kept", "", 4, 32, rates=3, classes=3)() == 4
    for search, queries in (("loop", 8), ("float32", 5), ("bf16", 5), ("product", 5)):
        assert evaluation.knn(300, queries, 20, 0.07, dim=16, search=search)() == queries
