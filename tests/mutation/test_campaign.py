"""A campaign in a small project: what dies, what lives, what is left for the next sitting, and whose tests count."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from belonging import Belonging, Project, imported
from campaign import sample, sequence

FOLDER = Path(__file__).resolve().parents[2] / "mutation"

FILES = {
    "bench/__init__.py": "",
    "bench/losses/__init__.py": "from bench.losses.held import held\n",
    "bench/losses/held.py": "def held(x):\n    return x + 3\n",
    "bench/losses/loose.py": "def loose(x):\n    return x < 5\n",
    "bench/losses/within.py": "def within(x):\n    return x * 7\n",
    "bench/objectives/__init__.py": 'OBJECTIVES = {"first": "bench.objectives.first:First"}\n',
    "bench/objectives/first.py": "from bench.losses.within import within\n",
    "tests/losses/test_held.py": "from bench.losses import held\ndef test_held():\n    assert held(1) == 4\n",
    "tests/losses/test_broken.py": "from bench.losses.held import held\ndef test_broken():\n    assert held(1) == 9\n",
    "tests/losses/test_loose.py": "from bench.losses.loose import loose\ndef test_loose():\n    assert loose(2)\n",
    "tests/objectives/test_first.py": "from bench.objectives.first import within\ndef test_first():\n    within(1)\n",
    "tests/objectives/test_outputs.py": "def test_all(): pass\n",
}
# torch and its like are not needed here.
SITTING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
import campaign, trial
trial.HEAVY = ("pytest", "pytest_timeout")
campaign.ROOT = Path.cwd()
campaign.STATE = campaign.ROOT / "results/mutants.json"
campaign.main()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def sitting(project: Path, *words: str) -> tuple[str, dict[str, str]]:
    """Run a sitting; return what it printed, and {what a line became: its outcome}."""
    command = [sys.executable, "-c", SITTING, FOLDER, *words]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file = project / "results/mutants.json"
    state = json.loads(file.read_text()) if file.exists() else {"mutants": []}
    return done.stdout, {one["after"]: one["outcome"] for one in state["mutants"]}


@pytest.mark.slow
def test_a_campaign_goes_on_where_it_ended_and_reports_what_lives(project):
    """x < 5 is tried with 2 alone: neither x <= 5 nor x < 6 is noticed, and x > 5 is."""
    assert len(sitting(project, "--count", "24", "--minutes", "0", "--only", "bench/losses")[1]) <= 1
    found = sitting(project, "--count", "6", "--only", "bench/losses")[1]
    assert {3, 4} >= {len(found)}  # one of each file
    found = sitting(project, "--count", "24", "--only", "bench/losses")[1]
    assert found == {
        **dict.fromkeys(["return x - 3", "return x + 4", "return x > 5"], "died"),
        **dict.fromkeys(["return x <= 5", "return x < 6", "return x / 7", "return x * 8"], "survived"),
    }
    assert (project / "bench/losses/held.py").read_text() == FILES["bench/losses/held.py"]
    (project / "tests/losses/test_loose.py").write_text(
        FILES["tests/losses/test_loose.py"] + "    assert not loose(5)\n"
    )
    found = sitting(project, "--again", "--only", "bench/losses")[1]
    assert [after for after, outcome in found.items() if outcome == "survived"] == [
        "return x / 7",
        "return x * 8",
    ], "a survivor is tried anew with the tests as they are now"


@pytest.mark.slow
def test_a_test_that_fails_without_a_mistake_kills_nothing(project):
    (project / "tests/losses/test_held.py").unlink()
    said, found = sitting(project, "--count", "24", "--only", "bench/losses")
    assert found["return x - 3"] == found["return x + 4"] == "survived"
    assert said.count("left out, for it fails without a mistake, too: tests/losses/test_broken.py::test_broken") == 1


def test_what_belongs_to_a_file(project):
    of = Project(project).belonging
    held = ("tests/losses/test_broken.py", "tests/losses/test_held.py")
    assert of("bench/losses/held.py").files == held  # imported by name, and through the package
    assert of("bench/losses/within.py").files == ()
    users = Project(project).of_users
    assert users("bench/losses/within.py").files == (
        "tests/objectives/test_first.py",
        "tests/objectives/test_outputs.py",
    )
    assert users("bench/losses/held.py").files == ()  # the package imports it, and has the same tests
    first = of("bench/objectives/first.py")
    assert first.files == ("tests/objectives/test_first.py", "tests/objectives/test_outputs.py")
    assert first.names == ("first",)


def test_of_the_tests_of_every_objective_its_own_cases_count():
    of_moco = Belonging((), ("moco", "moco_v2"), ("simclr", "dcl"))
    assert of_moco.counts("test_all.py::test[moco symmetric]")
    assert of_moco.counts("test_moco.py::test[True-0.5]")
    assert of_moco.counts("test_moco.py::test")
    assert of_moco.counts("test_moco.py::test[moco_v2-dcl]")
    assert not of_moco.counts("test_all.py::test[simclr]")
    assert Belonging(()).counts("test_all.py::test[simclr]")


def test_imports_are_those_of_modules():
    modules, taken = {"bench.a", "bench.a.b", "bench.c"}, {"bench.a.thing": "bench.a.b"}
    assert imported("from bench.a import thing\n", modules, taken) == {"bench.a", "bench.a.b"}
    assert imported('patch("bench.c.function")\n', modules, taken) == {"bench.c"}
    assert imported("import benches.c\n", modules, taken) == set()


def test_a_sample_is_the_seeds_and_takes_as_many_of_each_file(project):
    drawn = sample(project, 0, 6, ["bench/losses"], set())
    assert drawn == sample(project, 0, 6, ["bench/losses"], set())
    assert sorted(one.file[13:-3] for one in drawn) == ["held", "loose", "within"]
    assert {tuple(sequence(project, "bench/losses/loose.py", seed)) for seed in range(9)} > {
        tuple(sequence(project, "bench/losses/loose.py", 0))
    }
    assert all(one not in sample(project, 0, 12, ["bench/losses"], {one.key for one in drawn}) for one in drawn)


def test_what_a_failure_says_names_no_folder_of_the_machine():
    from trial import _last as said

    assert said("E   BadInput: /somewhere/deep/run/last.ckpt is of a run, see a/b.py\nmore") == (
        "BadInput: last.ckpt is of a run, see a/b.py"
    )
    assert said("one\n\ntwo") == "two"
