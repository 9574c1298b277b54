"""Where data roots come from, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.data.roots import Roots, resolve_roots
from bench.data.sets.imagenet import imagenet100_classes
from bench.errors import BadInput


@pytest.fixture(autouse=True)
def no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's config folder that is empty; returns where `config.toml` would lie."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "bench"
    folder.mkdir(parents=True)
    return folder / "config.toml"


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def resolve(tmp_path: Path, *words: object, **environ: str) -> Roots:
    return resolve_roots([str(word) for word in words], environ=environ, cwd=tmp_path)


def test_named_folders_and_common_parents(tmp_path: Path) -> None:
    named = folder(tmp_path / "named")
    parent = tmp_path / "parent"
    for name in ("coco", "imagenet_mini", "cityscapes", "cityscapes_mini"):
        folder(parent / name)
    roots = resolve(tmp_path, parent, f"coco={named}")
    assert roots.find("coco") == named  # a name says more than a parent, in any order
    assert roots.find("imagenet") == parent / "imagenet_mini"
    assert roots.find("cityscapes") == parent / "cityscapes"
    assert roots.find("imagenet100") == parent / "imagenet_mini"  # filtered by the reader
    folder(parent / "imagenet100")
    assert roots.find("imagenet100") == parent / "imagenet100"
    assert resolve(tmp_path, "COCO=named").find("coco") == named  # relative to the working directory


def test_data_sets_of_other_mmseg_configs(tmp_path: Path) -> None:
    place = folder(tmp_path / "ade")
    assert resolve(tmp_path, f"ade20k={place}").find("ade20k") == place


def test_the_order_of_the_sources(tmp_path: Path, no_config: Path) -> None:
    places = {name: folder(tmp_path / name) for name in ("option", "own", "words", "here", "user")}
    folder(tmp_path / "parent" / "coco")
    no_config.write_text(f'[data_roots]\ncoco = "{places["user"]}"\n')
    assert resolve(tmp_path).find("coco") == places["user"]
    (tmp_path / "bench.toml").write_text('[data_roots]\ncoco = "here"\n')
    assert resolve(tmp_path).find("coco") == places["here"]  # relative to the file
    environ = {"BENCH_DATA_ROOT": os.pathsep.join(["nowhere", f"coco={places['words']}"])}
    assert resolve(tmp_path, **environ).find("coco") == places["words"]
    environ |= {"BENCH_DATA_ROOT_COCO": str(places["own"])}
    assert resolve(tmp_path, **environ).find("coco") == places["own"]
    assert resolve(tmp_path, "parent", **environ).find("coco") == tmp_path / "parent" / "coco"
    assert resolve(tmp_path, "coco=option", **environ).find("coco") == places["option"]


def test_a_config_file_can_name_a_parent(tmp_path: Path) -> None:
    place = folder(tmp_path / "data" / "imagenet")
    (tmp_path / "bench.toml").write_text('[data_roots]\nparent = "data"\n')
    assert resolve(tmp_path).find("imagenet") == place


def test_sources_say_where_each_came_from(tmp_path: Path) -> None:
    coco = folder(tmp_path / "a")
    roots = resolve(tmp_path, "coco=a", "cityscapes=nowhere", BENCH_DATA_ROOT_IMAGENET=str(coco))
    assert roots.sources() == [
        ("coco", coco, "--data-root"),
        ("coco_plus", None, f"{coco} has no unlabeled2017/"),
        ("imagenet", coco, "BENCH_DATA_ROOT_IMAGENET"),
        ("imagenet100", None, f"{coco} has 0 of its 100 classes"),
        ("cityscapes", None, f"--data-root: {tmp_path / 'nowhere'} is no folder"),
        *((name, None, "") for name in ("clips", "cifar10", "cifar100", "stl10")),
    ]


def test_sources_have_a_data_set_that_is_given_and_not_ours(tmp_path: Path) -> None:
    place = folder(tmp_path / "photographs")
    assert resolve(tmp_path, f"birds={place}").sources()[-1] == ("birds", place, "--data-root")


def test_what_is_wrong_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"No data root for coco; give --data-root coco=DIR"):
        resolve(tmp_path).find("coco")
    with pytest.raises(BadInput, match=r"looked into .*parent"):
        resolve(tmp_path, "parent").find("coco")
    with pytest.raises(BadInput, match="cocoa; did you mean coco"):
        resolve(tmp_path).find("cocoa")
    with pytest.raises(BadInput, match=r"coco \(only given: cocco\)"):
        resolve(tmp_path, "cocco=x").find("coco")
    # A folder that was named is not silently replaced by that of a later source.
    folder(tmp_path / "real")
    with pytest.raises(BadInput, match=r"nowhere, given for coco by --data-root, is no folder"):
        resolve(tmp_path, "coco=nowhere", BENCH_DATA_ROOT_COCO="real").find("coco")
    with pytest.raises(BadInput, match="without a folder"):
        resolve(tmp_path, "coco=")


def test_sources_name_what_a_folder_holds(tmp_path: Path) -> None:
    """ImageNet-100 is where its classes are, COCO+ where its images are, and no data set where another one is."""
    imagenet, coco = folder(tmp_path / "data" / "imagenet"), folder(tmp_path / "data" / "coco" / "train2017").parent
    wnids = imagenet100_classes()
    for wnid in (*wnids[:99], "n00000001"):
        folder(imagenet / "train" / wnid)
    rows = {name: (place, why) for name, place, why in resolve(tmp_path, "data", f"cifar10={imagenet}").sources()}
    assert rows["imagenet"] == (imagenet, "--data-root")
    assert rows["imagenet100"] == (None, f"{imagenet} has 99 of its 100 classes")
    assert rows["coco_plus"] == (None, f"{coco} has no unlabeled2017/")
    assert rows["cifar10"] == (None, f"{imagenet} looks like imagenet")
    folder(imagenet / "train" / wnids[99])
    folder(coco / "unlabeled2017")
    rows = {name: (place, why) for name, place, why in resolve(tmp_path, "data").sources()}
    assert rows["imagenet100"] == (imagenet, "--data-root")
    assert rows["coco_plus"] == (coco, "--data-root")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[data_roots\n", "not readable TOML"),
        ("[data_roots]\ncoco = 3\n", "takes lines like"),
        ('[data_root]\ncoco = "a"\n', r"has \[data_root\], which bench does not read; .* below \[data_roots\]"),
        ('coco = "a"\n', r"has coco outside of a table, which bench does not read; .* below \[data_roots\]"),
    ],
)
def test_a_config_file_that_is_wrong(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "bench.toml").write_text(text)
    with pytest.raises(BadInput, match=match):
        resolve(tmp_path)
