"""Which pictures of a work folder a page takes, and which it refuses."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from pages import webp, with_pictures

from bench.errors import BadInput
from bench.results.report.pictures import MOST_LISTED, read_panels


def test_pictures_are_taken_as_they_are(tmp_path: Path) -> None:
    work = with_pictures(tmp_path)
    (panel,), left_out = read_panels([work, tmp_path / "without"])
    assert left_out == []
    assert (panel.kind, panel.title, panel.columns) == ("segmentation", "Overlays", ("coco", "none"))
    label, (first, second) = panel.rows[0]
    assert label == "image 1"
    assert second is None
    assert first is not None
    assert first.uri == "data:image/webp;base64," + base64.b64encode(webp()).decode()


def test_what_is_too_much_is_left_out_and_said(tmp_path: Path) -> None:
    work = with_pictures(tmp_path)
    (panel,), left_out = read_panels([work], most=len(webp()) - 1)
    assert panel.rows[0][1][0] is not None
    assert panel.rows[0][1][0].uri is None
    assert len(left_out) == 1
    assert left_out[0].startswith("1 picture:")


@pytest.mark.parametrize("name", ["../secret.webp", "link.webp"])
def test_an_image_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    work = with_pictures(tmp_path, file=name)
    (tmp_path / "secret.webp").write_bytes(webp())
    (tmp_path / "pictures" / "link.webp").symlink_to(tmp_path / "secret.webp")
    with pytest.raises(BadInput, match="outside its folder"):
        read_panels([work])


@pytest.mark.parametrize("content", [b"<svg onload='hurt()'/>", b"", b"RIFF0000WAVE"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    work = with_pictures(tmp_path)
    (work / "pictures" / "one.webp").write_bytes(content)
    with pytest.raises(BadInput, match="no PNG, JPEG, GIF or WebP"):
        read_panels([work])


@pytest.mark.parametrize("name", ["none.webp", "a\0b", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_panels([with_pictures(tmp_path, file=name)])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2, "panels": []}', '{"version": 1, "panels": [{"kind": "film"}]}']
)
def test_a_list_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    work = with_pictures(tmp_path)
    (work / "pictures" / "pictures.json").write_text(text)
    with pytest.raises(BadInput, match=r"does not list pictures as it should .*; make it anew"):
        read_panels([work])


@pytest.mark.parametrize("name", ["one.webp", "pictures.json"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    file = with_pictures(tmp_path) / "pictures" / name
    file.unlink()
    os.mkfifo(file)
    if name == "pictures.json":
        assert read_panels([tmp_path]) == ([], [])
    else:
        with pytest.raises(BadInput, match=r"one\.webp.*cannot be read"):
            read_panels([tmp_path])


def test_a_list_larger_than_a_page_is_not_read(tmp_path: Path) -> None:
    file = with_pictures(tmp_path) / "pictures" / "pictures.json"
    file.write_text(file.read_text() + " " * MOST_LISTED)
    with pytest.raises(BadInput, match="larger than a page may be"):
        read_panels([tmp_path])


def test_a_row_has_a_picture_for_each_column(tmp_path: Path) -> None:
    file = with_pictures(tmp_path) / "pictures" / "pictures.json"
    content = json.loads(file.read_text())
    content["panels"][0]["columns"].append("one more")
    file.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=r"3 columns in the panel 'Overlays'.*'image 1'"):
        read_panels([tmp_path])
