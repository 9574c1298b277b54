"""Classes from outside of the package: found without being imported, and refused in one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.plugins import load, locate

GROUP = "bench.examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file, a package that must not be imported, and the metadata of an installed distribution."""
    (tmp_path / "thing.py").write_text("class Thing:\n    pass\n")
    (tmp_path / "plugged").mkdir()
    (tmp_path / "plugged" / "__init__.py").write_text("")
    (tmp_path / "plugged" / "thing.py").write_text("class Thing:\n    pass\n")
    installed = tmp_path / "plugged-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\nthing = plugged.thing:Thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"),
    [("thing.py:Thing", "thing.py"), ("plugged.thing:Thing", "plugged/thing.py"), ("thing", "plugged/thing.py")],
)
def test_a_class_is_located_without_importing_it_and_then_loaded(folder: Path, name: str, file: str) -> None:
    source = locate(name, GROUP, folder)
    assert source.file == folder / file
    assert "plugged.thing" not in sys.modules
    assert load(source).__name__ == "Thing"
    sys.modules.pop("plugged.thing", None)
    sys.modules.pop("plugged", None)


def test_an_edited_file_is_another_module(folder: Path) -> None:
    first = load(locate("thing.py:Thing", GROUP, folder))
    assert load(locate("thing.py:Thing", GROUP, folder)) is first
    (folder / "thing.py").write_text("class Thing:\n    colour = 'red'\n")
    assert load(locate("thing.py:Thing", GROUP, folder)).colour == "red"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("thingg", r"Unknown example 'thingg'; did you mean thing\?"),
        ("zzz", r"Unknown example 'zzz'; known: coco, thing, package\.module:Class and file\.py:Class\."),
        ("thing.py:", r"Unknown example 'thing\.py:'"),
        ("no.py:Thing", r"names no\.py, which is not in .* nor in .*; correct the path"),
        ("no_such_package.thing:Thing", r"names the module no_such_package\.thing, which is not installed; install"),
        ("plugged.no:Thing", r"names the module plugged\.no, which is not installed"),
        ("thing.py:Thin", r"thing\.py has no class Thin; did you mean Thing\?"),
        ("broken.py:Thing", r"broken\.py cannot be imported \(SyntaxError: .*\); correct it\."),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(folder: Path, name: str, message: str) -> None:
    (folder / "broken.py").write_text("class Thing(:\n")
    with pytest.raises(BadInput, match=message) as caught:
        load(locate(name, GROUP, folder, what="example", known=["coco"]))
    assert "\n" not in str(caught.value)
