"""The page of the positive control is what records give: which belong to it, what it says of them, its pictures."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from example_records import make

from bench.config.studies import reference_folder, studies_of
from bench.record import Record, write

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import pictures  # noqa: E402
import positive_control as page  # noqa: E402

STUDIES = studies_of(reference_folder(ROOT / "results"))
SMALL = {"random_init": 30.0, "control_supervised": 70.0, "control_simclr": 55.0, "control_byol": 50.0}
SMALL |= {"control_swav": 45.0, "control_rotation": 42.0, "control_vae": 31.0}


def small(values: dict[str, float], seeds: int = 3, **changes: Any) -> list[Record]:
    """kNN records of the study on small images, a point apart from seed to seed."""
    return [
        make(
            name,
            "cifar10_knn",
            seed,
            dataset="cifar10",
            pretrain_set="none" if name == "random_init" else "cifar10",
            arch="resnet18w16",
            profile="full",
            metrics={"top1_percent": value + 0.5 * (seed - 1), "k": 200},
            settings={
                "pretrain": {
                    "objective": {"name": name.removeprefix("control_")},
                    **{"arch": "resnet18w16", "stem": "stl", "epochs": 0 if name.startswith("random") else 6},
                    **changes,
                },
                "downstream": {"size": 32},
            },
            wall_seconds={"pretrain": 100.0, "convert": 5.0, "knn": 50.0},
        )
        for name, value in values.items()
        for seed in range(seeds)
    ]


def photograph(name: str, seed: int, miou: float, **changes: Any) -> Record:
    """A record of the study on photographs, with the settings that this gives."""
    downstream = {"iterations": 600, "batch_size": 4, "crop": [160, 160], "scale": [320, 240], "lr": 0.02}
    downstream |= {"validate_every": 100, "channels_last": True}
    upstream: dict[str, Any] = {"arch": "resnet18", "epochs": 0, "objective": {"name": "random_init"}}
    if name == "imagenet_supervised":
        upstream = {"arch": "resnet18", "view_size": 96, "view_backend": "fast", "epochs": 15, "batch_size": 64}
        upstream |= {"schedule": {"warmup_epochs": 1, "name": "step"}, "objective": {"name": "supervised"}}
    curve = tuple({"step": step, "miou_percent": miou * step / 600} for step in (100, 300, 600))
    return make(
        name,
        "cityscapes_pspnet",
        seed,
        arch="resnet18",
        profile="full",
        pretrain_set="none" if name == "random_init" else "imagenet",
        metrics={"aacc_percent": 60.0, "miou_percent": miou, "macc_percent": 30.0},
        settings={"pretrain": upstream, "downstream": downstream | changes},
        curve=curve,
    )


def source(records: list[Record], notes: str = "") -> page.Source:
    return page.Source(records, STUDIES, "## Peers\n\nNone.", notes)


def test_without_records_it_says_so() -> None:
    text = page.files_of(source([]))
    assert list(text) == ["positive_control.md"]
    for study in ("positive-control", "positive-control-photographs", "positive-control-resnet50"):
        assert f"Not recorded yet: `bench reproduce {study}`." in text["positive_control.md"]
        assert study in STUDIES
    assert "## Hours" not in text["positive_control.md"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"control_supervised": 50.0, "control_simclr": 40.0}, "supervised (50.00) lies above SimCLR (40.00, p = "),
        ({"control_supervised": 50.0, "control_simclr": 50.2}, "(50.00) is not told to lie above SimCLR (50.20, p = "),
        (
            {"control_supervised": 50.0, "control_simclr": 50.2, "control_byol": 40.0},
            "(50.00) is not told to lie above SimCLR of the 2 trained without labels (the highest is SimCLR with 50.20",
        ),
    ],
    ids=["above the only one", "not above the only one", "not above one of two"],
)
def test_whether_supervised_lies_above_the_others_is_said(values: dict[str, float], said: str) -> None:
    text = page.files_of(source(small(values | {"random_init": 30.0})))["positive_control.md"]
    assert said in text


def test_what_moved_is_said_from_the_tables_verdicts() -> None:
    files = page.files_of(source(small(SMALL)))
    text = files["positive_control.md"]
    highest = "(the highest is SimCLR with 55.00; "
    assert f"kNN: supervised (70.00) lies above each of the 5 trained without labels {highest}" in text
    told = re.search(
        r"kNN: (\d) of 6 trained rows are told to lie above random weights \(30.00\); not told: (.*)\.", text
    )
    assert told is not None
    assert told[1] == "5"
    assert told[2].startswith("VAE (+1.00, p = 0.07")
    best = "at least 8 points over random weights at p < 0.01: SimCLR +25.00 (p = "
    assert f"kNN: the best 4 without labels are all {best}" in text
    assert "![kNN of each row](positive_control/knn.svg)" in text


def test_what_is_not_told_apart_stays_in() -> None:
    text = page.files_of(source(small(SMALL | {"control_supervised": 55.2})))["positive_control.md"]
    assert "supervised (55.20) is not told to lie above SimCLR of the 5 trained without labels" in text
    text = page.files_of(source(small(SMALL | {"control_simclr": 37.0, "control_byol": 36.0})))["positive_control.md"]
    assert "kNN: the best 4 without labels are not all at least 8 points over random weights" in text
    alone = page.files_of(source(small(SMALL, seeds=1)))["positive_control.md"]
    assert "kNN: 0 of 6 trained rows are told to lie above random weights" in alone
    assert "(+25.00, no test with one value)" in alone


def test_random_weights_with_measured_norms_are_a_second_control() -> None:
    norms = small({"random_init_norms": 36.0}, norm_statistics="data", objective={"name": "random_init"})
    text = page.files_of(source([*small(SMALL), *norms]))["positive_control.md"]
    assert "random weights have 30.00, and with norm statistics of images 36.00 (higher, p = " in text
    assert "not told to lie above the latter: VAE." in text
    other = [record.model_copy(update={"arch": "resnet50"}) for record in norms]  # of no network of the study
    assert "36.00" not in page.files_of(source([*small(SMALL), *other]))["positive_control.md"]


def test_records_belong_to_a_study_by_their_settings() -> None:
    study = STUDIES["positive-control-photographs"]
    names = ("random_init", "imagenet_supervised")
    records = [photograph(name, seed, 20.0 + seed) for name in names for seed in (0, 1)]
    strange = [
        photograph("random_init", 2, 90.0, iterations=601),
        photograph("random_init", 3, 90.0).model_copy(update={"profile": "mini"}),
        photograph("imagenet_supervised", 4, 90.0).model_copy(update={"pretrain": "coco"}),
    ]
    assert page.records_of(source([*records, *strange]), "positive-control-photographs") == records
    assert study.parts[0].pretrain == ("random_init",)


def test_curves_and_the_numbers_at_their_end() -> None:
    values = {"random_init": (20.0, 20.5, 21.0), "imagenet_supervised": (30.0, 30.5, 31.0)}
    records = [photograph(name, seed, miou) for name, row in values.items() for seed, miou in enumerate(row)]
    files = page.files_of(source(records))
    text, picture = files["positive_control.md"], files["positive_control/photographs_curves.svg"]
    assert "mIoU: 1 of 1 trained rows are told to lie above random weights (20.50)." in text
    root = ElementTree.fromstring(picture)
    lines = [line for line in root.iter() if line.tag.endswith("polyline")]
    assert len(lines) == 2 * (3 + 1)  # each run, and their mean
    assert {line.text for line in root.iter() if line.text} >= {"random_init", "imagenet_supervised"}
    bare = [record.model_copy(update={"curve": ()}) for record in records]
    assert "No record of these has a curve" in page.files_of(source(bare))["positive_control.md"]


def test_a_pretraining_counts_once_in_the_hours() -> None:
    knn = small({"control_simclr": 55.0}, seeds=2)
    linear = [
        record.model_copy(
            update={
                "task": "cifar10_linear_adam",
                "kind": "linear",
                "wall_seconds": record.wall_seconds | {"linear": 30.0},
            }
        )
        for record in knn
    ]
    text = page.files_of(source([*knn, *linear]))["positive_control.md"]
    assert "| `positive-control` | 2 | 4 min | 4 | 3 min |" in text  # 2 × 105 s; 2 × 50 + 2 × 30 s


def test_notes_by_hand_are_in_the_page() -> None:
    assert "## Tried\n\nIn vain." in page.files_of(source([], "## Tried\n\nIn vain."))["positive_control.md"]


def test_the_page_is_checked_with_its_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in small(SMALL):
        write(record, tmp_path / "results" / "records")
    words = ["--page", str(tmp_path / "docs" / "positive_control.md"), "--results", str(tmp_path / "results")]
    assert page.main([*words, "--check"]) == 1
    assert page.main(words) == 0
    assert page.main([*words, "--check"]) == 0
    picture = tmp_path / "docs" / "positive_control" / "knn.svg"
    whole = picture.read_text()
    picture.write_text(whole.replace("55", "56", 1))
    (picture.parent / "older.svg").write_text("")
    capsys.readouterr()
    assert page.main([*words, "--check"]) == 1
    said = capsys.readouterr().err
    assert "knn.svg differs" in said
    assert "older.svg differs" in said
    assert page.main(words) == 0
    assert [file.name for file in picture.parent.iterdir()] == [picture.name]
    assert picture.read_text() == whole


def test_the_committed_page_is_what_the_records_give() -> None:
    assert page.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("low", "high", "first", "last"), [(0, 600, 0, 600), (31.2, 70.5, 30, 75), (0, 0.07, 0, 0.08), (5, 5, 5, 6)]
)
def test_axes_have_round_numbers(low: float, high: float, first: float, last: float) -> None:
    ticks = pictures.ticks_of(low, high)
    assert (ticks[0], ticks[-1]) == (first, last)
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    assert len(steps) == 1
    assert 2 <= len(ticks) <= 10
    assert ticks[0] <= low
    assert ticks[-1] >= high


def test_a_mean_curve_is_over_the_steps_that_all_have() -> None:
    assert pictures.mean_of([[(1, 2.0), (2, 4.0)], [(2, 6.0), (3, 9.0)]]) == [(2, 5.0)]


def test_names_are_escaped_in_pictures() -> None:
    drawn = pictures.dots({"a<b & c": [1.0, 2.0]}, "x < y")
    texts = [line.text for line in ElementTree.fromstring(drawn).iter() if line.text and line.text.strip()]
    assert "a<b & c" in texts
    assert "x < y" in texts


def test_p_against_random_weights_is_corrected_for_the_number_of_rows() -> None:
    # One row at p = 0.042 by itself, beside three that are as random weights are.
    values = {"random_init": 30.0, "control_vae": 31.2} | {f"control_{name}": 30.0 for name in ("byol", "swav", "moco")}
    found = page.section_of(small(values), "positive_control")
    assert found is not None
    cells = page.cells_of(found, 0)
    base = next(cell for row, cell in cells if row.name == "random_init")
    others = [pair for pair in cells if pair[0].name != "random_init"]
    (line, *_) = page.against_random("kNN", base, others)
    assert line.startswith("kNN: 0 of 4 trained rows are told to lie above random weights (30.00)")
    assert "VAE (+1.20, p = 0.17)" in line
    (alone, *_) = page.against_random("kNN", base, [pair for pair in others if pair[0].name == "control_vae"])
    assert alone.startswith("kNN: 1 of 1 trained rows")
