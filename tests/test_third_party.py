"""Objectives that are not ours: a file, a module, an entry point; planned without importing them, and trained."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.config.load import load_recipe
from bench.errors import BadInput
from bench.execute.grid import Request, plan_grid
from bench.objectives import build
from bench.plan import Planner, hashed_settings, recorded_settings

Run = Callable[..., "CompletedProcess[str]"]

OBJECTIVE = '''"""Pull two views together, as an example."""

import torch

from bench.data.views import BYOL_VIEWS
from bench.losses.uniformity import align_uniform
from bench.nn.heads import mlp
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class Pull(Objective):
    """Alignment and uniformity of a projection."""

    def __init__(self, encoder, *, width: int = 16, weight: float = 1.0) -> None:
        super().__init__(encoder)
        with seeded(encoder.seed, "head"):
            self.projector = mlp(encoder.feature_dim, width, 8)
        self.weight = weight

    def views(self, size):
        return BYOL_VIEWS(size)

    def forward(self, batch):
        z1, z2 = (self.projector(self.encoder(v)) for v in batch.views)
        return {"loss": self.weight * align_uniform(z1, z2)}
'''

CONFIG = '''"""Mine."""
dataset = "coco"
arch = "resnet18w16"
objective = dict(name="pull.py:Pull", width=24)
epochs = 1
batch_size = 4
view_size = 32
optimizer = dict(name="sgd", lr=0.1)
profiles = dict(smoke=dict(subset=8))
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with one objective and one config."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "pull.py").write_text(OBJECTIVE)
    (folder / "pull_coco.py").write_text(CONFIG)
    return folder


def named(folder: Path, name: str) -> str:
    """Return a config that names its objective so."""
    file = folder / "other.py"
    file.write_text(CONFIG.replace("pull.py:Pull", name).replace(", width=24", ""))
    return str(file)


@pytest.mark.slow
def test_an_objective_in_a_file_trains_in_smoke_form(
    bench: Run, mine: Path, tmp_path: Path, render_into: Callable[[Path], Path]
) -> None:
    render_into(tmp_path / "runs")
    config = str(mine / "pull_coco.py")
    done = bench("run", "--smoke", "--pretrain", config)
    assert done.returncode == 0, done.stdout + done.stderr
    (metrics,) = tmp_path.glob("runs/pretrain/pull_coco-*/metrics.jsonl")
    last = json.loads(metrics.read_text().splitlines()[-1])
    assert last["step"] == 2
    assert "diagnostics/projector/rankme" in last

    words = [f"{name}={tmp_path / 'runs' / 'rendered' / name}" for name in ("coco", "imagenet", "cityscapes")]
    request = Request([config], [], smoke=True, data_root=words, work_dir=tmp_path / "runs")
    assert [*plan_grid(request, act=False).states.values()] == ["done", "done"]
    (mine / "pull.py").write_text(OBJECTIVE + "\n# another comment\n")
    assert [*plan_grid(request, act=False).states.values()] == ["to do", "to do"]


def test_records_know_its_name_and_source_and_no_path(mine: Path, tmp_path: Path) -> None:
    objective = recorded_settings(load_recipe(str(mine / "pull_coco.py")))["objective"]
    assert re.fullmatch("[0-9a-f]{16}", objective.pop("source"))
    assert objective == {"name": "pull.py:Pull", "width": 24, "weight": 1.0}


def test_an_edit_of_its_source_trains_again_and_a_move_does_not(mine: Path, tmp_path: Path) -> None:
    before = hashed_settings(load_recipe(str(mine / "pull_coco.py")))
    moved = mine.rename(tmp_path / "moved")
    assert hashed_settings(load_recipe(str(moved / "pull_coco.py"))) == before
    (moved / "pull.py").write_text(OBJECTIVE + "# more\n")
    assert hashed_settings(load_recipe(str(moved / "pull_coco.py"))) != before


def test_settings_of_ours_are_as_they_were() -> None:
    recipe = load_recipe("coco_two_loss")
    assert recorded_settings(recipe)["objective"] == recipe.objective


@pytest.mark.slow
def test_planning_imports_neither_it_nor_torch(mine: Path) -> None:
    (mine / "package").mkdir()
    (mine / "package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (mine / "package" / "pull.py").write_text("raise RuntimeError('imported')\n" + OBJECTIVE)
    config = named(mine, "package.pull:Pull")
    program = (
        "import sys\nfrom bench.plan import Planner\nfrom bench.config.load import load_recipe\n"
        f"Planner(str).grid([load_recipe({config!r})], [], [0])\n"
        "assert 'torch' not in sys.modules and 'package' not in sys.modules\nprint('planned')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=mine, capture_output=True, text=True, check=False)
    assert done.stdout == "planned\n", done.stderr


def test_a_module_is_found_read_and_built(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.nn.encoder import build_encoder

    package = mine / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "pull.py").write_text(OBJECTIVE)
    monkeypatch.syspath_prepend(str(mine))
    recipe = load_recipe(named(mine, "some_package.pull:Pull"))
    assert recipe.objective == {"name": "some_package.pull:Pull", "width": 16, "weight": 1.0}
    (pretrain, _) = Planner(str).grid([recipe], [], [0])
    (package / "pull.py").write_text(OBJECTIVE + "\n")
    (edited, _) = Planner(str).grid([recipe], [], [0])
    assert edited.fingerprint != pretrain.fingerprint
    assert type(build(recipe.objective, build_encoder("resnet18", 0))).__name__ == "Pull"


def test_an_entry_point_names_an_objective(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.execute.inventory import inventory
    from bench.nn.encoder import build_encoder

    (mine / "pull_plugin.py").write_text(OBJECTIVE)
    installed = mine / "pull_plugin-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: pull-plugin\nVersion: 1.0\n")
    points = "pull = pull_plugin:Pull\nbyol = pull_plugin:Pull\ngone = nowhere_at_all:Gone\n"
    (installed / "entry_points.txt").write_text(f"[bench.objectives]\n{points}")
    monkeypatch.syspath_prepend(str(mine))
    recipe = load_recipe(named(mine, "pull"))
    assert recipe.objective == {"name": "pull", "width": 16, "weight": 1.0}
    assert recorded_settings(recipe)["objective"]["name"] == "pull_plugin:Pull"
    assert type(build(recipe.objective, build_encoder("resnet18", 0))).__name__ == "Pull"
    assert "hidden_dim" in load_recipe(named(mine, "byol")).objective  # ours comes first
    listed = inventory()["objectives"]
    assert listed["pull"] == "Alignment and uniformity of a projection."
    assert listed["gone"] == "(not readable)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pul.py:Pull", r"names pul\.py, which is not in .* nor in .*; correct the path"),
        ("pull.py:Pul", r"pull\.py has no class Pul; did you mean Pull"),
        ("no_such_package.pull:Pull", r"names the module no_such_package\.pull, which is not installed; install"),
        ("torch.no_such_part:Pull", r"names the module torch\.no_such_part, which is not installed"),
        ("byoll", r"Unknown objective 'byoll' in .*; did you mean byol"),
        ("pull.py:", r"Unknown objective 'pull\.py:' in"),
        ("broken.py:Pull", r"broken\.py is no readable Python .*; correct it"),
        ("computed.py:Pull", r"A default of Pull\.__init__ is no literal; write its value out"),
    ],
)
def test_what_cannot_be_found_is_said_in_a_sentence(mine: Path, name: str, message: str) -> None:
    (mine / "broken.py").write_text("class Pull(:\n")
    (mine / "computed.py").write_text(OBJECTIVE.replace("width: int = 16", "width: int = 4 * len('abcd')"))
    with pytest.raises(BadInput, match=message) as caught:
        load_recipe(named(mine, name))
    assert "\n" not in str(caught.value)


def test_a_mistyped_setting_is_caught_in_planning(mine: Path) -> None:
    with pytest.raises(BadInput, match=r"Unknown key 'objective\.widht' in .*; did you mean width"):
        load_recipe(str(mine / "pull_coco.py"), "full", {"objective": {"widht": 3}})
    with pytest.raises(BadInput, match=r"Key 'objective\.width' in .* is 'wide', but should be int"):
        load_recipe(str(mine / "pull_coco.py"), "full", {"objective": {"width": "wide"}})


def test_what_is_no_objective_or_cannot_run_is_refused_when_it_is_built(mine: Path) -> None:
    from bench.nn.encoder import build_encoder

    encoder = build_encoder("resnet18", 0)
    (mine / "plain.py").write_text("class Plain:\n    pass\n")
    with pytest.raises(BadInput, match=r"Plain in .*plain\.py is no objective; derive it from"):
        build({"name": f"{mine / 'plain.py'}:Plain"}, encoder)
    (mine / "fails.py").write_text("import no_such_module_here\nclass Plain:\n    pass\n")
    with pytest.raises(BadInput, match=r"fails\.py cannot be imported \(ModuleNotFoundError.*; correct it"):
        build({"name": f"{mine / 'fails.py'}:Plain"}, encoder)
