"""Values of an objective's settings are refused while planning, from annotations that are read and not imported."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli import run
from bench.errors import BadInput
from bench.settings import Within
from bench.signature import Domain, check_arguments, domains, objectives, parameters

HERE = Path("mine.py")
CHOICES = [(n, key, d) for n in objectives() for key, ds in domains(n).items() for d in ds if d.choices is not None]
RANGES = [(n, key, d.within) for n in objectives() for key, ds in domains(n).items() for d in ds if d.within]
RECIPE = (
    '"""Mine."""\ndataset = "coco"\nobjective = dict(name={!r})\nepochs = 1\noptimizer = dict(name="sgd", lr=0.1)\n'
)


def outside(within: Within) -> list[float]:
    """Numbers that a range leaves out, next to each end that it has."""
    found: list[float] = []
    if within.low is not None:
        found.append(within.low if within.above else within.low - 1)
    if within.high is not None:
        found.append(within.high if within.below else within.high + 1)
    return found


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


@pytest.mark.parametrize(("name", "key", "domain"), CHOICES, ids=[f"{n}.{key}" for n, key, _ in CHOICES])
def test_nonsense_for_a_choice_is_refused_while_planning(
    name: str, key: str, domain: Domain, plan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert domain.choices
    folder, real = plan(name), domain.choices[-1]
    if isinstance(real, int):
        line = one_sentence(capsys, folder, f"objective.{key}=3")
        assert line == f"bench: Unknown objective.{key} 3 in {folder}/mine.py; known: 1, 2, 4, 8, 16."
        return
    wrong = f"{real}x"
    given = f"['{wrong}']" if domain.type.startswith("tuple") else wrong
    line = one_sentence(capsys, folder, f"objective.{key}={given}")
    assert line.startswith(f"bench: Unknown objective.{key} {wrong!r} in {folder}/mine.py; did you mean ")
    assert real in line.partition("did you mean ")[2].rstrip("?").split(", ")
    far = "['qqq']" if domain.type.startswith("tuple") else "qqq"
    assert one_sentence(capsys, folder, f"objective.{key}={far}").endswith(f"; known: {', '.join(domain.choices)}.")


@pytest.mark.parametrize("name", objectives())
def test_numbers_out_of_range_and_of_another_type_are_refused_and_defaults_are_not(name: str) -> None:
    check_arguments({"name": name} | {key: default for key, (_, default) in parameters(name).items()}, HERE)
    for key, admitted in domains(name).items():
        for domain in admitted:
            for value in outside(domain.within) if domain.within else ():
                with pytest.raises(BadInput, match=rf"^objective\.{key} in mine\.py is {value}; set it "):
                    check_arguments({"name": name, key: value}, HERE)
        with pytest.raises(BadInput, match=rf"^Key 'objective\.{key}' in mine\.py is \{{\}}, but should be "):
            check_arguments({"name": name, key: {}}, HERE)


def test_every_word_is_one_of_several_and_most_numbers_have_a_range() -> None:
    """Read from no list: a `str` that is anything, or a check of ranges that finds none, would show here."""
    kinds = {(name, key): admitted for name in objectives() for key, admitted in domains(name).items()}
    assert not [where for where, admitted in kinds.items() for d in admitted if "str" in d.type and d.choices is None]
    assert not [where for where, admitted in kinds.items() for d in admitted if d.type in ("", "Annotated")]
    assert len(CHOICES) >= 24
    assert len(RANGES) >= 200


def test_planning_a_negative_temperature(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plan("simclr")
    line = one_sentence(capsys, folder, "objective.temperature=-0.1")
    assert line == f"bench: objective.temperature in {folder}/mine.py is -0.1; set it above 0."
    folder = plan("patch_byol")
    line = one_sentence(capsys, folder, "objective.gate_temperature=0")
    assert line == f"bench: objective.gate_temperature in {folder}/mine.py is 0; set it above 0."
    line = one_sentence(capsys, folder, "objective.patch_scale=[0.1]")
    assert line.endswith("is [0.1], but should be tuple[float, float].")
    check_arguments({"name": "patch_byol", "gate_temperature": None}, HERE)


def test_reading_values_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from bench.signature import check_arguments, objectives\n"
        "for name in objectives(): check_arguments({'name': name}, Path('x'))\n"
        "assert 'torch' not in sys.modules and 'bench.losses.contrast_by_name' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("within", "inside", "beyond", "words"),
    [
        (Within(1), [1, 2, math.inf], [0, 0.9, math.nan], "to 1 or more"),
        (Within(0, above=True), [1e-9], [0, -1, math.nan], "above 0"),
        (Within(0, 1), [0, 0.5, 1], [-1e-9, 1.1, math.nan], "within 0 and 1"),
        (Within(0, 1, above=True), [0.5, 1], [0, 1.1], "within 0 (excluded) and 1"),
        (Within(0, 1, below=True), [0, 0.5], [-0.1, 1], "within 0 and 1 (excluded)"),
        (Within(high=3), [3, -9], [3.1], "to 3 or less"),
        (Within(high=3, below=True), [2.9], [3], "below 3"),
    ],
)
def test_ranges(within: Within, inside: list[float], beyond: list[float], words: str) -> None:
    assert all(value in within for value in inside)
    assert not any(value in within for value in beyond)
    assert str(within) == words


THEIRS = """
from typing import TYPE_CHECKING, Annotated
from bench.settings import Count, Positive as Above, Within
if TYPE_CHECKING:
    from bench.losses.contrast_by_name import QUEUE
A, B = ("one", "two"), 3
C = tuple(A)

class Theirs:
    def __init__(self, encoder, *, a: Annotated[str, A] = "one", q: Annotated[str, QUEUE] = "dcl", n: Count = 1,
                 x: Above | None = None, r: Annotated[float, Within(1, high=2)] = 1.0, c: Annotated[str, C] = "",
                 free=0, odd: "list[int]" = (), w: Annotated[int, Within(B)] = 0) -> None: ...
"""


def test_annotations_of_a_file_that_is_not_ours_are_read_as_ours_are(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(THEIRS, encoding="utf-8")
    name = f"{file}:Theirs"
    found = domains(name)
    assert found["a"] == (Domain("str", ("one", "two")),)
    assert found["q"] == (Domain("str", ("nt_xent", "dcl", "simple", "hard")),)
    assert found["n"] == (Domain("int", None, Within(1)),)
    assert found["x"] == (Domain("float", None, Within(0, above=True)), Domain("None"))
    assert found["r"] == (Domain("float", None, Within(1, 2)),)
    assert found["c"] == (Domain("str"),)  # must run to be known: any string
    assert found["w"] == (Domain("int"),)
    for value in ({"x": None}, {"x": 3}, {"c": "z"}, {"free": "z"}, {"odd": {}}, {"a": "two"}):
        check_arguments({"name": name, **value}, HERE)
    for bad in ({"x": 0}, {"r": 2.5}, {"n": 1.5}, {"n": True}, {"a": "tow"}, {"q": "dclw"}, {"w": "z"}):
        with pytest.raises(BadInput):
            check_arguments({"name": name, **bad}, HERE)
