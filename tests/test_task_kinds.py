"""Kinds of tasks from outside of the package: a file, an entry point; and what is no kind is refused while planning."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.config.load import load_recipe, load_task
from bench.config.tasks import metrics_of
from bench.errors import BadInput
from bench.execute.grid import Request, plan_grid
from bench.plan import Planner, hashed_settings, protocol_hash

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "adding_a_task.md"
Run = Callable[..., "CompletedProcess[str]"]

KIND = '''"""How many validation images there are."""

from bench.config.tasks import TrunkTask


class Count(TrunkTask):
    """The number of images."""

    metrics = {"images": "images"}
    step: int = 1


def run(job):
    from bench.data.sets import index

    return {"images": len(index(job.config.dataset, job.data_root(job.config.dataset), "val").files)}
'''
CONFIG = '"""Counted."""\nkind = "count.py:Count"\ndataset = "imagenet"\nprofiles = dict(smoke=dict(step=2))\n'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with one kind of task and one config."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "count.py").write_text(KIND)
    (folder / "counted.py").write_text(CONFIG)
    return folder


def named(folder: Path, kind: str) -> str:
    """Return a config that names its kind so."""
    file = folder / "other.py"
    file.write_text(CONFIG.replace("count.py:Count", kind))
    return str(file)


def test_the_commands_of_the_page_give_a_column(bench: Run, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        name, _, content = block.partition("\n")
        file = tmp_path / name.removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")
    (command,) = re.findall(r"^    bench (run .*)$", text, re.MULTILINE)
    done = bench(*command.split(), "--set", "arch=resnet18")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| imagenet_norm mean norm |" in done.stdout.replace("  ", "")

    results = tmp_path / "runs" / "smoke" / "results"
    (file,) = (results / "records").glob("*.json")
    record = json.loads(file.read_text())
    assert record["kind"] == "feature_norm.py:FeatureNorm"
    assert record["metrics"]["mean_norm"] > 0
    assert str(tmp_path) not in json.dumps(record)
    # Where the file is not at hand, the record says what its columns are.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert bench("table", "--check", "--results-dir", results, cwd=elsewhere).returncode == 0
    # A stage's folder can be run from anywhere.
    (folder,) = (tmp_path / "runs" / "feature_norm.py.FeatureNorm").iterdir()
    again = bench("stage", folder, cwd=elsewhere)
    assert "done already" in again.stdout, again.stderr


def test_an_entry_point_names_a_kind(bench: Run, mine: Path, tmp_path: Path) -> None:
    (mine / "count.py").rename(mine / "count_plugin.py")
    installed = mine / "count_plugin-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: count-plugin\nVersion: 1.0\n")
    points = "count = count_plugin:Count\nknn = count_plugin:Count\n"
    (installed / "entry_points.txt").write_text(f"[bench.tasks]\n{points}")
    path = os.pathsep.join([str(mine), os.environ.get("PYTHONPATH", str(ROOT))])
    words = ("run", "--smoke", "--pretrain", "random_init", "--downstream", named(mine, "count"))
    done = bench(*words, "--set", "arch=resnet18", "step=3", PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "other images" in done.stdout
    (file,) = tmp_path.glob("runs/smoke/results/records/*.json")
    record = json.loads(file.read_text())
    assert record["kind"] == "count_plugin:Count"
    assert record["settings"]["downstream"]["step"] == 3
    # What is no metric fails the stage, not the command with a traceback.
    (mine / "count_plugin.py").write_text(KIND.replace("    return {", '    return {"words": "many",'))
    failed = bench(*words, "--set", "arch=resnet18", PYTHONPATH=path)
    assert failed.returncode == 1
    assert "ValidationError" in failed.stderr
    assert "Traceback" not in failed.stderr
    shown = bench("show", "imagenet_knn", PYTHONPATH=path)
    assert '"k": 200' in shown.stdout  # ours comes first


def test_an_edit_of_its_source_measures_again_and_a_move_does_not(mine: Path, tmp_path: Path) -> None:
    task = load_task(str(mine / "counted.py"))
    before, protocol = hashed_settings(task), protocol_hash(task)
    moved = mine.rename(tmp_path / "moved")
    task = load_task(str(moved / "counted.py"))
    assert (hashed_settings(task), protocol_hash(task)) == (before, protocol)
    (moved / "count.py").write_text(KIND + "# more\n")
    task = load_task(str(moved / "counted.py"))
    assert hashed_settings(task) != before
    assert protocol_hash(task) != protocol


def test_a_version_makes_other_stages_and_a_setting_of_its_own_can_be_set(mine: Path) -> None:
    def planned() -> str:
        *_, stage = Planner(str).grid([load_recipe("random_init")], [load_task(str(mine / "counted.py"))], [0])
        return stage.fingerprint

    before = planned()
    (mine / "count.py").write_text(KIND.replace("    step", "    version = 2\n    step"))
    assert planned() != before
    request = Request(["random_init"], [str(mine / "counted.py")], profile="smoke", assignments=["step=5"])
    (*_, stage) = plan_grid(request, act=False).stages
    assert dict(stage.config)["step"] == 5


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lineer", r"other\.py: Unknown kind 'lineer'; did you mean linear"),
        ("coun.py:Count", r"The kind 'coun\.py:Count' names coun\.py, which is not in .*; correct the path"),
        ("count.py:Coun", r"count\.py has no class Coun; did you mean Count"),
        ("no_such_package.count:Count", r"names the module no_such_package\.count, which is not installed"),
        ("broken.py:Count", r"broken\.py cannot be imported \(SyntaxError: .*\); correct it"),
        ("plain.py:Plain", r"plain\.py:Plain is no kind of task; derive it from bench\.config\.tasks\.TrunkTask"),
        ("idle.py:Count", r"idle\.py has no function run\(job\), which runs Count; add it"),
    ],
)
def test_what_is_no_kind_is_refused_in_a_sentence(mine: Path, kind: str, message: str) -> None:
    (mine / "broken.py").write_text("class Count(:\n")
    (mine / "plain.py").write_text("class Plain:\n    pass\n")
    (mine / "idle.py").write_text(KIND.partition("\n\ndef run")[0])
    with pytest.raises(BadInput, match=message) as caught:
        load_task(named(mine, kind))
    assert "\n" not in str(caught.value)


def test_a_mistyped_setting_names_the_nearest(mine: Path) -> None:
    with pytest.raises(BadInput, match=r"Unknown key 'stepp' in .*counted\.py; did you mean step"):
        load_task(str(mine / "counted.py"), "full", {"stepp": 3})


def test_metrics_of_a_kind() -> None:
    assert metrics_of("segmentation") == {"aacc_percent": "aAcc", "miou_percent": "mIoU", "macc_percent": "mAcc"}
    assert metrics_of("count.py:Count") == {}  # its records carry them
