"""A stage that starts long after it was planned looks at its data again."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import bench.data.sets.fingerprints as fingerprints
from bench.cli import run
from bench.data.sets import fingerprint
from bench.errors import BadInput
from bench.execute.data_check import check_data
from bench.execute.grid import plan_grid
from bench.execute.request import Request
from bench.execute.stage_file import write_stage


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fingerprints, "SAMPLED", 1)
    root = tmp_path / "coco"
    (root / "train2017").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (40, 32), (number, 0, 0)).save(root / "train2017" / f"{number}.jpg")
    return root


def edit(file: Path, more: bytes = b"") -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-3] + b"x" + content[-2:] + more)


def test_what_changed_since_the_plan_is_refused_or_said(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    planned = {"coco": fingerprint("coco", coco, work / "data.json")}
    roots = {"coco": str(coco)}
    check_data(planned, roots, work)
    check_data({"coco": f"{planned['coco']}+jpeg-256-q90-0123456789ab"}, roots, work)
    assert capsys.readouterr().out == ""
    edit(coco / "train2017" / "2.jpg")
    check_data(planned, roots, work)
    assert capsys.readouterr().out.startswith("note: 1 file (train2017/2.jpg) of coco may have changed")
    edit(coco / "train2017" / "1.jpg", b"x")
    with pytest.raises(
        BadInput, match=r"coco at \S+ changed since this was planned .*\(first train2017/1.jpg\).*run bench run again"
    ):
        check_data(planned, roots, work)
    check_data(planned, roots, tmp_path / "elsewhere")  # where nothing is known of them
    check_data({"none": "x"}, {}, work)


def test_a_stage_refuses_to_start_on_other_data(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work, results = tmp_path / "work", tmp_path / "results"
    request = Request(
        pretrain=["coco_densecl"], data_root=[f"coco={coco}"], work_dir=work, results_dir=results, profile="smoke"
    )
    grid = plan_grid(request, act=True)
    folder = write_stage(grid.stages[0], work, grid.roots, results, "fail")
    (coco / "train2017" / "3.jpg").unlink()
    assert run(["stage", str(folder)]) == 2
    assert "changed since this was planned" in capsys.readouterr().err
    assert not (folder / "done.json").exists()
