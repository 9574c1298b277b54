"""The numbers of figures of records: by hand, and nothing on one axis that does not belong there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from example_logs import at_epoch, content_of, diagnostics, some, sources
from example_records import linear, make, pspnet
from scipy.stats import t as student

from bench.config.studies import reference_folder
from bench.results.plots import PLOTS, Sources


def test_intervals_of_means() -> None:
    several = [linear("coco", seed, value) for seed, value in enumerate((60.0, 63.0, 61.5))]
    weights = [linear("byol", 0, value, task_seed=seed) for seed, value in enumerate((50.0, 54.0))]
    weights = [
        record.model_copy(update={"fingerprints": record.fingerprints.model_copy(update={"stage": f"{n:064x}"})})
        for n, record in enumerate(weights)
    ]
    same = [linear("vicreg", seed, 55.0) for seed in range(2)]
    rows = content_of("transfer", sources(*several, *weights, *same, linear("random_init", 0, 20.0))).rows
    found = {row["pretrain"]: row for row in rows}
    low, high = student.interval(0.95, 2, loc=61.5, scale=1.5 / 3**0.5)
    assert [found["coco"][key] for key in ("mean", "low", "high")] == pytest.approx([61.5, low, high])
    assert (found["coco"]["trunks"], found["coco"]["about"]) == (3, "methods")
    low, high = student.interval(0.95, 1, loc=52.0, scale=8**0.5 / 2**0.5)
    assert [found["byol"][key] for key in ("mean", "low", "high")] == pytest.approx([52.0, low, high])
    assert (found["byol"]["trunks"], found["byol"]["values"], found["byol"]["about"]) == (1, 2, "weights")
    for name in ("random_init", "vicreg"):  # nothing is known of a spread
        assert (found[name]["low"], found[name]["high"]) == (None, None)


def test_what_was_measured_again_counts_once() -> None:
    first, again = linear("coco", 0, 60.0), linear("coco", 0, 62.0, created="2025-02-01T00:00:00+00:00")
    again = again.model_copy(update={"fingerprints": again.fingerprints.model_copy(update={"stage": "e" * 64})})
    assert some(content_of("transfer", sources(first, again)), "mean", "values") == [(62.0, 1)]


def test_ways_to_measure_and_networks_never_share_an_axis() -> None:
    records = [
        linear("coco", 0, 60.0),
        linear("coco", 0, 50.0, protocol="q"),
        linear("coco", 0, 40.0, data={"imagenet": "e" * 16}),
        linear("coco", 0, 30.0, recipe="r18", arch="resnet18"),
        linear("coco", 0, 20.0, profile="full"),
        linear("coco", 0, 10.0, task="imagenet_knn", kind="knn"),
        diagnostics("coco", 0),
    ]
    groups = content_of("transfer", sources(*records)).groups
    columns = [column for group in groups for column in group]
    assert len(columns) == 6  # no score in diagnostics
    assert all(len(column.means) == 1 for column in columns)
    heads = [(column.title, column.facet.network) for column in columns]
    assert len(set(heads)) == 6
    assert sum("protocol" in title and "data" in title for title, _ in heads) == 3


def test_columns_side_by_side_have_mostly_the_same_rows() -> None:
    from bench.results.plots.transfer import lines_of, names_in_order

    records = [linear(name, 0, value) for name, value in (("a", 1.0), ("b", 3.0), ("c", 2.0))]
    records += [linear(name, 0, 5.0, task="imagenet_knn", kind="knn") for name in "ab"]
    records += [linear(name, 0, 5.0, task="other") for name in "axy"]
    ((*columns,),) = content_of("transfer", sources(*records)).groups
    lines = lines_of(columns, 3)
    assert [[column.title for column in line] for line in lines] == [["imagenet_knn", "imagenet_linear"], ["other"]]
    assert names_in_order(lines[0]) == ["a", "b", "c"]
    assert names_in_order(list(reversed(lines[0]))) == ["b", "c", "a"]


def test_trade_off_joins_rows_of_one_network_alone() -> None:
    records = [linear("coco", seed, 60.0 + 2 * seed) for seed in range(2)]
    records += [pspnet("coco", seed, 40.0 + seed) for seed in range(2)]
    records += [linear("byol", 0, 50.0), pspnet("byol", 0, 45.0), linear("lonely", 0, 1.0)]
    records += [pspnet("byol", 0, 99.0, protocol="q"), pspnet("byol", 0, 98.0, arch="resnet18", recipe="r")]
    records += [pspnet("coco", 0, 98.0, arch="resnet18", recipe="r")]
    content = content_of("trade-off", sources(*records))
    keys = "pretrain", "classification", "segmentation", "published"
    assert some(content, *keys) == [("byol", 50.0, 45.0, False), ("coco", 61.0, 40.5, False)]
    assert len(content.planes) == 1
    assert "published" not in content.caption


def test_published_rows_have_planes_of_their_own(tmp_path: Path) -> None:
    records = [linear(name, 0, 60.0, profile="full") for name in ("coco", "byol")]
    records += [pspnet(name, 0, 40.0, profile="full") for name in ("coco", "byol")]
    content = content_of("trade-off", sources(*records, results=tmp_path))
    assert [{row["published"] for row in some_rows} for some_rows in _by_plane(content)] == [{False}, {True}, {True}]
    deck = reference_folder(tmp_path) / "deck_transfer.csv"
    coco = next(line for line in deck.read_text().splitlines() if line.startswith("coco,coco,")).split(",")
    (found,) = some(content, "classification", "segmentation", published=True, pretrain="coco")
    assert found == pytest.approx((100 * float(coco[6]), float(coco[4])))
    assert "do not compare with measured ones" in content.caption
    assert PLOTS["trade-off"].content(sources(linear("coco", 0, 1.0, task="other", profile="full"))) is None


def _by_plane(content: Any) -> list[list[dict[str, Any]]]:
    rows, parts = iter(content.rows), []
    for plane in content.planes:
        parts.append([next(rows) for _ in plane.points])
    return parts


def test_alignment_and_uniformity_of_rows() -> None:
    records = [
        diagnostics("coco", 0, backbone_alignment=0.2, projector_alignment=1.0, projector_uniformity=-3.0),
        diagnostics("coco", 1, backbone_alignment=0.4),
        diagnostics("byol", 0),
    ]
    content = content_of("alignment-uniformity", sources(*records))
    keys = "output", "pretrain", "alignment", "uniformity", "alignment trunks"
    assert some(content, *keys) == [
        ("backbone", "byol", 0.5, -1.0, 1),
        ("backbone", "coco", pytest.approx(0.3), -1.0, 2),
        ("projector", "coco", 1.0, -3.0, 1),
    ]


def test_spectra_are_powers_of_ten_of_what_records_have() -> None:
    spectrum = {"1": -1.0, "2": -2.5, "16": -4.0, "4": -3.0, "32": None}
    content = content_of("spectra", sources(diagnostics("coco", 0, backbone_log10_spectrum=spectrum)))
    wanted = [(1.0, 0.1), (2.0, 10**-2.5), (4.0, 1e-3), (16.0, 1e-4)]
    for found, pair in zip(some(content, "rank", "singular_value"), wanted, strict=True):
        assert found == pytest.approx(pair)


def test_epochs_are_joined_by_the_run_that_trained_them() -> None:
    records = [at_epoch("coco", seed, 60.0 + seed, 8, "coco") for seed in range(2)]
    records += [at_epoch("coco_2", seed, 30.0 + seed, 8, "coco", of=2) for seed in range(2)]
    records += [
        at_epoch("coco_4", 0, 50.0, 8, "coco", of=4),
        at_epoch("coco_6", 0, 55.0, 8, "coco", of=6, protocol="q"),
    ]
    records += [at_epoch("other_2", 0, 10.0, 8, "elsewhere", of=2)]  # whose run was measured at no other epoch
    # Of the same run, but its other network, or with norms that were measured anew.
    records += [at_epoch("coco_target", 0, 99.0, 8, "coco", pretraining={"export": "target"})]
    records += [at_epoch("coco_norms", 0, 98.0, 8, "coco", of=4, pretraining={"norm_statistics": "data"})]
    content = content_of("transfer-over-epochs", sources(*records))
    assert some(content, "pretrain", "epochs", "mean") == [
        ("coco", 2.0, 30.5),
        ("coco", 4.0, 50.0),
        ("coco", 8.0, 60.5),
    ]
    low, high = student.interval(0.95, 1, loc=60.5, scale=0.5)
    assert some(content, "low", "high", epochs=8.0) == [(pytest.approx(low), pytest.approx(high))]
    assert PLOTS["transfer-over-epochs"].content(sources(*records[:2])) is None


def test_iou_is_the_mean_of_the_trunks_means() -> None:
    def record(seed: int, task_seed: int, road: float, bus: float | None) -> Any:
        metrics = {"miou_percent": road, "iou_percent": {"road": road, "bus": bus, "sky": None}}
        made = make("coco", "cityscapes_pspnet", seed, metrics=metrics, task_seed=task_seed)
        stage = f"{100 + 10 * seed + task_seed:064x}"
        return made.model_copy(update={"fingerprints": made.fingerprints.model_copy(update={"stage": stage})})

    records = [record(0, 0, 10.0, None), record(0, 1, 30.0, None), record(1, 0, 60.0, 8.0), record(2, 0, 40.0, 0.0)]
    content = content_of("class-iou", sources(*records, pspnet("best", 0, 99.0)))
    assert some(content, "pretrain", "class", "iou_percent", "values") == [
        ("best", "road", 1.0, 1),
        ("best", "bus", None, 0),
        ("coco", "road", 40.0, 4),
        ("coco", "bus", 4.0, 2),
    ]
    assert "left out of it: sky." in content.caption
    assert "Hatched" in content.caption
    assert "Hatched" not in content_of("class-iou", sources(*records)).caption


def test_scores_on_the_way() -> None:
    curve = ({"step": 200.0, "miou_percent": 9.0}, {"step": 100.0, "miou_percent": 5.0, "aacc_percent": 1.0})
    content = content_of("scores", sources(pspnet("coco", 3, 9.0, curve=curve), pspnet("byol", 0, 8.0)))
    assert some(content, "pretrain", "seed", "step", "value") == [("coco", 3, 100.0, 5.0), ("coco", 3, 200.0, 9.0)]


def test_without_data_there_is_no_figure_and_what_is_lacking_is_said() -> None:
    for plot in PLOTS.values():
        assert plot.content(Sources([], [])) is None
        assert plot.needs.endswith(".")
        assert ";" in plot.needs
