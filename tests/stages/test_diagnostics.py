"""Diagnostics as a downstream task: of which weights, on which images, against a loop over files; in plan and table."""

from __future__ import annotations

import json
import math
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.config.tasks import DiagnosticsTask
from bench.convert.proof import prove, write_proof
from bench.convert.trunk import TRUNK, save_trunk
from bench.errors import BadInput, StageFailed
from bench.nn.encoder import Encoder, build_encoder
from bench.nn.representation import rankme, spectrum, tolerance
from bench.plan import Planner
from bench.stages.diagnostics import at_powers_of_two, plot, restored, run
from bench.stages.job import Job
from bench.stages.pretrain import start
from bench.train.checkpoint import LAST, write


def recipe(objective: str = "byol", **values: Any) -> Recipe:
    heads = {"hidden_dim": 32, "projection_dim": 16} if objective == "byol" else {}
    given: dict[str, Any] = {"name": objective, "summary": "", "source": "here", "profile": "smoke"}
    given |= {"dataset": "imagenet", "epochs": 1, "optimizer": {"lr": 0.1}, "arch": "resnet18w16"}
    if objective == "random_init":
        given |= {"dataset": "none", "epochs": 0, "optimizer": None}
    return Recipe.model_validate(given | {"objective": {"name": objective, **heads}} | values)


class _Maps(Encoder):
    def forward(self, x: torch.Tensor) -> Any:
        return self.maps(x)


def upstream(folder: Path, config: Recipe, seed: int = 3) -> dict[str, Path]:
    """What a pretrain and a convert stage leave, of an objective whose norms have seen something."""
    objective, _ = start(config, seed, None, num_classes=3, num_images=18)
    objective.train()
    with torch.no_grad():
        for _ in range(3):
            objective.outputs(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    inputs = {"pretrain": folder / "pretrain", "convert": folder / "convert"}
    for place in inputs.values():
        place.mkdir(parents=True)
    write(inputs["pretrain"] / LAST, {"run": {}, "step": 1, "objective": objective.state_dict()})
    state = objective.encoder.state_dict()
    save_trunk(inputs["convert"] / TRUNK, state, "resnet18w16")
    ours, network = build_encoder("resnet18w16", 0), build_encoder("resnet18w16", 0)
    for one in (ours, network):
        one.load_state_dict(state)
        one.eval()
    network.__class__ = _Maps
    write_proof(inputs["convert"], prove(ours.state_dict(), "resnet18w16", ours.maps, network))
    return inputs


def job(folder: Path, config: Recipe, inputs: dict[str, Path], roots: dict[str, Path], **changes: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"name": "diagnostics", "summary": "", "source": "", "profile": "smoke"}
    values |= {"kind": "diagnostics", "dataset": "imagenet", "batch_size": 4, "size": 32, "resize": 36, "workers": 0}
    task = DiagnosticsTask(**(values | {"neighbours": 3} | changes))
    return Job(config=task, seed=0, folder=folder, inputs=inputs, data_roots=roots, recipe=config)


@pytest.fixture(scope="module")
def byol(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return upstream(tmp_path_factory.mktemp("byol"), recipe())


@pytest.mark.slow
def test_the_exported_copy_is_looked_at_with_its_head(tmp_path: Path, byol: dict[str, Path], imagenet: Path) -> None:
    config = recipe().model_copy(update={"export": "target"})
    objective = restored(job(tmp_path / "a", config, byol, {"imagenet": imagenet}))
    saved = torch.load(byol["pretrain"] / LAST, weights_only=False)["objective"]
    for name in ("encoder", "projector"):
        theirs = {
            key.removeprefix(f"target_{name}."): t for key, t in saved.items() if key.startswith(f"target_{name}.")
        }
        ours = getattr(objective, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
        assert any(not torch.equal(ours[key], saved[f"{name}.{key}"]) for key in theirs)  # its norms saw nothing


@pytest.mark.slow
def test_the_stage_equals_a_loop_over_files(tmp_path: Path, byol: dict[str, Path], imagenet: Path) -> None:
    one = job(tmp_path / "a", recipe(), byol, {"imagenet": imagenet})
    metrics = run(one)
    objective = restored(one).eval()
    rows: dict[str, list[torch.Tensor]] = {"backbone": [], "projector": []}
    labels = []
    for label, place in enumerate(sorted((imagenet / "val").iterdir())):
        for file in sorted(place.iterdir()):
            image = Image.open(file).resize((round(36 * 48 / 40), 36), Image.Resampling.BILINEAR)
            left, top = round((image.width - 32) / 2), round((image.height - 32) / 2)
            pixels = np.asarray(image.crop((left, top, left + 32, top + 32)), np.float32) / 255
            pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            with torch.no_grad():
                f = objective.encoder(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])
                rows["backbone"].append(f[0])
                rows["projector"].append(objective.projector(f)[0])  # type: ignore[operator]
            labels.append(label)
    saved = json.loads((one.folder / "spectrum.json").read_text())
    assert set(saved) == {"backbone", "projector"}
    for name, dims in (("backbone", 128), ("projector", 16)):
        z = torch.stack(rows[name])
        assert metrics[f"{name}_dims"] == dims
        assert metrics[f"{name}_rankme"] == pytest.approx(float(rankme(z)), rel=1e-3)
        assert metrics[f"{name}_tolerance"] == pytest.approx(float(tolerance(z, torch.tensor(labels)) or 0), rel=1e-3)
        assert saved[name][:4] == pytest.approx(spectrum(z).tolist()[:4], rel=1e-3)
        assert len(saved[name]) == dims
        assert metrics[f"{name}_log10_spectrum"]["1"] == pytest.approx(math.log10(saved[name][0]))
        assert 0 < metrics[f"{name}_alignment"] < 4
        assert 0 <= metrics[f"{name}_knn_percent"] <= 100
        assert 0 < metrics[f"{name}_std_sqrt_dim"] < 1.5
        assert metrics[f"{name}_uniformity"] < 0
    assert (metrics["images"], metrics["images_skipped"]) == (9, 0)
    assert len(ET.fromstring((one.folder / "spectrum.svg").read_text()).findall("{*}polyline")) == 2
    again = run(job(tmp_path / "b", recipe(), byol, {"imagenet": imagenet}, batch_size=7, workers=1))
    assert again["projector_rankme"] == pytest.approx(metrics["projector_rankme"], rel=1e-4)


@pytest.mark.slow
def test_images_without_classes_have_no_tolerance_and_no_neighbours(
    tmp_path: Path, byol: dict[str, Path], imagenet: Path
) -> None:
    for split in ("train2017", "val2017"):
        shutil.copytree(imagenet / "val" / "n01440764", tmp_path / "coco" / split)
    roots = {"coco": tmp_path / "coco", "imagenet": imagenet}
    metrics = run(job(tmp_path / "a", recipe(), byol, roots, dataset="coco", images=2))
    assert metrics["images"] == 2
    assert not [key for key in metrics if key.endswith(("tolerance", "knn_percent"))]
    assert metrics["projector_rankme"] > 0


@pytest.mark.slow
def test_random_init_has_a_trunk_alone(tmp_path: Path, imagenet: Path) -> None:
    config = recipe("random_init")
    inputs = upstream(tmp_path / "up", config)
    metrics = run(job(tmp_path / "a", config, inputs, {"imagenet": imagenet}))
    assert metrics["backbone_rankme"] > 1
    assert not [key for key in metrics if key.startswith("projector")]


@pytest.mark.slow
def test_an_encoder_that_is_not_the_proven_trunk_is_refused(
    tmp_path: Path, byol: dict[str, Path], imagenet: Path
) -> None:
    other = upstream(tmp_path / "up", recipe(), seed=4)
    mixed = {"pretrain": other["pretrain"], "convert": byol["convert"]}
    with pytest.raises(StageFailed, match="not the trunk of the proof"):
        run(job(tmp_path / "a", recipe(), mixed, {"imagenet": imagenet}))


def test_a_checkpoint_of_another_objective_is_refused(tmp_path: Path, byol: dict[str, Path], imagenet: Path) -> None:
    with pytest.raises(BadInput, match="does not fit its recipe"):
        run(job(tmp_path / "a", recipe("supervised"), byol, {"imagenet": imagenet}))


def test_powers_of_two_and_a_plot_of_what_collapsed() -> None:
    assert at_powers_of_two([100.0, 10.0, 1.0, 0.1, 0.01, 0.0]) == {"1": 2, "2": 1, "4": -1, "6": None}
    assert "nan" not in plot({"backbone": [1.0, 1e-30, 0.0], "projector": [0.0, 0.0]})
    ET.fromstring(plot({"backbone": [0.0, 0.0]}))


def test_the_plan_reads_trunk_and_training_state_and_adds_no_pretraining() -> None:
    task = load_task("diagnostics", "smoke")
    assert isinstance(task, DiagnosticsTask)
    with_knn = Planner(lambda name: name)
    stages = with_knn.grid([load_recipe("coco", "smoke")], [load_task("imagenet_knn", "smoke"), task], [0])
    assert [stage.kind for stage in stages] == ["pretrain", "convert", "knn", "diagnostics"]
    assert {role: parent.kind for role, parent in stages[-1].parents.items()} == {
        "convert": "convert",
        "pretrain": "pretrain",
    }
    assert set(stages[2].parents) == {"convert"}


def test_ranks_stand_in_the_table_and_nothing_that_is_no_percentage_is_best() -> None:
    from bench.record import Record
    from bench.results.tables import build_tables

    def record(pretrain: str, seed: int, rank: float, knn: float) -> Record:
        return Record.model_validate(
            {
                **{"pretrain": pretrain, "pretrain_set": "coco", "arch": "resnet50", "task": "diagnostics"},
                **{"kind": "diagnostics", "dataset": "imagenet", "profile": "mini", "seed": seed, "data": {}},
                "metrics": {
                    "backbone_rankme": rank,
                    "backbone_knn_percent": knn,
                    "backbone_log10_spectrum": {"1": 0.1},
                },
                "fingerprints": {
                    "stage": f"{pretrain.encode().hex() * 4}{seed}",
                    "recipe": "a" * 12,
                    "protocol": "b" * 12,
                },
                "settings": {"pretrain": {}, "downstream": {}},
            }
        )

    coco = [record("coco", 0, 900.0, 30.0), record("coco", 1, 901.0, 31.0)]
    byol = [record("byol", 0, 50.0, 20.0), record("byol", 1, 51.0, 21.0)]
    (section,) = build_tables([*coco, *byol], Path("none"))
    assert [column.header for column in section.columns] == [
        "diagnostics backbone RankMe",
        "diagnostics backbone kNN",
    ]
    best = {row.name: [cell.best for cell in row.cells if cell] for row in section.rows}
    assert best == {"coco": [False, True], "byol": [False, False]}
    assert any("Not in percent" in note for note in section.notes)


@pytest.mark.slow
def test_the_command_line_runs_it_and_the_table_has_it(bench: Any, rendered: Path, tmp_path: Path) -> None:
    words = ("--downstream", "diagnostics", "--data-root", rendered, "--set", "arch=resnet18w16")
    done = bench("run", "--profile", "smoke", "--pretrain", "random_init", *words, "--results-dir", tmp_path / "res")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "res" / "records").glob("*.json")
    record = json.loads(file.read_text())
    assert record["kind"] == "diagnostics"
    assert record["metrics"]["backbone_dims"] == 128
    assert record["metrics"]["backbone_knn_percent"] >= 0
    assert (tmp_path / "runs" / "diagnostics").is_dir()
    assert "diagnostics backbone RankMe" in (tmp_path / "res" / "tables" / "transfer.md").read_text()
