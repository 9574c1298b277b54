from __future__ import annotations

import time
from pathlib import Path

import pytest
from stand_in import recipe, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.train.metrics_log import FILE, MetricsLog, drop_after, read_metrics


def board(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_the_same_goes_to_the_file_and_to_tensorboard(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        log.write(10, {"epoch": 0, "loss": 0.1})
        log.write(20, {"epoch": 1, "loss": 0.3})
        log.flush()
        assert read_metrics(tmp_path) == [
            {"step": 10, "epoch": 0, "loss": 0.1},
            {"step": 20, "epoch": 1, "loss": 0.3},
        ]  # while it is open
    events = board(tmp_path).Scalars("loss")
    assert [event.step for event in events] == [10, 20]
    assert [event.value for event in events] == pytest.approx([0.1, 0.3])


@pytest.mark.slow
def test_a_resumed_log_has_no_step_twice(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        for step in (10, 20, 30):
            log.write(step, {"loss": 1.0 * step})
    time.sleep(1.1)  # TensorBoard orders the files of one second by name, and there 10 comes before 9
    with MetricsLog(tmp_path, 20) as log:
        for step in (30, 40):
            log.write(step, {"loss": 2.0 * step})
    expected = [(10, 10.0), (20, 20.0), (30, 60.0), (40, 80.0)]
    assert [(line["step"], line["loss"]) for line in read_metrics(tmp_path)] == expected
    assert [(event.step, event.value) for event in board(tmp_path).Scalars("loss")] == expected


def test_a_half_written_line_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text('{"step": 1}\n{"step": 2}\n{"step": 3', encoding="utf-8")
    drop_after(file, 5)
    assert file.read_text() == '{"step": 1}\n{"step": 2}\n'
    file.write_text('{"step": 1}\n{"step": 2}', encoding="utf-8")  # whole but for its end: the next line would join it
    drop_after(file, 5)
    assert file.read_text() == '{"step": 1}\n'
    assert [f.name for f in tmp_path.iterdir()] == [FILE]


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0, active=False) as log:
        log.write(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_speed_and_waiting_are_logged(tmp_path: Path) -> None:
    train(tmp_path, recipe())
    for line in read_metrics(tmp_path):
        assert line["images_per_second"] > 0
        assert 0 <= line["data_wait_share"] <= 1
    assert "data_wait_share" in board(tmp_path).Tags()["scalars"]


def test_damaged_lines_are_dropped_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / FILE
    whole = [b'{"step": 1, "loss": 0.5}\n', b'{"step": 2, "loss": 0.4}\n', b'{"step": 4, "loss": 0.2}\n']
    damaged = (
        b'{"step": 3, "lo\xffs": 0.3}\n',
        b'{"step": 3, \n',
        b"[" * 5000 + b"\n",
        b'{"loss": 3}\n',
        b'{"step": "3"}\n',
        b"3\n",
    )
    for bad in damaged:
        file.write_bytes(whole[0] + bad + whole[1] + bad + whole[2])
        assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 4]
        drop_after(file, 3)
        assert file.read_bytes() == whole[0] + whole[1]
        assert capsys.readouterr().out == f"{file}: 2 damaged lines were dropped (line 2)\n"
        drop_after(file, 3)
        assert capsys.readouterr().out == ""
