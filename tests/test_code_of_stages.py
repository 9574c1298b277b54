"""What stages keep of their code, what of it is stale, and what is put aside; nothing is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.code.used import CodeUsed, Current, by_file, changed, library_changes
from bench.errors import BadInput
from bench.execute.code_file import CODE, UNKNOWN, begin, check_begun, check_planned, current_of, read_code
from bench.execute.grid import Grid, plan_grid
from bench.execute.local import prepare
from bench.execute.request import Request
from bench.execute.stage_file import Done, finished, read_stage, write_done
from bench.plan import recorded_settings
from bench.record import Fingerprints, Record
from bench.record import write as write_record
from bench.results.other_code import stages_of_other_code

OTHER = CodeUsed(digest="f" * 16)


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(pretrain=["random_init"], profile="smoke", work_dir=tmp_path / "runs", results_dir=tmp_path / "res")


def finish(grid: Grid, *, used: CodeUsed | None = None) -> list[Path]:
    """Pretend that each stage of a grid has run, with the code of now, or another."""
    to_do, folders = prepare(grid, "fail")
    for stage in to_do:
        folder = folders[stage.fingerprint]
        file = read_stage(folder)
        inputs = {role: grid.work_dir / place for role, place in file.inputs.items()}
        sittings = begin(folder, file, current_of(file), inputs).sittings
        if used is not None:
            content = json.loads((folder / CODE).read_text(encoding="utf-8"))
            content["sittings"], sittings = [used.model_dump()], (used,)
            (folder / CODE).write_text(json.dumps(content), encoding="utf-8")
        for name in stage.outputs:
            (folder / name).touch()
        done = Done(
            fingerprint=stage.fingerprint,
            metrics={},
            wall_seconds=1.0,
            code=sittings,
            finished="2025-01-01T00:00:00",
        )
        write_done(folder, done)
    return [folders[stage.fingerprint] for stage in to_do]


def test_what_the_code_of_now_made_is_not_stale(request_: Request) -> None:
    finish(plan_grid(request_, act=True))
    grid = plan_grid(request_, act=True)
    assert not grid.code.stale
    assert [*grid.states.values()] == ["done", "done"]


def test_other_code_is_refused_kept_or_redone(request_: Request) -> None:
    pretrain, convert = finish(plan_grid(request_, act=True), used=OTHER)
    plan = plan_grid(request_, act=False)
    assert [plan.shown(stage) for stage in plan.stages] == ["stale", "stale"]
    assert "           because   code, of which it is not kept what it was" in plan.lines(1)
    with pytest.raises(BadInput, match=r"^Made by other code than that of now: pretrain random_init-s0 \(.*--stale r"):
        plan_grid(request_, act=True)
    assert pretrain.is_dir()
    kept = plan_grid(request_, act=True, stale="keep")
    assert [*kept.states.values()] == ["done", "done"]
    redo = plan_grid(request_, act=True, stale="redo")
    assert [*redo.states.values()] == ["to do", "to do"]
    aside = sorted(place.name for place in [*pretrain.parent.iterdir(), *convert.parent.iterdir()])
    assert aside == sorted(f"{place.name}.replaced-ffffffff" for place in (pretrain, convert))


def test_another_version_of_a_library_is_named(request_: Request) -> None:
    grid = plan_grid(request_, act=True)
    now = grid.code.current[grid.stages[0].fingerprint].used
    finish(grid, used=now.model_copy(update={"libraries": now.libraries | {"torch": "0.1"}}))
    plan = plan_grid(request_, act=False)
    assert plan.code.stale[plan.stages[0].fingerprint].reasons == (f"torch 0.1 -> {now.libraries['torch']}",)


def test_a_stage_whose_parent_was_made_anew_is_stale(request_: Request) -> None:
    pretrain, _ = finish(plan_grid(request_, act=True))
    write_done(pretrain, finished(pretrain).model_copy(update={"finished": "2025-02-02T00:00:00"}))
    plan = plan_grid(request_, act=False)
    assert [plan.code.reasons(stage) for stage in plan.stages] == [(), ("pretrain random_init-s0 was made anew since",)]


def test_of_what_an_older_version_made_nothing_is_said_but_that(request_: Request) -> None:
    for folder in finish(plan_grid(request_, act=True)):
        (folder / CODE).unlink()
    grid = plan_grid(request_, act=True)
    assert not grid.code.stale
    lines = [line for line in grid.lines(1) if "code not known" in line]
    assert lines == [
        "note: code not known, as it was not kept when they were made: pretrain random_init-s0 and 1 more",
    ]


def test_a_record_with_other_code_is_stale_and_put_aside(request_: Request, tmp_path: Path, rendered: Path) -> None:
    asked = replace(request_, downstream=["imagenet_knn"], data_root=[f"imagenet={rendered / 'imagenet'}"])
    grid = plan_grid(asked, act=True)
    stage = grid.stages[-1]
    used = {"pretrain": (OTHER,), "knn": (grid.code.current[stage.fingerprint].used,)}
    record = Record(
        pretrain=stage.recipe.name,
        pretrain_set="none",
        arch=stage.recipe.arch,
        task=stage.config.name,
        kind=stage.kind,
        dataset="imagenet",
        profile="smoke",
        seed=0,
        metrics={"top1_percent": 1.0},
        fingerprints=Fingerprints(stage=stage.fingerprint, recipe="1" * 12, protocol="2" * 12),
        data={},
        settings={"pretrain": recorded_settings(stage.recipe), "downstream": {}},
        code=used,
    )
    file = write_record(record, tmp_path / "res" / "records")
    plan = plan_grid(asked, act=False)
    assert plan.shown(stage) == "stale"
    assert plan.code.reasons(stage) == ("pretrain random_init-s0: code, of which it is not kept what it was",)
    assert stages_of_other_code([record]) == [("pretrain",)]
    grid = plan_grid(asked, act=True, stale="redo")
    assert grid.states[stage.fingerprint] == "to do"
    assert not file.is_file()
    (old,) = (file.parent / "replaced").iterdir()
    assert old.name == f"{file.stem}.replaced-ffffffff.json"


def test_code_that_changed_since_the_plan_does_not_start(request_: Request) -> None:
    grid = plan_grid(request_, act=True)
    _, folders = prepare(grid, "fail")
    folder = folders[grid.stages[0].fingerprint]
    stage = read_stage(folder)
    current = current_of(stage)
    check_planned(stage, current, grid.work_dir, keep=False)
    planned = stage.model_copy(update={"code": OTHER})
    with pytest.raises(
        BadInput, match=r"^The code of pretrain random_init-s0 changed since it was planned .*run again"
    ):
        check_planned(planned, current, grid.work_dir, keep=False)
    check_planned(planned, current, grid.work_dir, keep=True)
    check_planned(stage.model_copy(update={"code": None}), current, grid.work_dir, keep=False)  # of an older version


def test_a_stage_that_goes_on_says_both_codes(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    grid = plan_grid(request_, act=True)
    _, folders = prepare(grid, "fail")
    folder = folders[grid.stages[0].fingerprint]
    stage = read_stage(folder)
    current = current_of(stage)
    (folder / CODE).write_text(json.dumps({"sittings": [OTHER.model_dump()]}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"was begun or made by other code .*--stale keep .*--stale redo"):
        check_begun(folder, stage, current, keep=False)
    check_begun(folder, stage, current, keep=True)
    check_begun(folder, stage.model_copy(update={"code_kept": (OTHER.digest,)}), current, keep=False)
    assert begin(folder, stage, current, {}).sittings == (OTHER, current.used)
    assert begin(folder, stage, current, {}).sittings == (OTHER, current.used)
    assert f"({OTHER.digest} and {current.code.digest})" in capsys.readouterr().out


def test_what_an_older_version_began_has_unknown_code(tmp_path: Path) -> None:
    assert read_code(tmp_path) is None
    (tmp_path / "last.ckpt").touch()
    content = read_code(tmp_path)
    assert content is not None
    assert content.sittings == (UNKNOWN,)


def test_definitions_are_named_by_file() -> None:
    then = {"a.b:f": "1", "a.b:C": "2", "a.b:C.m": "3", "a.c:gone": "4", "a.c:moved": "5", "a.b:D": "6.1"}
    now = {"a.b:f": "9", "a.b:C": "8", "a.b:C.m": "7", "a.c:new": "0", "a.d:moved": "5", "a.b:D": "6.2"}
    assert changed(then, now) == ["a.b:C.m", "a.b:f", "a.c:gone", "a.c:new"]
    assert changed({"a:D": "6.1"}, {"a:D": "6.2"}) == ["a:D"]  # private names alone
    assert by_file(["bench.objectives:build"]) == ["bench/objectives/__init__.py (build)"]
    assert by_file(changed(then, now)) == ["a/b.py (C.m, f)", "a/c.py (gone, new)"]


def test_versions_of_what_one_side_alone_uses_are_not_compared() -> None:
    assert library_changes({"torch": "1", "numpy": "2"}, {"torch": "2", "scipy": "1"}) == ["torch 1 -> 2"]


def test_what_a_stage_consists_of_is_written_once(request_: Request) -> None:
    grid = plan_grid(request_, act=True)
    prepare(grid, "fail")
    current: Current = grid.code.current[grid.stages[0].fingerprint]
    file = grid.work_dir / "code" / f"{current.used.table}.json"
    assert json.loads(file.read_text(encoding="utf-8")) == dict(current.code.own)
    assert current.changes(current.used, grid.work_dir) == []
    file.write_text(json.dumps({**current.code.own, "bench.train.optim:set_rates": "0"}), encoding="utf-8")
    before = current.used.model_copy(update={"digest": "e" * 16})
    assert current.changes(before, grid.work_dir) == ["bench/train/optim.py (set_rates)"]
