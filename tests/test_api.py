"""bench from Python: a grid, its records as a frame, its trunk as a module; and what is refused, in one sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_records import make

import bench
from bench.errors import Interrupted
from bench.results.record_lines import RECORD_COLUMNS, record_lines

ROOT = Path(__file__).parents[1]
ARCH = "resnet18w16"
SEED = 1  # not that of a network before its weights are loaded


def test_import_is_cheap_and_offers_what_it_says() -> None:
    program = (
        "import sys, bench\n"
        "loaded = {'torch', 'pandas', 'numpy', 'pydantic', 'typer', 'rich'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "assert set(bench.__all__) <= set(dir(bench))\n"
        "assert callable(bench.run) and issubclass(bench.BadInput, Exception)\n"
        "loaded = {'torch', 'pandas', 'typer'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        bench.runs  # noqa: B018


@pytest.fixture(scope="module")
def grid(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> bench.GridResult:
    """A control on one task, recorded: its files are put where its stages would, so that nothing is left to run.

    tests/test_notebook.py runs a grid.
    """
    from bench.convert.proof import load_strictly, prove, write_proof
    from bench.convert.trunk import TRUNK, save_trunk
    from bench.execute.grid import plan_grid
    from bench.execute.local import prepare
    from bench.execute.request import Request
    from bench.nn.encoder import Encoder, build_encoder
    from bench.record import write

    class Maps(Encoder):
        forward = Encoder.maps  # type: ignore[assignment]

    work = tmp_path_factory.mktemp("api") / "work"
    shutil.copytree(rendered, work / "rendered")
    settings = [f"arch={ARCH}"]
    request = Request(["random_init"], ["imagenet_knn"], [SEED], smoke=True, assignments=settings, work_dir=work)
    planned = plan_grid(request, act=True)
    stages, folders = prepare(planned, "fail")
    _, convert, knn = stages
    encoder, network = build_encoder(ARCH, seed=SEED).eval(), Maps(ARCH, seed=2)
    load_strictly(network, encoder.state_dict())
    folder = folders[convert.fingerprint]
    trunk = save_trunk(folder / TRUNK, encoder.state_dict(), ARCH)
    write_proof(folder, prove(encoder.state_dict(), ARCH, encoder.maps, network, exported="encoder"))
    prints = {"stage": knn.fingerprint, "recipe": knn.recipe_fingerprint, "protocol": "0" * 12}
    weights = f"{convert.folder}/{TRUNK}"
    record = make(
        "random_init",
        "imagenet_knn",
        SEED,
        fingerprints=prints,
        arch=ARCH,
        profile="smoke",
        trunk=trunk,
        weights=weights,
    )
    write(record, planned.results_dir / "records")
    return bench.run("random_init", ["imagenet_knn"], seeds=[SEED], smoke=True, set={"arch": ARCH}, work_dir=work)


def test_a_grid_that_is_recorded_has_records_tables_and_trunks(
    grid: bench.GridResult, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [file.is_file() for file in grid.files] == [True]
    assert (grid.results_dir / "tables" / "transfer.md").is_file()
    assert set(grid.trunks) == {"random_init-s1"}
    frame = grid.records
    assert tuple(frame.columns) == tuple(RECORD_COLUMNS)
    assert frame.equals(bench.records(grid.results_dir))
    top1 = frame[frame.metric == "top1"]
    record = json.loads(grid.files[0].read_text())
    assert top1.value.tolist() == [record["metrics"]["top1_percent"]]
    assert top1[["row", "task", "unit", "seed", "task_seed", "arch", "profile"]].to_numpy().tolist() == [
        ["random_init", "imagenet_knn", "percent", SEED, SEED, ARCH, "smoke"]
    ]
    assert top1.weights.item() == record["trunk"]
    capfd.readouterr()
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.chdir(grid.work_dir.parent)
    again = bench.run(
        "random_init", "imagenet_knn", seeds=SEED, smoke=True, set=[f"arch={ARCH}"], work_dir=grid.work_dir.name
    )
    assert again.files == grid.files
    monkeypatch.chdir(ROOT)
    assert again.records.equals(frame)
    assert "skipped  knn random_init--imagenet_knn-s1: recorded already" in capfd.readouterr().out
    assert "OMP_WAIT_POLICY" not in os.environ


def test_a_trunk_is_loaded_from_record_stage_and_file_with_its_weights(grid: bench.GridResult, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    record = grid.records.record[0]
    folder = grid.trunks["random_init-s1"]
    task = next(grid.work_dir.glob("knn/*"))
    shutil.copy(folder / "trunk.safetensors", tmp_path / "mine.safetensors")
    places = {"work_dir": grid.work_dir, "results_dir": grid.results_dir}
    networks = [
        bench.load_trunk(record, **places),
        bench.load_trunk(grid.files[0], work_dir=grid.work_dir),
        bench.load_trunk(folder),
        bench.load_trunk(task),
        bench.load_trunk(tmp_path / "mine.safetensors"),
    ]
    saved = load_file(folder / "trunk.safetensors")
    for network in networks:
        state = network.state_dict()
        assert state.keys() == saved.keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in saved.items())
        assert network.trunk_hash == json.loads(grid.files[0].read_text())["trunk"]
        assert not any(module.training for module in network.modules())
    assert [network.load_proven for network in networks] == [True, True, True, True, False]
    images = torch.full((2, 3, 64, 96), 255, dtype=torch.uint8)
    normalised = networks[0].normalised(images)
    assert torch.allclose(
        normalised[0, :, 0, 0], (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )
    assert torch.equal(networks[0].normalised(images[0] / 255), normalised[:1])
    assert networks[0](normalised).shape == (2, networks[0].feature_dim)
    assert networks[0].maps(normalised)[-1].shape == (2, networks[0].feature_dim, 2, 3)


def test_weights_that_are_not_the_records_or_not_the_files_are_refused(grid: bench.GridResult, tmp_path: Path) -> None:
    from bench.convert.trunk import save_trunk
    from bench.nn.encoder import build_encoder

    record = grid.records.record[0]
    work = tmp_path / "work"
    place = work / json.loads(grid.files[0].read_text())["weights"]
    place.parent.mkdir(parents=True)
    save_trunk(place, build_encoder(ARCH, seed=5).state_dict(), ARCH)
    with pytest.raises(bench.BadInput, match=r"has the weights \w{12}, and the record was made with \w{12}"):
        bench.load_trunk(record, work_dir=work, results_dir=grid.results_dir)
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(content)
    with pytest.raises(bench.BadInput, match="was changed after it was written"):
        bench.load_trunk(place)
    shutil.copy(grid.trunks["random_init-s1"] / "proof.json", place.parent)
    with pytest.raises(bench.BadInput, match=r"\d+ of \d+ tensors matched the load proof"):
        bench.load_trunk(place.parent)
    pretrained = next(grid.work_dir.glob("pretrain/*"))
    for source, words in [
        (pretrained, "is a stage that has no trunk"),
        (tmp_path, "holds no trunk.safetensors"),
        (tmp_path / "no.safetensors", "There is no file"),
        ("no_such_record", "No record 'no_such_record'"),
    ]:
        with pytest.raises(bench.BadInput, match=words):
            bench.load_trunk(source, results_dir=grid.results_dir)
    with pytest.raises(bench.BadInput, match="give the work_dir="):
        bench.load_trunk(record, work_dir=tmp_path / "elsewhere", results_dir=grid.results_dir)


def test_metrics_of_several_values_have_a_line_for_each() -> None:
    metrics = {"top1_percent": 50.0, "iou_percent": {"road": 90.0, "train": None}, "k": 3}
    one = make("coco", "imagenet_linear", 0, metrics=metrics)
    frame = record_lines([one])
    assert frame.metric.tolist() == ["top1", "iou", "k"]
    assert frame["class"].tolist() == ["", "road", ""]
    assert frame.unit.tolist() == ["percent", "percent", ""]
    assert frame.value.tolist() == [50.0, 90.0, 3.0]
    assert frame.dtypes["seed"] == frame.dtypes["task_seed"] == np.int64
    assert record_lines([]).columns.tolist() == frame.columns.tolist()


def test_every_column_is_on_the_page() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for column, meaning in RECORD_COLUMNS.items():
        assert f"| `{column}` | {meaning} |" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pretrain": []}, "no pretraining"),
        ({"pretrain": 3}, "pretrain is 3; give a config's name"),
        ({"pretrain": "coco_two_los"}, "did you mean coco_two_loss"),
        ({"seeds": "0-2"}, "seeds is '0-2'; give a whole number"),
        ({"seeds": [0, -1]}, "seeds is [0, -1]"),
        ({"seeds": True}, "seeds is True"),
        ({"seeds": range(0)}, "no seeds"),
        ({"set": None}, "set is None; give a dictionary of values"),
        ({"sweep": 1}, "sweep is 1; give a dictionary of lists"),
        ({"data_root": {"coco": None}}, "data_root of coco is None; give the path of a folder"),
        ({"profile": "huge"}, "profile is 'huge'; give one of full, mini, smoke"),
        ({"set": {"epoch": 3}}, "did you mean epochs"),
        ({"set": {"epochs": float("nan")}}, "The value of epochs is nan"),
        ({"set": {"epochs": object}}, "The value of epochs is <class 'object'>"),
        ({"sweep": {"objective.temperature": 0.1}}, "give a list of values"),
        ({"gpus": 0}, "gpus is 0; give a whole number from 1"),
        ({"per_stage": 1.5}, "per_stage is 1.5"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_made(
    arguments: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bench.BadInput, match=re.escape(words)):
        bench.run(**{"pretrain": "coco", "smoke": True, **arguments})
    assert not list(tmp_path.rglob("*.ckpt"))


def test_settings_come_as_they_would_from_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bench.config.assignments import parse_assignments
    from bench.execute.request import Request
    from bench.execute.resolve import combinations

    class Asked(Exception):
        pass

    asked: list[Request] = []

    def plan(request: Request, **_: object) -> None:
        asked.append(request)
        raise Asked

    monkeypatch.setattr("bench.execute.grid.plan_grid", plan)
    values = {"epochs": np.int64(2), "arch": "resnet18", "objective.temperature": np.float64(0.2), "sync_bn": True}
    sweep = {"objective.temperature": [0.1, 0.2], "arch": ("resnet18", "resnet50")}
    with pytest.raises(Asked):
        bench.run(
            tmp_path / "mine.py",
            seeds=np.arange(2),
            set=values | {"milestones": (0.5, 0.8)},
            sweep=sweep,
            data_root={"coco": tmp_path},
        )
    (request,) = asked
    assert request.pretrain == [str(tmp_path / "mine.py")]
    assert request.seeds == [0, 1]
    assert parse_assignments(request.assignments) == values | {"milestones": (0.5, 0.8)}
    assert {tuple(cell.values()) for cell in combinations(request.sweep)} == {
        (0.1, "resnet18"), (0.1, "resnet50"), (0.2, "resnet18"), (0.2, "resnet50")
    }  # fmt: skip
    assert request.data_root == [f"coco={tmp_path}"]


def test_an_interrupted_grid_ends_as_ctrl_c_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rendered: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted("pretrain coco-s0 was interrupted; its last checkpoint stays.")

    monkeypatch.setattr("bench.execute.local.run_grid", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"its last checkpoint stays\. Call bench\.run again to go on\."):
        bench.run("random_init", smoke=True, data_root=rendered, work_dir=tmp_path)


def test_a_folder_without_records_and_one_that_is_not_there(tmp_path: Path) -> None:
    assert len(bench.records(tmp_path)) == 0
    with pytest.raises(bench.BadInput, match="There is no results folder"):
        bench.records(tmp_path / "elsewhere")
