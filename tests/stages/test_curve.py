"""The scores that a stage takes on its way."""

from __future__ import annotations

from pathlib import Path

from bench.stages.curve import FILE, Curve, points_of


def test_a_curve_goes_on_where_its_stage_does(tmp_path: Path) -> None:
    assert points_of(tmp_path) == []
    curve = Curve(tmp_path)
    curve.start(0)
    for step in (100, 200, 300):
        curve.add(step, {"miou_percent": step / 10})
    again = Curve(tmp_path)  # resumed after step 200: what was seen at 300 is of another process
    again.start(200)
    again.add(300, {"miou_percent": 31.0})
    again.add(300, {"miou_percent": 32.0})  # looked at twice
    wanted = [{"step": 100, "miou_percent": 10.0}, {"step": 200, "miou_percent": 20.0}]
    assert points_of(tmp_path) == again.points == [*wanted, {"step": 300, "miou_percent": 32.0}]


def test_one_process_writes_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    Curve(tmp_path, active=False).add(1, {"miou_percent": 1.0})
    assert not (tmp_path / FILE).exists()
    for content in ("{", '{"points": [3, {"miou_percent": 1.0}]}', "[]"):
        (tmp_path / FILE).write_text(content)
        assert points_of(tmp_path) == []
