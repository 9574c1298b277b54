"""Kinds of tasks from outside of the package: a file, an entry point; and what is no kind is refused while planning."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.config.load import load_recipe, load_task
from bench.config.tasks import metrics_of
from bench.convert.proof import MAPS, Proof, ProvenTensor, write_proof
from bench.errors import BadInput, StageFailed
from bench.execute.grid import Request, plan_grid
from bench.execute.inventory import resolved
from bench.execute.sources import sources_of
from bench.execute.stage import run_stage
from bench.execute.stage_file import Done, read_stage, write_done, write_stage
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

PROOF = Proof(
    arch="resnet50",
    trunk_hash="0" * 64,
    matched=1,
    of=1,
    passed=True,
    fault="",
    tensors={"conv1.weight": ProvenTensor(shape=(1,), sha256="0" * 64)},
    maps=dict.fromkeys(MAPS, 0.0),
    network="encoder",
)


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


@pytest.mark.slow
def test_the_commands_of_the_page_give_a_column(
    bench: Run, tmp_path: Path, render_into: Callable[[Path], Path]
) -> None:
    render_into(tmp_path / "runs")
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        name, _, content = block.partition("\n")
        file = tmp_path / name.removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")
    (command,) = re.findall(r"^    bench (run .*)$", text, re.MULTILINE)
    done = bench(*command.split(), "--set", "arch=resnet18w16")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| imagenet_norm mean norm |" in done.stdout.replace("  ", "")

    results = tmp_path / "runs" / "smoke" / "results"
    (file,) = (results / "records").glob("*.json")
    record = json.loads(file.read_text())
    assert record["kind"] == "feature_norm.py:FeatureNorm"
    assert record["metrics"]["mean_norm"] > 0
    assert record["load_proof"]["C5"] < 1e-4  # of the frozen trunk that it uses
    assert str(tmp_path) not in json.dumps(record)
    # Where the file is not at hand, the record says what its columns are.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert bench("table", "--check", "--results-dir", results, cwd=elsewhere).returncode == 0
    # A stage's folder can be run from anywhere.
    (folder,) = (tmp_path / "runs" / "feature_norm.py.FeatureNorm").iterdir()
    again = bench("stage", folder, cwd=elsewhere)
    assert "done already" in again.stdout, again.stderr


@pytest.mark.slow
def test_an_entry_point_names_a_kind(
    bench: Run, mine: Path, tmp_path: Path, render_into: Callable[[Path], Path]
) -> None:
    render_into(tmp_path / "runs")
    (mine / "count.py").rename(mine / "count_plugin.py")
    installed = mine / "count_plugin-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: count-plugin\nVersion: 1.0\n")
    points = "count = count_plugin:Count\nknn = count_plugin:Count\n"
    (installed / "entry_points.txt").write_text(f"[bench.tasks]\n{points}")
    path = os.pathsep.join([str(mine), os.environ.get("PYTHONPATH", str(ROOT))])
    words = ("run", "--smoke", "--pretrain", "random_init", "--downstream", named(mine, "count"))
    done = bench(*words, "--set", "arch=resnet18w16", "step=3", PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "other images" in done.stdout
    (log,) = tmp_path.glob("runs/count_plugin.Count/*/log.txt")
    assert "its network was not proven" in log.read_text()
    (file,) = tmp_path.glob("runs/smoke/results/records/*.json")
    record = json.loads(file.read_text())
    assert record["kind"] == "count_plugin:Count"
    assert record["settings"]["downstream"]["step"] == 3
    # What is no metric fails the stage, not the command with a traceback.
    (mine / "count_plugin.py").write_text(KIND.replace("    return {", '    return {"words": "many",'))
    failed = bench(*words, "--set", "arch=resnet18w16", PYTHONPATH=path)
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
        (
            "plain.py:Plain",
            r"plain\.py:Plain is not a kind of task; derive the class from bench\.config\.tasks\.TrunkTask",
        ),
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('run = "no.such:run"', r"Count in .*count\.py has run = 'no\.such:run', but there is no module no\.such"),
        ('run = "bench.stages.knn:rum"', r"has run = 'bench\.stages\.knn:rum', but .*knn\.py has no function rum"),
        ("run = 3", r"has run = 3, but it should be the name of a function"),
        ('metrics = ["images"]', r"has metrics = \['images'\], but it should be a dictionary"),
        ('metrics = {"images": 3}', r"has metrics = {'images': 3}, but it should be a dictionary"),
        ('version = "2"', r"has version = '2', but it should be a whole number of 1 or more"),
        ("version = True", r"has version = True, but it should be a whole number"),
        ("version = 0", r"has version = 0, but it should be a whole number"),
        ('several_gpus = "yes"', r"has several_gpus = 'yes', but it should be True or False"),
        (
            'evaluates_from = "w.pt"',
            r"has evaluates_from = 'w\.pt', but it should be a tuple of file names, .* None",
        ),
        ('seeded_by = "step"', r"has seeded_by = 'step', but it should be a tuple of names of settings, .* None"),
        ('seeded_by = ("stop",)', r"has seeded_by = \('stop',\), but no setting 'stop'; correct it"),
        ('outputs = "x.json"', r"has outputs = 'x\.json', but it should be a tuple of file names"),
        ("crop: Missing = 3", r"has an annotation that cannot be resolved: name 'Missing' is not defined; import it"),
        ("crop = 3", r"count\.py cannot be imported \(PydanticUserError: A non-annotated attribute .*; correct it\.$"),
    ],
)
def test_a_fact_that_cannot_be_is_refused_while_planning(mine: Path, line: str, message: str) -> None:
    heading = "from __future__ import annotations\n"
    (mine / "count.py").write_text(heading + KIND.replace("    step", f"    {line}\n    step"))
    with pytest.raises(BadInput, match=message) as caught:
        load_task(str(mine / "counted.py"))
    assert "\n" not in str(caught.value)
    assert "errors.pydantic.dev" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "line", "function", "seeds"),
    [
        ("TrunkTask", "", "run", [3, 4]),  # says nothing: it decides
        ("TrunkTask", "seeded_by = ()", "run", [0]),
        ("TrunkTask", 'seeded_by = ("step",)', "run", [3, 4]),
        ("TrunkTask", 'seeded_by = ("limit",)', "run", [0]),
        ("KnnTask", "", "walk", [0]),  # run by the function of the kind that it derives from
        ("KnnTask", 'run = "bench.stages.linear:run"', "walk", [3, 4]),
    ],
)
def test_a_kind_says_where_its_seed_decides_something(
    mine: Path, base: str, line: str, function: str, seeds: list[int]
) -> None:
    kind = KIND.replace("TrunkTask", base).replace("    step", f"    {line}\n    limit: int | None = None\n    step")
    (mine / "count.py").write_text(kind.replace("def run", f"def {function}"))
    planner = Planner(str)
    stages = planner.grid(
        [load_recipe("random_init", "smoke")], [load_task(str(mine / "counted.py"), "smoke")], [0], [3, 4]
    )
    assert [stage.seed for stage in stages if stage.is_task] == seeds
    assert [note.startswith("the seed of counted decides nothing") for note in planner.notes] == [True] * (seeds == [0])


def test_a_function_in_another_module_is_found_without_importing_it(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = "try:\n    import torch\nexcept ImportError:\n    pass\nelse:\n    def measure(job): ...\n"
    (mine / "heavy_part.py").write_text("raise RuntimeError('imported')\n" + guarded)
    monkeypatch.syspath_prepend(str(mine))
    (mine / "count.py").write_text(KIND.replace("    step", '    run = "heavy_part:measure"\n    step'))
    assert load_task(str(mine / "counted.py")).run == "heavy_part:measure"


def test_a_class_without_the_fields_of_a_task_is_refused(mine: Path) -> None:
    (mine / "count.py").write_text(KIND.replace("TrunkTask", "Task"))
    with pytest.raises(BadInput, match=r"has no field 'dataset'; derive it from bench\.config\.tasks\.TrunkTask"):
        load_task(str(mine / "counted.py"))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("check_recipe(self, recipe): 1 / 0", r"Count\.check_recipe in .*count\.py raised ZeroDivisionError"),
        ("check_recipe(self, recipe): exit(3)", r"Count\.check_recipe in .*count\.py raised SystemExit: 3; correct it"),
        ("file_contents(self): open('gone')", r"Count\.file_contents in .*count\.py raised FileNotFoundError"),
        ("file_contents(self): return {'a': {1}}", r"Count\.file_contents in .*count\.py raised TypeError"),
    ],
)
def test_a_method_that_raises_is_named_while_planning(mine: Path, method: str, message: str) -> None:
    (mine / "count.py").write_text(KIND.replace("    step", f"    def {method}\n    step"))
    task = load_task(str(mine / "counted.py"))
    with pytest.raises(BadInput, match=message):
        Planner(str).grid([load_recipe("random_init")], [task], [0])


@pytest.mark.parametrize("file", ["count.py", "counted.py"])
def test_a_file_that_ends_the_process_is_refused(mine: Path, file: str) -> None:
    (mine / file).write_text("exit(3)\n")
    with pytest.raises(BadInput, match=rf"{file} .*; correct"):
        load_task(str(mine / "counted.py"))


def test_a_kind_may_derive_from_one_of_ours(mine: Path) -> None:
    (mine / "near.py").write_text(
        '"""Few neighbours."""\nfrom bench.config.tasks import KnnTask\nclass Near(KnnTask):\n    k: int = 5\n'
    )
    (mine / "nearest.py").write_text('kind = "near.py:Near"\ndataset = "imagenet"\n')
    task = load_task(str(mine / "nearest.py"))
    assert (task.kind, dict(task)["k"], task.run) == (f"{mine}/near.py:Near", 5, "bench.stages.knn:run")
    *_, stage = Planner(str).grid([load_recipe("random_init")], [task], [0])
    assert stage.kind == "near.py:Near"


@pytest.mark.parametrize("word", ["kind=knn", "downstream.kind=knn", "kind=other.py:Count"])
def test_the_kind_of_a_config_cannot_be_set(mine: Path, word: str) -> None:
    with pytest.raises(BadInput, match=r"--set cannot change the kind of a task, .*; give another config\.$"):
        plan_grid(Request(["random_init"], [str(mine / "counted.py")], assignments=[word]), act=False)
    with pytest.raises(BadInput, match="--set cannot change the kind of a task"):
        resolved(str(mine / "counted.py"), "full", [word])


def staged(mine: Path, rendered: Path, tmp_path: Path, edit: Callable[[str], str] = str) -> Path:
    """Plan a grid, pretend that its trunk is there, and return the folder of the task's stage."""
    (mine / "count.py").write_text(edit(KIND))
    words = [f"imagenet={rendered / 'imagenet'}"]
    request = Request(["random_init"], [str(mine / "counted.py")], data_root=words, work_dir=tmp_path / "runs")
    grid = plan_grid(replace(request, results_dir=tmp_path / "results"), act=True)
    *above, folder = [write_stage(stage, grid.work_dir, grid.roots, grid.results_dir, "fail") for stage in grid.stages]
    for stage, place in zip(grid.stages, above, strict=False):
        for name in stage.outputs:
            (place / name).touch()
        if stage.kind == "convert":
            write_proof(place, PROOF)
        write_done(place, Done(fingerprint=stage.fingerprint, metrics={}, wall_seconds=0, finished="2026"))
    return folder


@pytest.mark.slow
def test_what_a_kind_declares_it_must_return_and_write(mine: Path, rendered: Path, tmp_path: Path) -> None:
    for declared, message in {
        'metrics = {"images": "images", "more": "more"}': r"Count in .*count\.py declares the metric more and did not",
        'outputs = ("list.txt",)': r"Count in .*count\.py declares the output list\.txt and did not write it into",
    }.items():
        folder = staged(
            mine, rendered, tmp_path, lambda kind, line=declared: kind.replace("    step", f"    {line}\n    step")
        )
        with pytest.raises(StageFailed, match=message):
            run_stage(folder)
    for body, message in {"None": "returned None, but it should return", "exit(3)": "SystemExit: 3"}.items():
        folder = staged(
            mine, rendered, tmp_path, lambda kind, words=body: kind.partition("    from")[0] + f"    return {words}\n"
        )
        with pytest.raises(StageFailed, match=message):
            run_stage(folder)
    assert not [*(tmp_path / "runs").glob("**/records/*.json")]


def test_code_that_changed_since_it_was_planned_does_not_run(mine: Path, rendered: Path, tmp_path: Path) -> None:
    folder = staged(mine, rendered, tmp_path)
    (mine / "count.py").write_text(KIND + "# edited\n")
    with pytest.raises(BadInput, match=r"count\.py changed since it was planned; run bench run again\.$"):
        run_stage(folder)
    (mine / "count.py").write_text(KIND)
    run_stage(folder)
    assert read_stage(folder).sources.keys() == {str(mine / "count.py")}


def test_a_stage_of_before_sources_were_kept_still_runs(mine: Path, rendered: Path, tmp_path: Path) -> None:
    folder = staged(mine, rendered, tmp_path)
    values = json.loads((folder / "stage.json").read_text())
    del values["sources"], values["checksum"]
    (folder / "stage.json").write_text(json.dumps(values))
    run_stage(folder)
    assert (folder / "done.json").is_file()


def test_the_sources_of_a_stage_are_its_objective_data_sets_and_kind(mine: Path, tmp_path: Path) -> None:
    assert sources_of(load_recipe("coco"), load_task("imagenet_knn")) == {}
    page = (ROOT / "docs" / "adding_a_dataset.md").read_text(encoding="utf-8")
    (mine / "birds.py").write_text(re.findall(r"```python\n(# mine/birds\.py\n.*?)```", page, re.DOTALL)[0])
    (mine / "pull.py").write_text(
        "from bench.objectives.base import Objective\nclass Pull(Objective):\n    def __init__(self, encoder): ...\n"
    )
    recipe = load_recipe("coco", "full", {"dataset": f"{mine}/birds.py:Birds"})
    recipe = recipe.model_copy(update={"objective": {"name": f"{mine}/pull.py:Pull"}})
    task = load_task(str(mine / "counted.py"))
    assert sources_of(recipe, task).keys() == {str(mine / name) for name in ("birds.py", "pull.py", "count.py")}


def test_a_mistyped_setting_names_the_nearest(mine: Path) -> None:
    with pytest.raises(BadInput, match=r"Unknown key 'stepp' in --set for counted; did you mean step"):
        load_task(str(mine / "counted.py"), "full", {"stepp": 3})


def test_metrics_of_a_kind() -> None:
    assert metrics_of("segmentation") == {"aacc_percent": "aAcc", "miou_percent": "mIoU", "macc_percent": "mAcc"}
    assert metrics_of("count.py:Count") == {}  # its records carry them
