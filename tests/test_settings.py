"""Values of an objective's settings are refused while planning, from annotations that are read and not imported."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from bench.cli import run
from bench.config.objective_settings import Setting, check_arguments, settings_of
from bench.config.objective_source import definition_of, objectives
from bench.config.setting_types import AreaRange, Count, Portion, Positive, Rate, Share
from bench.errors import BadInput

HERE = Path("mine.py")
EVERY = [(name, key, setting) for name in objectives() for key, setting in settings_of(name).items()]
CHOICES = [(name, key, setting) for name, key, setting in EVERY if setting.choices]
RECIPE = (
    '"""Mine."""\ndataset = "coco"\nobjective = dict(name={!r})\nepochs = 1\noptimizer = dict(name="sgd", lr=0.1)\n'
)


def outside(setting: Setting) -> list[float]:
    """Numbers that a setting's range leaves out, next to each end that it has."""
    beyond: list[float] = []
    for schema in setting.alternatives:
        beyond += [schema[key] for key in ("exclusiveMinimum", "exclusiveMaximum") if key in schema]
        beyond += [schema[key] + step for key, step in (("minimum", -1), ("maximum", 1)) if key in schema]
    return beyond


def one_sentence(capsys: pytest.CaptureFixture[str], folder: Path, *assignments: str) -> str:
    """Plan with these settings, which must end with 2, one line and nothing written; return that line."""
    before = sorted(folder.rglob("*"))
    assert run(["plan", "--pretrain", str(folder / "mine.py"), "--set", *assignments]) == 2
    told = capsys.readouterr()
    assert not told.out
    (line,) = told.err.splitlines()
    assert sorted(folder.rglob("*")) == before
    return line


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return plan(objective): the folder of a recipe that trains it, which is the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(objective: str) -> Path:
        (tmp_path / "mine.py").write_text(RECIPE.format(objective), encoding="utf-8")
        return tmp_path

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key", "setting"), CHOICES, ids=[f"{n}.{key}" for n, key, _ in CHOICES])
def test_nonsense_for_a_choice_is_refused_while_planning(
    name: str, key: str, setting: Setting, plan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, real = plan(name), setting.choices[-1]
    if isinstance(real, int):
        line = one_sentence(capsys, folder, f"objective.{key}=3")
        known = {"stride": "1, 2, 4, 8, 16"}.get(key, "1, 5")
        assert line == f"bench: Unknown objective.{key} 3 in --set for mine; known: {known}."
        return
    many, wrong = setting.type_name.startswith("tuple"), f"{real}x"
    line = one_sentence(capsys, folder, f"objective.{key}={[wrong] if many else wrong}")
    assert line.startswith(f"bench: Unknown objective.{key} {wrong!r} in --set for mine; did you mean ")
    assert real in line.partition("did you mean ")[2].rstrip("?").split(", ")
    line = one_sentence(capsys, folder, f"objective.{key}={['qqq'] if many else 'qqq'}")
    assert line.endswith(f"; known: {', '.join(setting.choices)}.")


@pytest.mark.parametrize("name", objectives())
def test_numbers_out_of_range_and_of_another_type_are_refused_and_defaults_are_not(name: str) -> None:
    settings = settings_of(name)
    defaults = {key: setting.default for key, setting in settings.items()}
    assert check_arguments({"name": name} | defaults, HERE) == {"name": name} | defaults
    for key, setting in settings.items():
        for value in outside(setting):
            with pytest.raises(BadInput, match=rf"^objective\.{key} in mine\.py is {value}; set it "):
                check_arguments({"name": name, key: value}, HERE)
        for value in ({}, "", *([] if setting.type_name == "bool" else [True])):
            with pytest.raises(BadInput, match=rf"^(Key '|Unknown )objective\.{key}'? .*(should be|known: )"):
                check_arguments({"name": name, key: value}, HERE)


def test_every_word_is_one_of_several_and_most_numbers_have_a_range() -> None:
    """Read from no list: a `str` that is anything, or a check of ranges that finds none, would show here."""
    assert not [(name, key) for name, key, setting in EVERY if "str" in setting.type_name and not setting.choices]
    assert not [(name, key) for name, key, setting in EVERY if setting.annotation is Any or "any" in setting.type_name]
    assert len(CHOICES) >= 24
    assert len([setting for *_, setting in EVERY if setting.range]) >= 200


def test_planning_a_negative_temperature(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plan("simclr")
    line = one_sentence(capsys, folder, "objective.temperature=-0.1")
    assert line == "bench: objective.temperature in --set for mine is -0.1; set it above 0."
    folder = plan("patch_byol")
    line = one_sentence(capsys, folder, "objective.gate_temperature=0")
    assert line == "bench: objective.gate_temperature in --set for mine is 0; set it above 0, or to None."
    line = one_sentence(capsys, folder, "objective.patch_scale=[0.1]")
    assert line.endswith("is [0.1], but should be tuple[float, float].")
    line = one_sentence(capsys, folder, "objective.patch_scale=[0.3,0.1]")
    assert line.endswith("mine is [0.3, 0.1]; give two ascending shares of the area in (0, 1].")
    check_arguments({"name": "patch_byol", "gate_temperature": None}, HERE)


def test_reading_values_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from bench.config.objective_settings import check_arguments\n"
        "from bench.config.objective_source import objectives\n"
        "for name in objectives(): check_arguments({'name': name}, Path('x'))\n"
        "assert 'torch' not in sys.modules and 'bench.losses.contrast_by_name' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("annotation", "admitted", "refused", "words"),
    [
        (Count, [1, 2], [0, 1.0, True, "1", None, math.inf], "to 1 or more"),
        (Positive, [1e-9, 1], [0, -1, math.nan, math.inf, True, "1"], "above 0"),
        (Share, [0, 0.5, 1], [-1e-9, 1.1, math.nan], "within 0 and 1"),
        (Portion, [0.5, 1], [0, 1.1], "within 0 (excluded) and 1"),
        (Rate, [0, 0.5], [-0.1, 1], "within 0 and 1 (excluded)"),
        (Annotated[float, Field(le=3)], [3, -9], [3.1], "to 3 or less"),
        (Annotated[float, Field(lt=3)], [2.9], [3], "below 3"),
        (Positive | None, [None, 2], [0, "2"], "above 0"),
        (tuple[Count, Count], [[1, 2], (1, 2)], [(0, 1), (1,), (1, 2, 3), 1], "to 1 or more"),
        (AreaRange, [(0.1, 0.1), [0.1, 1]], [(0.2, 0.1), (0, 1), (0.5, 1.5), [0.1]], ""),
        (Literal[1, 2], [1, 2], [3, 1.0, True, "1"], ""),
        (tuple[Literal["a", "b"], ...], [(), ["a"], ("b", "a")], ["a", ("c",), [1]], ""),
        (bool, [True, False], [1, 0, "true", None], ""),
    ],
)
def test_what_an_annotation_admits(annotation: Any, admitted: list[Any], refused: list[Any], words: str) -> None:
    setting = Setting(annotation, None)
    assert setting.range == words
    for value in admitted:
        setting.check("objective.x", value)
    for value in refused:
        with pytest.raises(BadInput, match=r"^(Key '|Unknown )?objective\.x'? "):
            setting.check("objective.x", value)
    with pytest.raises(BadInput, match=r"should be|known"):
        setting.check("objective.x", {1})  # nothing that a config can say


THEIRS = """
import typing
from typing import TYPE_CHECKING, Annotated, Literal
from pydantic import Field
from bench.config.setting_types import Count, Positive as Above
from bench.objectives import moco
if TYPE_CHECKING:
    from bench.losses.contrast_by_name import QueueLoss
A = Literal["one", "two"]
C = tuple(A)
WIDE: typing.TypeAlias = Annotated[int, Field(ge=8)]

class Theirs:
    later: tuple = ("n",)

    def __init__(self, encoder, *, a: A = "one", q: QueueLoss = "dcl", n: Count = 1, x: Above | None = None,
                 r: Annotated[float, Field(ge=1, le=2)] = 1.0, c: C = "", free=0, odd: "list[int]" = (),
                 w: typing.Literal[3] = 3, u: Nowhere = 0, v: WIDE = 8) -> None: ...

class Preset(Theirs):
    def __init__(self, encoder, *, extra: bool = False, n: Count = 5, **settings) -> None: ...

class Same(Preset): ...

class Closed(Preset):
    def __init__(self, encoder, *, n: int = 7) -> None: ...

class Momentum(moco.MoCo):
    def __init__(self, encoder, *, momentum: Annotated[float, Field(ge=0.5)] = 0.5, **settings) -> None: ...
"""


@pytest.fixture
def theirs(tmp_path: Path) -> str:
    """A file with classes that derive from each other, from ours, and from one beside it."""
    (tmp_path / "theirs.py").write_text(THEIRS, encoding="utf-8")
    beside = "from .theirs import Preset as Base\n\nclass Beside(Base):\n    def __init__(self, encoder, *, a: int = 2,"
    (tmp_path / "beside.py").write_text(beside + " **settings) -> None: ...\n", encoding="utf-8")
    return str(tmp_path / "theirs.py")


def test_annotations_of_a_file_that_is_not_ours_are_read_as_ours_are(theirs: str) -> None:
    name = f"{theirs}:Theirs"
    read = {key: (setting.type_name, setting.range, setting.choices) for key, setting in settings_of(name).items()}
    assert read == {
        "a": ("str", "", ("one", "two")),
        "q": ("str", "", ("nt_xent", "dcl", "simple", "hard")),
        "n": ("int", "to 1 or more", ()),
        "x": ("float | None", "above 0", ()),
        "r": ("float", "within 1 and 2", ()),
        "c": ("any", "", ()),  # must run to be known
        "free": ("any", "", ()),
        "odd": ("tuple[int, ...]", "", ()),
        "w": ("int", "", (3,)),
        "u": ("any", "", ()),
        "v": ("int", "to 8 or more", ()),
    }
    for value in ({"x": None}, {"x": 3}, {"c": "z"}, {"free": "z"}, {"a": "two"}, {"odd": [1]}, {"u": {}}):
        check_arguments({"name": name, **value}, HERE)
    for bad in ({"x": 0}, {"r": 2.5}, {"n": 1.5}, {"n": True}, {"a": "tow"}, {"q": "dclw"}, {"w": "z"}, {"odd": {}}):
        with pytest.raises(BadInput):
            check_arguments({"name": name, **bad}, HERE)


DEFINED = """
from bench.objectives.base import Objective
from bench.objectives.one_crop import OneCrop
from typing import ClassVar

class First(Objective):
    definition: ClassVar[int] = 2

class Plain(OneCrop): ...
class Second(First): ...
class Third(Second):
    definition = 5
class Both(Plain, Second): ...  # both derive from Objective, where Python looks last

class Word(Objective):
    definition = "two"
class Sum(Objective):
    definition = 1 + 1
class Yes(Objective):
    definition = True
class Nought(Objective):
    definition = 0
class Alone: ...
"""


def test_a_definition_is_that_of_the_nearest_class_that_sets_it(tmp_path: Path) -> None:
    file = tmp_path / "defined.py"
    file.write_text(DEFINED, encoding="utf-8")
    read = {name: definition_of(f"{file}:{name}") for name in ("Alone", "Plain", "First", "Second", "Third", "Both")}
    assert read == {"Alone": 1, "Plain": 1, "First": 2, "Second": 2, "Third": 5, "Both": 2}
    for name, value in (("Word", "'two'"), ("Sum", r"1 \+ 1"), ("Yes", "True"), ("Nought", "0")):
        with pytest.raises(BadInput, match=rf"^{name}\.definition is {value}; write a whole number there, 1 or more"):
            definition_of(f"{file}:{name}")


def test_classes_whose_names_go_in_a_circle_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        # A class of the name that it derives from: Python takes the one that stands above.
        "same": "from other import A\n\nclass A(A):\n    def __init__(self, encoder, *, a: int = 1, **s): ...\n\n\n"
        "class A(A):\n    def __init__(self, encoder, *, c: int = 3, **s): ...\n",
        "other": "class A:\n    def __init__(self, encoder, *, b: int = 2): ...\n",
        # What Python itself would not import.
        "each": "class A(B):\n    def __init__(self, encoder, *, a: int = 1, **s): ...\n\nclass B(A): ...\n",
        "one": "from two import B\n\nclass A(B):\n    def __init__(self, encoder, *, a: int = 1, **s): ...\n",
        "two": "from one import A\n\nclass B(A):\n    def __init__(self, encoder, *, b: int = 2, **s): ...\n",
        "itself": "from itself import A\n\nclass A(A):\n    def __init__(self, encoder, *, a: int = 1, **s): ...\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, expected in {"same": "bac", "each": "a", "one": "ba", "itself": "a"}.items():
        assert sorted(settings_of(f"{tmp_path / name}.py:A")) == sorted(expected), name


def test_settings_are_inherited_with_the_defaults_that_a_class_changes(theirs: str) -> None:
    def defaults(name: str) -> dict[str, Any]:
        return {key: setting.default for key, setting in settings_of(name).items()}

    base, preset = defaults(f"{theirs}:Theirs"), defaults(f"{theirs}:Preset")
    assert preset == base | {"n": 5, "extra": False}
    assert list(preset) == ["extra", *base]  # what is new first, what is changed in its place
    assert defaults(f"{theirs}:Same") == preset
    assert defaults(f"{theirs}:Closed") == {"n": 7}
    ours = defaults(f"{theirs}:Momentum")
    assert ours == defaults("moco") | {"momentum": 0.5}
    assert list(ours) == list(defaults("moco"))
    with pytest.raises(BadInput, match=r"objective\.momentum in mine\.py is 0\.1; set it to 0\.5 or more"):
        check_arguments({"name": f"{theirs}:Momentum", "momentum": 0.1}, HERE)
    with pytest.raises(BadInput, match=r"objective\.temperature in mine\.py is 0; set it above 0"):
        check_arguments({"name": f"{theirs}:Momentum", "temperature": 0}, HERE)
    beside = settings_of(theirs.replace("theirs.py", "beside.py:Beside"))
    assert (beside["a"].default, beside["a"].type_name) == (2, "int")
    assert list(beside) == list(preset)


DEEP = {
    "signs": "precision=" + "-" * 3000 + "1",
    "more signs": "precision=" + "-" * 100_000 + "1",
    "a sum": "precision=" + "1" + "+1" * 20_000,
    "dots": "optimizer" + ".lr" * 5000 + "=1",
    "a long word": "precision=" + "x" * 100_000,
    "a long key": "x" * 100_000 + "=1",
    "no value": "x" * 100_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_a_value_that_is_too_deep_or_too_long_is_one_short_sentence(
    name: str, plan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 20 < len(one_sentence(capsys, plan("byol"), DEEP[name])) < 500
