"""Each kind of mistake on a line of its own, and what is left alone."""

from __future__ import annotations

import pytest
from mutants import Mutant, mutants

FUNCTION = '''"""A module."""
from bench.losses.pairs import loss
def f(x: int = 3) -> int:
    """Return 1 + 1."""
    {}
'''


def changes(line: str) -> set[str]:
    """What becomes of a line inside a function."""
    found = mutants("f.py", FUNCTION.format(line))
    return {one.after for one in found if one.before == line}


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("return x + y", {"return x - y"}),
        ("return (x - y) * z", {"return (x + y) * z", "return (x - y) / z"}),
        ("return x < y", {"return x <= y", "return x > y"}),
        ("return x is None", {"return x is not None"}),
        ("return x and y", {"return (x or y)"}),
        ("return not x", {"return x"}),
        ("return -x", {"return x"}),
        ("return True", {"return False"}),
        ("return 0", {"return 1"}),
        ("return 1", {"return 0", "return 2"}),
        ("return 7", {"return 8"}),
        ("return 0.9", {"return 0.99"}),
        ("return 0.2", {"return 0.4"}),
        ("return x[0]", {"return x[1]"}),
        ("return x.sum(1)", {"return x.sum(0)", "return x.mean(1)"}),
        ("return g(x, dim=1)", {"return g(x, dim=0)", "return g(x)"}),
        ("return g(x, y)", {"return g(y, x)"}),
        ("return min(x)", {"return max(x)"}),
        ("return x.detach()", {"return x"}),
        ("return loss(x)", {"return loss(x.detach())"}),
        ("return x if y else z", {"return x if (not (y)) else z"}),
        ("self.x = y", {"pass"}),
        ("x *= y", {"pass"}),
        ("self.update()", {"pass"}),
        ("with torch.no_grad(): x", {"with torch.enable_grad(): x"}),
        ("σ = '×÷', x + y  # ×", {"σ = '×÷', x - y  # ×"}),  # columns are bytes
    ],
)
def test_a_mistake_of_each_kind(line, after):
    assert changes(line) == after


@pytest.mark.parametrize(
    "line",
    [
        "raise BadInput('1', x + y)",
        'return f"{x + 1}"',
        "x: Literal[1]",
        "import a.b",
        "x = y",
        "return zip(x, y, strict=True)",
        "return isinstance(x, y)",
        "return g(device=x)",
    ],
)
def test_what_shows_nowhere_is_left_alone(line):
    assert changes(line) == set()


def test_defaults_and_decorators_are_not():
    text = FUNCTION.format("return x").replace("def f", "@torch.no_grad()\ndef f")
    assert [(one.line, one.after) for one in mutants("f.py", text)] == [
        (3, "@torch.enable_grad()"),
        (4, "def f(x: int = 4) -> int:"),
    ]


CONFIG = '''"""100 epochs."""

_base_ = "./base.py"
epochs = 100
decay = "all"
optimizer = dict(name="sgd", lr=0.03)
flags = (True, -2)
profiles = dict(mini=dict(epochs=5))
'''


def test_a_configs_numbers_words_flags_and_settings_are_changed_and_its_profiles_are_not():
    words = {"decay": {"all", "weights"}, "optimizer.name": {"sgd", "lars"}}
    assert {(one.line, one.after) for one in mutants("c.py", CONFIG, words)} == {
        *((4, f"epochs = {number}") for number in (200, 10)),
        (4, "pass"),
        *((5, line) for line in ('decay = "weights"', "pass")),
        (6, "pass"),
        (6, "optimizer = dict(lr=0.03)"),
        (6, "optimizer = dict(name='sgd')"),
        (6, 'optimizer = dict(name="lars", lr=0.03)'),
        (6, 'optimizer = dict(name="sgd", lr=0.06)'),
        (6, 'optimizer = dict(name="sgd", lr=0.003)'),
        *((7, f"flags = {value}") for value in ("(False, -2)", "(True, -4)", "(True, -0.2)")),
        (7, "pass"),
    }


def test_a_mutant_finds_its_line_after_the_file_has_grown():
    text = "a = 1\nif a:\n    b = f(2)\nelse:\n    b = f(2)\n"
    second = next(one for one in mutants("f.py", text) if (one.line, one.after) == (5, "b = f(3)"))
    grown = "\n# more\n" + text
    assert second.applied(grown) == grown[::-1].replace("2", "3", 1)[::-1]
    assert Mutant("f.py", 5, "", "b = f(9)", "b").applied(grown) is None
