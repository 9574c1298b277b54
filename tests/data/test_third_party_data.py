"""Data sets that are not ours: the page that shows how to write one, followed literally; by path and by entry point."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.config.load import load_recipe, load_task
from bench.data.packs.manifest import Form
from bench.data.packs.writing import pack
from bench.data.roots import resolve_roots
from bench.data.sets import fingerprint, index, pretraining_index, short_name
from bench.data.sets.check import check
from bench.errors import BadInput
from bench.execute.grid import Request, plan_grid
from bench.plan import Planner, recorded_settings

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_dataset.md"
Run = Callable[..., "CompletedProcess[str]"]
Paint = Callable[..., Path]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The files that the page shows, in the folder `mine`."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in re.findall(r"```python\n# mine/(\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def birds(tmp_path: Path, paint: Paint) -> Path:
    """A few images in the layout that the page describes."""
    root = tmp_path / "DIR"
    for species in ("heron", "robin"):
        for number in range(6):
            paint(root / "photos" / species / f"{number:03}.jpg", seed=number)
    (root / "val.txt").write_text("heron/000.jpg\nrobin/000.jpg\n")
    return root


@pytest.fixture
def installed(mine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same class as an installed package's, with an entry point."""
    shutil.copy(mine / "birds.py", mine / "birds_package.py")
    metadata = mine / "birds_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: birds-package\nVersion: 1.0\n")
    points = "birds = birds_package:Birds\ncoco = birds_package:Birds\nother = birds_package:Birds\n"
    (metadata / "entry_points.txt").write_text(f"[bench.datasets]\n{points}")
    monkeypatch.syspath_prepend(str(mine))
    return mine


@pytest.mark.slow
def test_the_commands_of_the_page_work(bench: Run, mine: Path, birds: Path, tmp_path: Path) -> None:
    commands = [shlex.split(line)[1:] for line in re.findall(r"^    (bench .*)$", PAGE.read_text(), re.MULTILINE)]
    assert [words[0] for words in commands] == ["data", "run"]
    for words in commands:
        done = bench(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "runs" / "smoke" / "results" / "records").glob("*.json")
    assert str(tmp_path) not in file.read_text().replace(json.dumps(str(tmp_path / "runs"))[1:-1], "")
    record = json.loads(file.read_text())
    assert (record["pretrain_set"], record["dataset"]) == ("birds", "birds")
    assert record["data"].keys() == {"birds"}
    assert record["settings"]["pretrain"]["dataset"] == "birds"


@pytest.mark.parametrize("name", ["{mine}/birds.py:Birds", "birds_package:Birds", "birds"])
def test_it_is_listed_checked_and_fingerprinted_by_any_name(name: str, installed: Path, birds: Path) -> None:
    name = name.format(mine=installed)
    assert short_name(name) == "birds"
    assert resolve_roots([f"birds={birds}"], environ={}).find(name) == birds
    train, val = index(name, birds, "train"), index(name, birds, "val")
    assert (len(train.files), val.files) == (10, ("photos/heron/000.jpg", "photos/robin/000.jpg"))
    assert (train.dataset, train.classes, val.labels) == (name, ("heron", "robin"), (0, 1))
    assert pretraining_index(name, birds) == train
    report = check(name, birds)
    assert report.ok
    assert report.counts == {"train": {"heron": 5, "robin": 5}, "val": {"heron": 1, "robin": 1}}
    before = fingerprint(name, birds)
    (birds / "val.txt").write_text("heron/000.jpg\nrobin/001.jpg\n")
    assert fingerprint(name, birds) != before


def test_a_pack_is_made_under_a_name_alone_and_where_the_class_allows_it(installed: Path, birds: Path) -> None:
    with pytest.raises(BadInput, match=r"Only a data set that has a name can be packed; give birds an entry point\."):
        pack(f"{installed}/birds.py:Birds", birds, "train", Form())
    with pytest.raises(
        BadInput, match="birds is read at full size and cannot be packed; packs are made of coco, imagenet"
    ):
        pack("birds", birds, "train", Form())


def test_an_edit_of_its_source_is_another_data_set_and_a_move_is_not(mine: Path, birds: Path, tmp_path: Path) -> None:
    cache = tmp_path / "data.json"
    before = fingerprint(f"{mine}/birds.py:Birds", birds, cache)
    shutil.copytree(mine, tmp_path / "moved")
    assert fingerprint(f"{tmp_path}/moved/birds.py:Birds", birds, cache) == before
    (mine / "birds.py").write_text((mine / "birds.py").read_text() + "# more\n")
    assert fingerprint(f"{mine}/birds.py:Birds", birds, cache) != before


COARSE = """

class Coarse(Birds):
    def index(self, root, split):
        listed = super().index(root, split)
        return Index(self.name, root, split, listed.files, tuple(1 - label for label in listed.labels), listed.classes)
"""


def test_two_classes_of_one_name_are_two_data_sets_and_in_no_grid_together(
    mine: Path, birds: Path, tmp_path: Path
) -> None:
    with (mine / "birds.py").open("a") as file:
        file.write(COARSE)
    cache = tmp_path / "data.json"
    prints = {fingerprint(f"{mine}/birds.py:{name}", birds, cache) for name in ("Birds", "Coarse", "Birds")}
    assert len(prints) == 2
    task = mine / "coarse_knn.py"
    task.write_text((mine / "birds_knn.py").read_text().replace("Birds", "Coarse"))
    request = Request([str(mine / "birds_simclr.py")], [str(task)], data_root=[f"birds={birds}"], work_dir=tmp_path)
    with pytest.raises(BadInput, match=r"py:Birds and .*py:Coarse both call their data set 'birds'; give one another"):
        plan_grid(request, act=False)


def test_a_plan_does_not_depend_on_where_it_lies(mine: Path, birds: Path, tmp_path: Path) -> None:
    def planned(folder: Path) -> list[str]:
        recipe, task = load_recipe(str(folder / "birds_simclr.py")), load_task(str(folder / "birds_knn.py"))
        assert recipe.dataset == task.dataset == f"{folder}/birds.py:Birds"  # found from any folder
        assert recorded_settings(recipe)["dataset"] == "birds"
        return [stage.fingerprint for stage in Planner(lambda name: "content").grid([recipe], [task], [0])]

    shutil.copytree(mine, tmp_path / "moved")
    assert planned(mine) == planned(tmp_path / "moved")
    request = Request(
        [str(mine / "birds_simclr.py")], [str(mine / "birds_knn.py")], data_root=[f"birds={birds}"], work_dir=tmp_path
    )
    assert not plan_grid(request, act=False).problems


def test_an_entry_point_names_it_in_a_config_and_ours_come_first(installed: Path) -> None:
    config = installed / "birds_simclr.py"
    config.write_text(config.read_text().replace("birds.py:Birds", "birds"))
    assert load_recipe(str(config)).dataset == "birds"
    assert load_recipe("coco").dataset == "coco"
    with pytest.raises(BadInput, match="calls its data set 'birds', its entry point 'other'; make them equal"):
        load_recipe("coco", "full", {"dataset": "other"})
    with pytest.raises(BadInput, match=r"Key 'dataset' in .* is 'bird', but should be 'coco', .* or 'none'; did you"):
        load_recipe("coco", "full", {"dataset": "bird"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Birds(DataSet)", "class Birds", r"Birds in .*birds\.py is no data set; derive it from"),
        ("    name = ", "    title = ", r"Birds in .*birds\.py has no name; set it to a string"),
        ('"birds"  #', '"coco"  #', r"birds\.py calls its data set 'coco', which is taken; choose another"),
        ('"birds"  #', '"My birds"  #', r"The name 'My birds' in .* is not of a-z, 0-9 and _; choose another"),
        ("def index", "def listing", r"Birds in .*birds\.py cannot be made \(.*index.*\); correct it"),
        ("import BadInput", "import GoodInput", r"birds\.py cannot be imported \(ImportError: .*\); correct it"),
        ("class Birds", "class Bird", r"birds\.py has no class Birds; did you mean Bird"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(mine: Path, old: str, new: str, message: str) -> None:
    file = mine / "birds.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(BadInput, match=message) as caught:
        load_recipe(str(mine / "birds_simclr.py"))
    assert "\n" not in str(caught.value)


CHANGED = """

class Changed(Birds):
    name = "changed"
    %s

    def index(self, root, split):
        from dataclasses import replace
        listed = super().index(root, split)
        return %s
"""


@pytest.mark.parametrize(
    ("fact", "returned", "message"),
    [
        (
            "",
            "None",
            r"Changed\.index in .*birds\.py returned NoneType for train, but it should be an Index; correct it",
        ),
        ("", "{}['boo']", r"Changed\.index in .*birds\.py raised KeyError: 'boo'; correct it"),
        ("", "exit(3)", r"Changed\.index in .*birds\.py raised SystemExit: 3; correct it"),
        ("", "replace(listed, files=())", r"Changed\.index in .* lists no image of train; correct it"),
        ("", "replace(listed, files=listed.files[0])", r"Changed\.index in .* has str as files of train; give a tuple"),
        ("", "replace(listed, labels=None)", r"has no labels for train; add them, or set labelled = False"),
        ("", "replace(listed, labels=listed.labels[1:])", r"lists 9 labels for 10 files of train; give one for each"),
        (
            "",
            "replace(listed, labels=(9,) * 10)",
            r"has the label 9 in train, but 2 classes; give positions in classes",
        ),
        ("", "replace(listed, labels=(-1,) * 10)", r"has the label -1 in train, but 2 classes"),
        ("", "replace(listed, labels=(0.5,) * 10)", r"has labels of train that are no whole numbers"),
        ("", "replace(listed, masks=('a.png',))", r"lists 1 label maps for 10 files of train; give one for each"),
        (
            "def splits(self, root): return ('test',)",
            "listed",
            r"Changed\.splits in .* returned \('test',\), but it should",
        ),
        ("def more_files(self, root): return [][0]", "listed", r"Changed\.more_files in .* raised IndexError"),
        (
            "def __init__(self): [][0]",
            "listed",
            r"Changed in .*birds\.py cannot be made \(IndexError: .*\); correct it",
        ),
        (
            "unlabelled_split = 'rest'",
            "listed",
            r"has an unlabelled_split and no method unlabelled\(root\), which lists it",
        ),
    ],
)
def test_a_list_that_cannot_be_is_refused_where_it_is_read(
    mine: Path, birds: Path, fact: str, returned: str, message: str
) -> None:
    with (mine / "birds.py").open("a") as file:
        file.write(CHANGED % (fact, returned))
    name = f"{mine}/birds.py:Changed"
    with pytest.raises(BadInput, match=message) as caught:
        fingerprint(name, birds)
    assert "\n" not in str(caught.value)
    if "more_files" in fact:
        return
    for ask in (check, pretraining_index, lambda *where: index(*where, "train")):
        if "splits" not in fact or ask is check:
            with pytest.raises(BadInput, match=message.replace("index in", "(pretraining_)?index in")):
                ask(name, birds)


def test_the_check_says_which_method_raised(mine: Path, birds: Path) -> None:
    with (mine / "birds.py").open("a") as file:
        file.write(CHANGED % ("def contents(self, root, split): return 1 / 0", "listed"))
    with pytest.raises(BadInput, match=r"Changed\.contents in .*birds\.py raised ZeroDivisionError: division by zero"):
        check(f"{mine}/birds.py:Changed", birds)


def test_what_has_no_classes_is_pretrained_on_and_no_task(mine: Path) -> None:
    file = mine / "birds.py"
    file.write_text(file.read_text().replace("    name = ", "    labelled = False\n    name = "))
    assert load_recipe(str(mine / "birds_simclr.py")).dataset.endswith("birds.py:Birds")
    with pytest.raises(BadInput, match=r"is 'birds\.py:Birds', but should be 'imagenet', .* or 'stl10'"):
        load_task(str(mine / "birds_knn.py"))
