"""Edits that a digest could miss: names that are computed, registers, what is changed from elsewhere, files."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_package import code

SECOND = "import second\n\n\ndef run(x):\n    return {}\n"
VALUE = "RATE = 1\n\n\ndef f():\n    return RATE\n"
BY_NAME = """
class Kept:
    def __init__(self):
        self._a = 1
        self._b = 2

    def read(self, x):
        return {}


def run(x):
    return Kept().read(x)
"""
MADE = "def f1():\n    return 1\n\n\n"
REGISTER = """
TABLE = {{}}


def put(f):
    TABLE[f.__name__] = f


def register(f):
    put(f)
    return f


{}


def run(x):
    return TABLE[x]()
"""
ATTRIBUTE = "class C:\n    v = 0\n\n\n{}\n\n\ndef run(x):\n    return C.v\n"

# name -> (files, what is edited in the last of them, into what)
CASES: dict[str, tuple[dict[str, str], str, str]] = {
    "getattr of a module": ({"run.py": SECOND.format("getattr(second, x)()"), "second.py": MADE}, "1\n", "2\n"),
    "globals": ({"run.py": MADE + "def run(x):\n    return globals()[x]()\n"}, "return 1", "return 2"),
    "sys.modules": (
        {"run.py": "import sys\n\n\n" + MADE + "def run(x):\n    return getattr(sys.modules[__name__], 'f1')()\n"},
        "return 1",
        "return 2",
    ),
    "eval": ({"run.py": MADE + "def run(x):\n    return eval('f1()')\n"}, "return 1", "return 2"),
    "import by a function": (
        {"run.py": "def run(x):\n    return __import__('second').f1()\n", "second.py": MADE},
        "return 1",
        "return 2",
    ),
    "runpy": (
        {"run.py": "import runpy\n\n\ndef run(x):\n    return runpy.run_module('second')\n", "second.py": "V = 1\n"},
        "1",
        "2",
    ),
    "a module's own __getattr__": (
        {"run.py": SECOND.format("second.any"), "second.py": "def __getattr__(n):\n    return 1\n"},
        "1",
        "2",
    ),
    "a module in a table": (
        {
            "run.py": "import second\n\nTABLE = {1: second}\n\n\ndef run(x):\n    return TABLE[x].f1()\n",
            "second.py": MADE,
        },
        "return 1",
        "return 2",
    ),
    "registered through another function": (
        {"run.py": REGISTER.format("@register\ndef f1():\n    return 1")},
        "return 1",
        "return 2",
    ),
    "registered by a constant": (
        {"run.py": REGISTER.format("def f1():\n    return 1\n\n\n_ = register(f1)")},
        "return 1",
        "return 2",
    ),
    "registered in a loop": (
        {"run.py": REGISTER.format("def f1():\n    return 1\n\n\nfor f in (f1,):\n    TABLE['f'] = f")},
        "return 1",
        "return 2",
    ),
    "registered by __init_subclass__": (
        {
            "run.py": "class B:\n    known = []\n\n    def __init_subclass__(cls):\n        B.known.append(cls)\n\n\n"
            "class C(B):\n    v = 1\n\n\ndef run(x):\n    return B.known[0].v\n"
        },
        "v = 1",
        "v = 2",
    ),
    "registered by a metaclass": (
        {
            "run.py": "class M(type):\n    known = []\n\n    def __init__(cls, *a):\n        M.known.append(cls)\n\n\n"
            "class B(metaclass=M):\n    pass\n\n\nclass C(B):\n    v = 1\n\n\ndef run(x):\n    return M.known[1].v\n"
        },
        "v = 1",
        "v = 2",
    ),
    "known as a subclass": (
        {
            "run.py": "class B:\n    pass\n\n\nclass C(B):\n    v = 1\n\n\n"
            "def run(x):\n    return B.__subclasses__()[0].v\n"
        },
        "v = 1",
        "v = 2",
    ),
    "set from another module": (
        {
            "run.py": "import third\n" + SECOND.format("second.f()"),
            "second.py": VALUE,
            "third.py": "import second\n\nsecond.RATE = 5\n",
        },
        "5",
        "6",
    ),
    "set by a function that another module calls": (
        {
            "run.py": "import third\n" + SECOND.format("second.f()"),
            "second.py": VALUE,
            "third.py": "import second\n\n\ndef go():\n    second.RATE = 5\n\n\ngo()\n",
        },
        "5",
        "6",
    ),
    "attribute set below": ({"run.py": ATTRIBUTE.format("C.v = 1")}, "C.v = 1", "C.v = 2"),
    "attribute set by setattr": ({"run.py": ATTRIBUTE.format("setattr(C, 'v', 1)")}, "'v', 1", "'v', 2"),
    "global": (
        {"run.py": "n = 0\n\n\ndef f():\n    global n\n    n = 1\n\n\ndef run(x):\n    f()\n    return n\n"},
        "    global n\n",
        "",
    ),
    "nonlocal": (
        {
            "run.py": "def run(x):\n    n = 0\n\n    def f():\n        nonlocal n\n        n = 1\n\n"
            "    f()\n    return n\n"
        },
        "        nonlocal n\n",
        "",
    ),
    "default of a lambda": ({"run.py": "F = lambda x, k=1: x * k\n\n\ndef run(x):\n    return F(x)\n"}, "k=1", "k=2"),
    "name of a keyword": (
        {"run.py": "def g(a=0, b=0):\n    return a - b\n\n\ndef run(x):\n    return g(a=x)\n"},
        "g(a=x)",
        "g(b=x)",
    ),
    "default that is shared": (
        {"run.py": "L = [1]\n\n\ndef g(a=L):\n    return a\n\n\ndef run(x):\n    L.append(2)\n    return g()\n"},
        "a=L",
        "a=[1]",
    ),
    "one of two lists": (
        {"run.py": "A = []\nB = []\n\n\ndef run(x):\n    A.append(1)\n    return len(B)\n"},
        "len(B)",
        "len(A)",
    ),
    "first of a statement's names": (
        {"run.py": "A, B = 1, 2\n\n\ndef run(x):\n    return A\n"},
        "return A",
        "return B",
    ),
    "shadowing a builtin": (
        {"run.py": "def other(x):\n    return 0\n\n\ndef run(x):\n    return sum(x)\n"},
        "def other",
        "def sum",
    ),
    "what an error is chosen by": (
        {"run.py": "def run(x):\n    raise (KeyError if x == 'a' else ValueError)\n"},
        "'a'",
        "'b'",
    ),
    "what is printed into a file": ({"run.py": "def run(x):\n    print('a', file=x)\n"}, "'a'", "'b'"),
    "private names by a computed name": (
        {"run.py": BY_NAME.format("getattr(self, f'_{x}')")},
        "self._a = 1\n        self._b = 2",
        "self._b = 1\n        self._a = 2",
    ),
    "private names by __dict__": (
        {"run.py": BY_NAME.format("self.__dict__[x]")},
        "self._a = 1\n        self._b = 2",
        "self._b = 1\n        self._a = 2",
    ),
    "private names by vars": (
        {"run.py": BY_NAME.format("vars(self)[x]")},
        "self._a = 1\n        self._b = 2",
        "self._b = 1\n        self._a = 2",
    ),
    "private name as text": ({"run.py": BY_NAME.format("getattr(self, '_a')")}, "'_a'", "'_b'"),
    "a file in a folder": (
        {
            "run.py": "from pathlib import Path\n\n\n"
            "def run(x):\n    return (Path(__file__).parent / 'lists' / 'a.txt').read_text()\n",
            "lists/a.txt": "1",
        },
        "1",
        "2",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_edit_that_is_hard_to_see_moves_the_digest(name: str, tmp_path: Path) -> None:
    files, old, new = CASES[name]
    last = list(files)[-1]
    assert old in files[last]
    before = code(tmp_path / "before", files).digest
    assert code(tmp_path / "after", files | {last: files[last].replace(old, new)}).digest != before


def test_the_words_of_what_is_printed_for_people_are_no_code(tmp_path: Path) -> None:
    text = "import sys\n\n\ndef run(x):\n    print('a', file=sys.stderr)\n"
    before = code(tmp_path / "before", {"run.py": text}).digest
    assert code(tmp_path / "after", {"run.py": text.replace("'a'", "'b'")}).digest == before


def test_a_method_that_is_called_eval_takes_no_module_whole(tmp_path: Path) -> None:
    text = "def unused():\n    return 1\n\n\ndef run(x):\n    return x.eval()\n"
    before = code(tmp_path / "before", {"run.py": text}).digest
    assert code(tmp_path / "after", {"run.py": text.replace("1", "2")}).digest == before


def test_private_names_are_free_where_every_attribute_is_named(tmp_path: Path) -> None:
    text = BY_NAME.format("self._a + getattr(x, 'size')")
    before = code(tmp_path / "before", {"run.py": text}).digest
    assert code(tmp_path / "after", {"run.py": text.replace("_a", "_c")}).digest == before
