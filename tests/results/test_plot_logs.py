"""The numbers of figures of logs: by hand, and nothing on one axis that does not belong there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_logs import CPU, content_of, log, some, sources

from bench.results.plots import PLOTS, Sources
from bench.results.plots.thinning import thinned

EARLIER = Path(__file__).parents[1] / "earlier_forms"


def test_each_term_of_each_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        lines = [{"step": 5 * n, "epoch": 0, "loss": 3.0 + seed - n, "loss1": 1.0 * n, "lr": 0.5} for n in (1, 2)]
        log(tmp_path, "two_loss", seed, lines)
    content = content_of("losses", sources(work=tmp_path))
    assert some(content, "step", "value", seed=0, term="loss") == [(5.0, 2.0), (10.0, 1.0)]
    assert some(content, "step", "value", seed=1, term="loss") == [(5.0, 3.0), (10.0, 2.0)]
    assert some(content, "step", "value", seed=1, term="loss1") == [(5.0, 1.0), (10.0, 2.0)]
    assert len(content.rows) == 8
    assert "band" not in content.caption
    assert some(content_of("learning-rate", sources(work=tmp_path)), "value") == [(0.5,)] * 4


def test_losses_of_two_pretrainings_have_axes_of_their_own(tmp_path: Path) -> None:
    for name in ("byol", "simclr"):
        log(tmp_path, name, 0, [{"step": 1, "loss": 1.0}])
    log(tmp_path, "byol", 0, [{"step": 1, "loss": 1.0}], dataset="coco")  # another recipe of the name
    panels = content_of("losses", sources(work=tmp_path)).panels
    assert len(panels) == 3
    assert len({panel.title for panel in panels}) == 3


def test_a_long_curve_keeps_its_mean_and_every_spike(tmp_path: Path) -> None:
    steps = np.arange(1, 100_001)
    values = np.sin(steps / 9_000) + 2
    values[76_543] = 50.0
    log(tmp_path, "long", 0, [{"step": int(s), "loss": float(v)} for s, v in zip(steps, values, strict=True)])
    content = content_of("losses", sources(work=tmp_path))
    rows = content.rows
    assert 100 < len(rows) <= 160
    assert max(row["high"] for row in rows) == 50.0
    parts = np.minimum(len(rows) - 1, (len(rows) * (steps - 1)) // 99_999)  # equal parts of the steps
    for part in (0, 57, int(parts[76_543]), len(rows) - 1):
        inside = values[parts == part]
        found = [rows[part][key] for key in ("value", "low", "high")]
        assert found == pytest.approx([inside.mean(), inside.min(), inside.max()])
        assert rows[part]["step"] == pytest.approx(steps[parts == part].mean())
    assert "the mean of up to 625 logged values;" in content.caption


def test_a_curve_that_is_short_is_left_as_it_is() -> None:
    points = [(1.0, 5.0), (7.0, 2.0), (8.0, 9.0)]
    thin = thinned(points, 3)
    assert (thin.x, thin.y, thin.low, thin.each) == ((1.0, 7.0, 8.0), (5.0, 2.0, 9.0), (5.0, 2.0, 9.0), 1)
    thin = thinned(points, 2)
    assert (thin.x, thin.y, thin.low, thin.high, thin.each) == ((1.0, 7.5), (5.0, 5.5), (5.0, 2.0), (5.0, 9.0), 2)
    assert thinned([(float(x), 0.0) for x in range(5)], 3).x == (0.5, 2.0, 3.5)  # thirds of the range from 0 to 4


def test_many_curves_have_few_points_each(tmp_path: Path) -> None:
    for seed in range(20):
        log(tmp_path, "byol", seed, [{"step": step, "loss": 1.0} for step in range(1, 301)])
    assert 600 < len(content_of("losses", sources(work=tmp_path)).rows) <= 750


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ('{"step": 3, "loss": 0.', " One damaged line is left out of the logs of byol seed 0."),
        ('{"step": 3, "loss": NaN}\n', " One value that is no finite number is left out of byol seed 0."),
        ('{"step": "3"}\n[1]\n', " 2 damaged lines are left out of the logs of byol seed 0."),
        ("\xff\n", " One damaged line is left out of the logs of byol seed 0."),
        ("", ""),
    ],
)
def test_damage_is_left_out_and_said(tmp_path: Path, end: str, words: str) -> None:
    log(tmp_path, "byol", 0, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], end=end)
    content = content_of("losses", sources(work=tmp_path))
    assert some(content, "step", "value") == [(1.0, 2.0), (2.0, 1.0)]
    assert content.caption.endswith(f"has axes of its own.{words}")


def test_a_folder_that_is_no_stage_is_passed_over(tmp_path: Path) -> None:
    log(tmp_path, "byol", 0, [{"step": 1, "loss": 2.0}])
    for name, text in (("half", '{"recipe": {"na'), ("other", "[]"), ("none", "{}")):
        (tmp_path / "pretrain" / name).mkdir()
        (tmp_path / "pretrain" / name / "stage.json").write_text(text)
    assert [run.name for run in sources(work=tmp_path).runs] == ["byol"]
    assert sources(work=tmp_path / "nowhere").runs == []


def test_speed_is_by_machine_and_waiting_in_percent(tmp_path: Path) -> None:
    other = {**CPU, "hardware": {**CPU["hardware"], "gpus": ["A GPU", "A GPU"]}}  # type: ignore[dict-item]
    lines = [{"step": 1, "images_per_second": 100.0, "data_wait_share": 0.25}]
    log(tmp_path, "byol", 0, lines)
    log(tmp_path, "simclr", 0, lines)
    log(tmp_path, "byol", 1, lines, machine=other)
    of = sources(work=tmp_path)
    panels = content_of("throughput", of).panels
    assert {panel.title: len(panel.curves) for panel in panels} == {
        "imagenet, resnet18, profile mini, A processor": 2,
        "imagenet, resnet18, profile mini, 2 × A GPU": 1,
    }
    assert some(content_of("data-wait", of), "value") == [(25.0,)] * 3


def test_diagnostics_over_time(tmp_path: Path) -> None:
    of_backbone = {"diagnostics/backbone/rankme": 7.0, "diagnostics/backbone/tolerance": 0.5}
    log(tmp_path, "byol", 0, [{"step": 4, **of_backbone, "diagnostics/projector/knn_percent": 30.0}])
    log(tmp_path, "byol", 1, [{"step": 4, "diagnostics/backbone/rankme": 8.0}])
    content = content_of("diagnostics", sources(work=tmp_path))
    keys = "output", "measure", "seed", "step", "value"
    assert some(content, *keys) == [
        ("backbone", "rankme", 0, 4.0, 7.0),
        ("backbone", "rankme", 1, 4.0, 8.0),
        ("projector", "knn_percent", 0, 4.0, 30.0),
    ]
    assert len(content.panels) == 2
    assert PLOTS["losses"].content(sources(work=tmp_path)) is None


def test_rows_of_one_name_and_two_recipes_are_told_apart(tmp_path: Path) -> None:
    log(tmp_path, "byol", 0, [{"step": 1, "loss": 2.0}])
    log(tmp_path, "byol", 0, [{"step": 1, "loss": 2.0}], arch="resnet50")
    of = sources(work=tmp_path)
    names = [run.label for run in of.runs]
    assert len(set(names)) == 2
    assert all(name.startswith("byol @") for name in names)
    assert [run.label for run in of.of_rows([names[0]]).runs] == [names[0]]
    assert len(of.of_rows(["byol"]).runs) == 2


@pytest.mark.parametrize("form", sorted(EARLIER.glob("*/work")), ids=lambda form: form.parent.name)
def test_logs_of_earlier_versions_are_read(form: Path) -> None:
    (run,) = Sources([], [form]).runs
    assert (run.name, run.seed, run.damaged) == ("coco", 0, 0)
    assert {"loss", "lr"} <= run.series.keys()


def test_values_too_large_for_a_sum_are_left_out_and_said(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": value} for step, value in enumerate((1.0, 1.7e308, -1e101, 2.0))]
    whole = f'{{"step": 5, "loss": {10**400}}}\n{{"step": {10**400}, "loss": 1.0}}\n'
    content = content_of("losses", sources(work=log(tmp_path, "wild", 0, lines, end=whole)))
    assert some(content, "step", "value") == [(0.0, 1.0), (3.0, 2.0)]
    assert "2 values that are no finite numbers are left out of wild seed 0." in content.caption
    assert "2 damaged lines are left out of the logs of wild seed 0." in content.caption
