"""Which edits of a small package move the digest of what runs there, and which do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.code.digests import Code, Digests
from bench.code.graph import MODULE_PRIVATE, Graph
from bench.code.modules import Modules
from bench.code.used import changed

RUN = '''
"""What is run."""
import math
from functools import cache

import numpy as np
from numpy import linalg as LA

import second
from second import Base, scaled as scale
from third import mean, Plain

RATE = 0.1
LOW, HIGH = 1, 2
TABLE = {"one": mean}
TABLE["two"] = scale


class Model(Base):
    """A model."""

    size: int = 3

    def __init__(self, width: int = 4, *, deep: bool = False) -> None:
        super().__init__()
        self._width, self._deep = width, deep

    def forward(self, x: "np.ndarray") -> float:
        """Return something."""
        # why
        total = 0.0
        for step, part in enumerate(x):
            total += part * self._width ** step
        if self._deep:
            raise ValueError(f"too deep: {total}")
        return total - self._shift


@cache
def _helper(x, factor=2):
    inner = [v * factor for v in range(x)]
    def again(y):
        return y + len(inner)
    return again(x)


def unused(x):
    return x


def run(job):
    """Run it."""
    print("running", job)
    model = Model()
    low = np.minimum(LOW, HIGH)
    norm = LA.norm(job)
    first = _helper(3)
    second.start(model)
    assert low >= 0, "low"
    return scale(model.forward(job)) * RATE + first - norm + TABLE["one"](low) + Plain().value(LOW) - math.pi
'''
SECOND = """
from third import mean


class Base:
    def __init__(self):
        self._shift = 1.0
        self._slope = 2.0
        self._own = 3.0

    def both(self):
        return self._own - self._slope


def start(model):
    return model._slope


def scaled(x):
    y = x - 1
    z = y * 2
    return mean(z)
"""
THIRD = """
class Plain:
    def value(self, x):
        return deep(x)


def deep(x):
    return deeper(x) + 1


def deeper(x):
    return x / 3


def mean(x):
    return x


def other(x):
    return deep(x)
"""
FILES = {"run.py": RUN, "second.py": SECOND, "third.py": THIRD}


def code(folder: Path, files: dict[str, str], root: str = "run") -> Code:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    modules = Modules()
    graph = Graph(modules)
    node = graph.root(modules.file(folder / "run.py"), root)
    assert node is not None
    return Digests(graph).of([node])


def edited(file: str, *pairs: tuple[str, str]) -> dict[str, str]:
    text = FILES[file]
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return FILES | {file: text}


NEUTRAL = {
    "comment": edited("run.py", ("# why", "# because of this\n        # and that")),
    "docstring": edited("run.py", ('"""Return something."""', '"""Return\n\n        something else."""')),
    "no docstring": edited("run.py", ('    """Run it."""\n', "")),
    "annotation": edited("run.py", ("width: int = 4", "width: float | None = 4"), ("-> float", "-> 'int'")),
    "annotation of an attribute": edited("run.py", ("total = 0.0", "total: float = 0.0")),
    "annotation alone": edited("run.py", ("total = 0.0", "total: float\n        total = 0.0")),
    "format": edited(
        "run.py", ("low = np.minimum(LOW, HIGH)", "low = np.minimum(\n        LOW,\n        HIGH,\n    )")
    ),
    "quotes": edited("run.py", ('TABLE["one"]', "TABLE['one']")),
    "module by another alias": edited("run.py", ("import numpy as np", "import numpy"), ("np.", "numpy.")),
    "function by another alias": edited(
        "run.py", ("scaled as scale", "scaled as s"), ("scale(", "s("), ("= scale", "= s")
    ),
    "alias of a submodule": edited("run.py", ("from numpy import linalg as LA\n", ""), ("LA.norm", "np.linalg.norm")),
    "imported by its name": edited(
        "run.py", ("from numpy import linalg as LA", "from numpy.linalg import norm as N"), ("LA.norm", "N")
    ),
    "imported inside": edited(
        "run.py", ("import second\n", ""), ("    second.start(", "    from second import start\n    start(")
    ),
    "private function": edited("run.py", ("_helper", "_doing")),
    "private attribute": edited("second.py", ("_own", "_mine")),
    "private constant": edited("run.py", ("RATE", "_R")),
    "local variable": edited("run.py", ("total", "t"), ("part", "p"), ("step", "k")),
    "local of a comprehension": edited("run.py", ("v * factor for v in", "w * factor for w in")),
    "local function": edited("run.py", ("again", "once")),
    "enclosed variable": edited("run.py", ("inner", "around")),
    "words of an error": edited("run.py", ("too deep: ", "deeper than this: ")),
    "words of an assertion": edited("run.py", ('"low"', '"lower"')),
    "words that are printed": edited("run.py", ('"running"', '"now runs"')),
    "unused function": edited("third.py", ("def other(x):", "def more(x):\n    return x\n\n\ndef other(x):")),
    "unused function removed": edited("run.py", ("def unused(x):\n    return x\n", "")),
    "unused function changed": edited("run.py", ("def unused(x):\n    return x\n", "def unused(x):\n    return 2\n")),
    "pass": edited("second.py", ("    y = x - 1", "    pass\n    y = x - 1")),
    "order of definitions": edited(
        "third.py", ("def mean(x):\n    return x\n\n\n", ""), ("class P", "def mean(x):\n    return x\n\n\nclass P")
    ),
    "moved to another file": FILES
    | {
        "third.py": THIRD.replace("def deeper(x):\n    return x / 3\n", "from fourth import deeper\n"),
        "fourth.py": "def deeper(x):\n    return x / 3\n",
    },
    "moved and exported from there": FILES | {"third.py": "from fourth import *\n", "fourth.py": THIRD},
    "made a package": {"run.py": RUN, "second.py": SECOND, "third/__init__.py": THIRD},
}
TELLING = {
    "constant": edited("run.py", ("RATE = 0.1", "RATE = 0.3")),
    "kind of a constant": edited("run.py", ("size: int = 3", "size: int = 3.0")),
    "operator": edited("second.py", ("y * 2", "y + 2")),
    "order of statements": edited("second.py", ("    y = x - 1\n    z = y * 2", "    y = x * 2\n    z = y - 1")),
    "default argument": edited("run.py", ("factor=2", "factor=3")),
    "default of a constructor": edited("run.py", ("width: int = 4", "width: int = 5")),
    "name of a parameter": edited("run.py", ("factor", "times")),
    "parameter for keywords alone": edited("run.py", (", *, deep", ", deep")),
    "decorator": edited("run.py", ("@cache\n", "")),
    "base class": edited("run.py", ("class Model(Base)", "class Model(Plain)")),
    "helper below": edited("third.py", ("x / 3", "x / 4")),
    "helper in the middle": edited("third.py", ("deeper(x) + 1", "deeper(x) - 1")),
    "class attribute": edited("run.py", ("size: int = 3", "size: int = 4")),
    "field without a value of a NamedTuple": edited(
        "third.py", ("class Plain:", "from typing import NamedTuple\nclass Plain(NamedTuple):\n    x: int")
    ),
    "table": edited("run.py", ('{"one": mean}', '{"one": scale}')),
    "what is put into a table": edited("run.py", ('TABLE["two"] = scale', 'TABLE["two"] = mean')),
    "two constants of one statement": edited("run.py", ("Plain().value(LOW)", "Plain().value(HIGH)")),
    "another function outside": edited("run.py", ("np.minimum", "np.maximum")),
    "another module outside": edited("run.py", ("math.pi", "math.e")),
    "which local variable": edited("second.py", ("return mean(z)", "return mean(y)")),
    "which parameter": edited("run.py", ("v * factor for v in range(x)", "v * x for v in range(factor)")),
    "which enclosed variable": edited("run.py", ("len(inner)", "len(range(y))")),
    "condition of an assertion": edited("run.py", ("low >= 0", "low > 0")),
    "what an error says, computed": edited("run.py", ("{total}", "{part}")),
    "private attribute read elsewhere": edited("second.py", ("model._slope", "model._shift")),
    "private attributes swapped in one class": edited(
        "second.py", ("self._shift = 1.0", "self._slope = 1.0"), ("self._slope = 2.0", "self._shift = 2.0")
    ),
    "private attributes swapped in both": edited("run.py", ("self._shift", "self._slope")),
    "a statement of a module": edited(
        "third.py", ("def mean(x):", "import os\nos.environ['A'] = '1'\n\n\ndef mean(x):")
    ),
    "registered by a decorator": edited(
        "third.py", ("def other(x):", "import somewhere\n\n\n@somewhere.REGISTRY.register_module()\ndef other(x):")
    ),
    "import that is no longer the same": edited("run.py", ("import mean, Plain", "import other as mean, Plain")),
}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Code:
    return code(tmp_path_factory.mktemp("before"), FILES)


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_changes_no_result_keeps_the_digest(name: str, before: Code, tmp_path: Path) -> None:
    assert code(tmp_path / "after", NEUTRAL[name]).digest == before.digest


@pytest.mark.parametrize("name", TELLING)
def test_what_may_change_a_result_moves_the_digest(name: str, before: Code, tmp_path: Path) -> None:
    assert code(tmp_path / "after", TELLING[name]).digest != before.digest


def test_a_change_moves_what_reaches_it_alone(before: Code, tmp_path: Path) -> None:
    after = code(tmp_path / "after", edited("third.py", ("x / 3", "x / 4")))
    moved = {name for name in before.each if before.each[name] != after.each[name]}
    assert moved == {"third:deeper", "third:deep", "third:Plain", "run.py:run"}
    assert changed(before.own, after.own) == ["third:deeper"]


def test_a_method_that_changed_is_named(before: Code, tmp_path: Path) -> None:
    after = code(tmp_path / "after", edited("run.py", ("total += part", "total -= part")))
    moved = changed(before.own, after.own)
    assert moved == ["run.py:Model.forward"]


def test_functions_that_call_each_other_are_told_apart(tmp_path: Path) -> None:
    text = """
def run(x):
    return even(x)


def even(x):
    return x == 0 or odd(x - 1)


def odd(x):
    return x != 0 and even(x - 1)
"""
    first = code(tmp_path / "first", {"run.py": text})
    assert first.digest == code(tmp_path / "again", {"run.py": text.replace("odd", "_odd")}).digest
    assert (
        first.digest != code(tmp_path / "other", {"run.py": text.replace("return even(x)\n", "return odd(x)\n")}).digest
    )
    assert first.digest != code(tmp_path / "last", {"run.py": text.replace("x != 0", "x != 1")}).digest


def test_two_exceptions_that_look_the_same_are_two(tmp_path: Path) -> None:
    text = """
class _One(Exception):
    pass


class _Two(Exception):
    pass


def fail(x):
    raise _One if x else _Two


def run(x):
    try:
        fail(x)
    except _One:
        return 1
"""
    first = code(tmp_path / "first", {"run.py": text}).digest
    assert first != code(tmp_path / "other", {"run.py": text.replace("except _One", "except _Two")}).digest


def test_a_name_that_cannot_be_found_takes_all_of_the_module(tmp_path: Path) -> None:
    files = {"run.py": "import second\n\n\ndef run(x):\n    return second.made(x)\n"}
    second = "globals()['made'] = abs\n\n\ndef unused(x):\n    return {}\n"
    first = code(tmp_path / "first", files | {"second.py": second.format("x")})
    assert first.digest != code(tmp_path / "other", files | {"second.py": second.format("-x")}).digest


def test_what_is_imported_by_a_name_that_is_computed_takes_all_of_the_package(tmp_path: Path) -> None:
    run = "import pack.part\n\n\ndef run(x):\n    return pack.part.load(x)\n"
    part = "from importlib import import_module\n\n\ndef load(x):\n    return import_module(f'pack.{x}')\n"
    files = {"run.py": run, "pack/__init__.py": "", "pack/part.py": part, "pack/hidden.py": "VALUE = 1\n"}
    first = code(tmp_path / "first", files)
    assert first.digest != code(tmp_path / "other", files | {"pack/hidden.py": "VALUE = 2\n"}).digest


def test_a_module_that_is_named_by_text_counts(tmp_path: Path) -> None:
    files = {"run.py": "WHAT = 'second:made'\n\n\ndef run(x):\n    return find(WHAT)\n\n\ndef find(x):\n    return x\n"}
    # Of text without a dot nothing is said; of one with a dot, the definition counts.
    files = {"run.py": files["run.py"].replace("second:made", "pack.second:made"), "pack/__init__.py": ""}
    first = code(tmp_path / "first", files | {"pack/second.py": "def made():\n    return 1\n"})
    assert first.digest != code(tmp_path / "other", files | {"pack/second.py": "def made():\n    return 2\n"}).digest


def test_a_file_that_the_code_names_counts(tmp_path: Path) -> None:
    text = "from pathlib import Path\n\n\ndef run(x):\n    return (Path(__file__).parent / 'names.txt').read_text()\n"
    first = code(tmp_path / "first", {"run.py": text, "names.txt": "a b"})
    assert first.digest != code(tmp_path / "other", {"run.py": text, "names.txt": "b a"}).digest


def test_names_of_locals_count_where_the_code_can_read_them(tmp_path: Path) -> None:
    text = "def run(x):\n    first = x\n    return locals()\n"
    first = code(tmp_path / "first", {"run.py": text})
    assert first.digest != code(tmp_path / "other", {"run.py": text.replace("first", "second")}).digest


def test_an_override_of_what_torch_looks_for_keeps_its_name(tmp_path: Path) -> None:
    text = """
from torch import nn


class Net(nn.Module):
    def _save_to_state_dict(self, *a):
        return 1


def run(x):
    return Net()
"""
    first = code(tmp_path / "first", {"run.py": text})
    assert first.digest != code(tmp_path / "other", {"run.py": text.replace("_save_to", "_saved_in")}).digest
    text = text.replace("_save_to_state_dict", "_mine")
    first = code(tmp_path / "mine", {"run.py": text})
    assert first.digest == code(tmp_path / "yours", {"run.py": text.replace("_mine", "_yours")}).digest


def test_the_private_names_of_torchs_module_are_known() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Module()
    names = {*dir(torch.nn.Module), *vars(module)} - {*dir(object)}
    private = {name for name in names if name.startswith("_") and not name.endswith("__")}
    assert private <= MODULE_PRIVATE, private - MODULE_PRIVATE


def test_a_body_of_annotations_counts_where_pydantic_reads_it(tmp_path: Path) -> None:
    text = """
from pydantic import BaseModel


class Model(BaseModel):
    x: int


def run(x):
    return Model(x=x)
"""
    first = code(tmp_path / "first", {"run.py": text})
    assert first.digest != code(tmp_path / "other", {"run.py": text.replace("x: int", "x: float")}).digest


def test_fields_of_a_dataclass_count_and_their_types_do_not(tmp_path: Path) -> None:
    text = """
from dataclasses import dataclass


@dataclass
class Pair:
    x: int
    y: int


def run(x):
    return Pair(x, x)
"""
    first = code(tmp_path / "first", {"run.py": text})
    assert first.digest == code(tmp_path / "types", {"run.py": text.replace("x: int", "x: float")}).digest
    assert (
        first.digest
        != code(tmp_path / "order", {"run.py": text.replace("    x: int\n    y: int", "    y: int\n    x: int")}).digest
    )


def test_libraries_that_the_code_imports(tmp_path: Path) -> None:
    assert code(tmp_path / "x", FILES).libraries == {"numpy"}
