"""Which stages an edit of this package reaches, on a copy of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bench.code.left_out import LEFT_OUT, SETTINGS
from bench.code.modules import OURS
from bench.config import code_of
from bench.config.code_of import CodeOf, builds_objective, roots_of
from bench.config.kinds import STEPS
from bench.config.objective_source import objectives
from bench.config.tasks import KINDS
from bench.data.sets import DATA_SETS
from bench.errors import BadInput
from bench.plugins import Source

Edit = Callable[[str, str, str], set[str]]
PRETRAININGS = {f"pretrain {name}" for name in objectives()}
TASKS = set(KINDS)
ALL = PRETRAININGS | TASKS | {"convert"}


def digests(tree: Path) -> dict[str, str]:
    """{stage: digest} of each objective on COCO, the conversion, and each kind of task."""
    code = CodeOf(mapping={}, tree=tree)
    found = {f"pretrain {name}": code.stage(STEPS["pretrain"], name, "coco") for name in objectives()}
    found["convert"] = code.stage(STEPS["convert"], None, "none")
    for name, kind in KINDS.items():
        objective = "byol" if builds_objective(kind) else None
        found[name] = code.stage(kind, objective, "cityscapes" if name == "segmentation" else "imagenet")
    return {name: each.digest for name, each in found.items()}


@cache
def before() -> dict[str, str]:
    return digests(OURS)


@pytest.fixture
def edit(tmp_path: Path) -> Edit:
    """Edits a file of a copy of the package for a moment, and returns the stages whose digests move."""
    tree = tmp_path / "bench"
    shutil.copytree(OURS, tree, ignore=shutil.ignore_patterns("__pycache__"))

    def edited(file: str, old: str, new: str) -> set[str]:
        text = (tree / file).read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r} any more"
        (tree / file).write_text(text.replace(old, new), encoding="utf-8")
        after = digests(tree)
        (tree / file).write_text(text, encoding="utf-8")
        return {name for name, digest in before().items() if after[name] != digest}

    return edited


def test_a_learning_rate_that_is_tripled_moves_all_pretrainings_alone(edit: Edit) -> None:
    moved = edit("train/optim.py", "lr = peak_rate(settings, batch_size)", "lr = 3 * peak_rate(settings, batch_size)")
    assert moved == PRETRAININGS


def test_a_loss_moves_the_objectives_that_use_it_alone(edit: Edit) -> None:
    moved = edit("losses/variance_covariance.py", "F.relu(1.0 -", "F.relu(2.0 -")
    assert moved == {"pretrain vicreg", "pretrain vicregl", "pretrain two_loss"}
    moved = edit("losses/regression.py", "return 2.0 - 2.0 * cosine", "return 2.0 - cosine")
    names = ("byol", "patch_byol", "simsiam", "two_loss")
    assert moved == {*(f"pretrain {name}" for name in names), "diagnostics"}


def test_an_objective_moves_itself_and_its_presets(edit: Edit) -> None:
    assert edit("objectives/moco.py", "temperature: ", "temperature: int | ") == set()
    assert edit("objectives/rotation.py", "turned.flip(2), images", "turned.flip(3), images") == {"pretrain rotation"}


def test_how_views_are_drawn_moves_what_trains_on_them(edit: Edit) -> None:
    moved = edit("data/views/draw.py", "(width - w) // 2", "(width - w) // 3")
    assert moved == PRETRAININGS | {"linear", "diagnostics"}


def test_the_encoder_moves_all(edit: Edit) -> None:
    moved = edit("nn/encoder.py", "def build_encoder(", "torch.manual_seed(1)\n\n\ndef build_encoder(")
    assert moved == ALL


def test_a_data_set_moves_what_reads_it(edit: Edit) -> None:
    moved = edit("data/sets/coco.py", 'folder = f"{split}2017"', 'folder = f"{split}2014"')
    assert moved == PRETRAININGS | {"linear", "diagnostics"}  # whose reader of images knows COCO's annotations


def test_a_list_of_classes_in_a_file_of_text_counts(tmp_path: Path) -> None:
    tree = tmp_path / "bench"
    shutil.copytree(OURS, tree, ignore=shutil.ignore_patterns("__pycache__"))
    kind = KINDS["knn"]
    was = [CodeOf(mapping={}, tree=tree).stage(kind, None, name).digest for name in ("imagenet100", "imagenet")]
    file = tree / "data" / "sets" / "imagenet100.txt"
    file.write_text("\n".join(reversed(file.read_text(encoding="ascii").split())), encoding="ascii")
    now = [CodeOf(mapping={}, tree=tree).stage(kind, None, name).digest for name in ("imagenet100", "imagenet")]
    assert was[0] != now[0]
    assert was[1] == now[1]


def test_a_task_moves_itself_alone(edit: Edit) -> None:
    assert edit("stages/knn.py", "dim=1), torch.cat([", "dim=2), torch.cat([") == {"knn"}
    assert edit(
        "stages/segmentation/metric.py", "return intersection, true + guessed", "return intersection, true"
    ) == {"segmentation"}
    assert edit("stages/convert.py", "nn.Conv2d(3, 64, 3, padding=1", "nn.Conv2d(3, 64, 3, padding=2") == {"convert"}


def test_what_only_says_moves_nothing(edit: Edit) -> None:
    assert edit("progress.py", "WINDOW = 30", "WINDOW = 31") == set()
    assert edit("train/monitor.py", 'name = "projector" if', 'name = "backbone" if') == set()


def test_a_setting_is_no_code_and_a_method_of_settings_is(edit: Edit) -> None:
    assert edit("config/recipe.py", "patience: int = Field(default=3", "patience: int = Field(default=4") == set()
    moved = edit("config/recipe.py", "return epoch in {epochs - 1,", "return epoch in {epochs - 2,")
    assert moved == PRETRAININGS


def test_each_place_that_is_left_out_is_there() -> None:
    graph = CodeOf(mapping={}).graph
    for place in [*LEFT_OUT, *SETTINGS]:
        module, _, name = place.partition(":")
        found = graph.modules.find(module, graph.modules.package())
        assert found is not None, place
        assert not name or name in found.facts.binds, place


def test_nothing_of_what_stages_run_is_taken_whole() -> None:
    """A name that cannot be found takes its whole module, and a stage moves with what does not concern it."""
    code = CodeOf(mapping={})
    for name in objectives():
        whole = [node.title for node in code.stage(STEPS["pretrain"], name, "coco").nodes if node.name == "*"]
        assert whole == [], name
    for kind in KINDS.values():
        whole = [node.title for node in code.stage(kind, None, "imagenet").nodes if node.name == "*"]
        assert whole == [], kind


def test_all_settings_of_stages_lie_where_they_are_looked_for() -> None:
    code = CodeOf(mapping={})
    nodes = {node for name in objectives() for node in code.stage(STEPS["pretrain"], name, "coco").nodes}
    nodes |= {node for kind in KINDS.values() for node in code.stage(kind, "byol", "imagenet").nodes}
    elsewhere = [
        node.title
        for node in nodes
        if node.definition.kind == "class"
        and code.graph.is_settings(node.module, node.name)
        and not node.module.name.startswith("bench.config.")
    ]
    assert elsewhere == []


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_a_data_set_is_a_root(dataset: str) -> None:
    roots = roots_of(KINDS["knn"], None, dataset)
    assert roots[-1] == (type(DATA_SETS[dataset]).__module__, type(DATA_SETS[dataset]).__name__)


# -------------------------------------------------------------------------- code from outside


def test_an_objective_from_outside_counts_with_what_lies_beside_it(tmp_path: Path) -> None:
    mine, helper, spare = (tmp_path / f"{name}.py" for name in ("mine", "helper", "spare"))
    mine.write_text(
        "from helper import scale\n\nfrom bench.objectives.base import Objective\n\n\n"
        "class Mine(Objective):\n    def forward(self, batch):\n        return {'loss': scale(1.0)}\n"
    )
    helper.write_text("def scale(x):\n    return 2 * x\n\n\ndef other(x):\n    return x\n")
    spare.write_text("VALUE = 1\n")

    def digest() -> str:
        return CodeOf(mapping={}).stage(STEPS["pretrain"], f"{mine}:Mine", "coco").digest

    first = digest()
    helper.write_text(helper.read_text().replace("return x\n", "return -x\n"))
    spare.write_text("VALUE = 2\n")
    assert digest() == first
    helper.write_text(helper.read_text().replace("2 * x", "3 * x"))
    assert digest() != first


def test_a_package_from_outside_counts_although_it_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "methods_of_mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "losses.py").write_text("def scale(x):\n    return 2 * x\n")
    (folder / "mine.py").write_text("from .losses import scale\n\n\nclass Mine:\n    forward = staticmethod(scale)\n")
    monkeypatch.syspath_prepend(tmp_path)

    def digest() -> str:
        return CodeOf(mapping={}).stage(STEPS["pretrain"], "methods_of_mine.mine:Mine", "coco").digest

    first = digest()
    (folder / "losses.py").write_text("def scale(x):\n    return 3 * x\n")
    assert digest() != first
    assert not [name for name in sys.modules if name.startswith("methods_of_mine")]


def test_a_kind_from_outside_starts_at_the_function_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "count.py"
    text = "from bench.config.tasks import TrunkTask\n\n\nclass Count(TrunkTask):\n    run = 'count'\n\n\n"
    text += "def count(job):\n    return {'images': 1}\n\n\ndef unused(job):\n    return {}\n"

    class Count(KINDS["knn"]):  # type: ignore[misc]
        run = "count"

    def digest(content: str) -> str:
        file.write_text(content)
        return CodeOf(mapping={}).stage(Count, None, "imagenet", Source(file, "Count", None)).digest

    first = digest(text)
    assert digest(text.replace("return {}", "return None")) == first
    assert digest(text.replace("'images': 1", "'images': 2")) != first


def test_a_kind_from_outside_with_a_function_of_ours_counts_that(tmp_path: Path) -> None:
    file = tmp_path / "near.py"
    file.write_text("from bench.config.tasks import KnnTask\n\n\nclass Near(KnnTask):\n    k: int = 5\n")

    class Near(KINDS["knn"]):  # type: ignore[misc]
        pass

    nodes = CodeOf(mapping={}).stage(Near, None, "imagenet", Source(file, "Near", None)).nodes
    assert {"bench.stages.knn:run", "near.py:Near"} <= {node.title for node in nodes}


def test_code_from_outside_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from helper import scale\n\n\nclass Mine:\n    forward = scale\n")
    (tmp_path / "helper.py").write_text("def scale(:\n")
    with pytest.raises(BadInput, match=r"helper\.py is no readable Python \(.*\); correct it\.$"):
        CodeOf(mapping={}).stage(STEPS["pretrain"], f"{tmp_path / 'mine.py'}:Mine", "coco")


def test_a_process_looks_at_the_code_once_until_a_file_of_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_of, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    first = CodeOf.cached()
    assert CodeOf.cached() is first
    (tmp_path / "module.py").write_text("one = 1\n")
    before = code_of._state_of(tmp_path)
    (tmp_path / "module.py").write_text("one = 10\n")
    assert code_of._state_of(tmp_path) != before
    monkeypatch.setattr(code_of, "_state_of", lambda tree: "edited")
    second = CodeOf.cached()
    assert second is not first
    second.graph.modules.file(tmp_path / "module.py")  # code from outside may change at any time
    assert CodeOf.cached() is not second
