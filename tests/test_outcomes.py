"""The file with what was said of each image: its form, and how it lies beside a record."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import outcomes
from bench.config.load import load_recipe, load_task
from bench.errors import BadInput, StageFailed
from bench.execute.stage_outputs import outcomes_file, restored_outcomes
from bench.execute.stale import _record_aside
from bench.files import sha256_of
from bench.outcomes import OUTCOMES, AreaOutcomes, Outcomes, TopOutcomes, disagreement, images_apart, names_digest, read
from bench.plan import Planner
from bench.record import OutcomesFile, Record, beside, read_all, read_file, write
from bench.results.outcomes import outcomes_of, why_not_paired

NAMES = names_digest(f"a/{n}.png" for n in range(11))
VALID = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1], bool)
TOP1 = np.array([1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1], bool)  # 5 of 10
TOP5 = TOP1 | (np.arange(11) % 2 == 1)  # 9 of 10: 2, 4 and 8 are even, of which 2 is right and 4 not valid


def tops() -> TopOutcomes:
    return TopOutcomes(NAMES, VALID, TOP1, TOP5)


def areas() -> AreaOutcomes:
    """Two images of three classes, the last of which never occurs."""
    intersection = np.array([[6, 1, 0], [2, 0, 0]])
    predicted = np.array([[7, 3, 0], [5, 0, 0]])
    true = np.array([[8, 2, 0], [2, 3, 0]])
    return AreaOutcomes(names_digest("ab"), np.ones(2, bool), ("road", "car", "train"), intersection, predicted, true)


def make(file: Path | None = None, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "pretrain": "coco",
        "pretrain_set": "coco",
        "arch": "resnet50",
        "task": "imagenet_knn",
        "kind": "knn",
        "dataset": "imagenet",
        "profile": "mini",
        "seed": 3,
        "metrics": tops().metrics(),
        "fingerprints": {"stage": "0123456789abcdef" * 4, "recipe": "a" * 64, "protocol": "b" * 12},
        "data": {"imagenet": "c" * 16},
        "settings": {"pretrain": {}, "downstream": {}},
        "outcomes": file and OutcomesFile(sha256=sha256_of(file), bytes=file.stat().st_size, images=11),
    }
    return Record(**(values | changes))


def kept(folder: Path) -> tuple[Record, Path, Path]:
    """A record with outcomes: itself, its file, and the file of its stage."""
    ours = folder / OUTCOMES
    outcomes.write(tops(), ours)
    record = make(ours)
    return record, write(record, folder / "records", ours), ours


# ------------------------------------------------------------------------------------------------ the form


def same(a: Outcomes, b: Outcomes) -> bool:
    pairs = zip(vars(a).values(), vars(b).values(), strict=True)
    return type(a) is type(b) and all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("made", [tops(), dataclasses.replace(tops(), top5=None), areas()])
def test_what_is_written_is_read_and_equal_outcomes_are_equal_bytes(made: Outcomes, tmp_path: Path) -> None:
    outcomes.write(made, tmp_path / "a.npz")
    outcomes.write(made, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = read(tmp_path / "a.npz")
    if isinstance(made, TopOutcomes):
        assert same(again, made)
    else:
        assert again.metrics() == made.metrics()
        assert images_apart(again, made) == 0


def test_metrics_of_the_set_by_hand(tmp_path: Path) -> None:
    assert tops().metrics() == {"top1_percent": 50.0, "top5_percent": 90.0}
    # I = 8, 1; P = 12, 3; L = 10, 5: IoU = 8/14, 1/7; recall 8/10, 1/5; the last class is in no mean.
    expected = {"aacc_percent": 60.0, "miou_percent": 50 * (8 / 14 + 1 / 7), "macc_percent": 50.0}
    assert areas().metrics() == pytest.approx(expected)
    skipping = dataclasses.replace(areas(), valid=np.array([True, False]))
    assert skipping.metrics()["aacc_percent"] == pytest.approx(70.0)


def test_plain_numpy_reads_the_file(tmp_path: Path) -> None:
    outcomes.write(tops(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert np.unpackbits(archive["top1"], count=11).tolist() == (TOP1 & VALID).astype(int).tolist()
        assert archive["images"].tolist() == [11]
        assert archive["names"].tobytes().hex() == NAMES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": np.array([2], np.uint8)}, "its format is 2, not 1"),
        ({"valid": None}, "it lacks valid"),
        ({"top1": np.zeros(3, np.uint8)}, r"top1 is uint8 of the shape \(3,\)"),
        ({"top1": np.zeros(2, np.int64)}, "top1 is int64"),
        ({"more": np.zeros(2, np.int64)}, "it holds more, too"),
        ({"images": np.array([-1])}, "it counts -1 images"),
        ({"names": np.array(["x", None], object)}, "allow_pickle=False"),
    ],
)
def test_another_form_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    outcomes.write(tops(), file)
    with np.load(file) as archive:
        arrays = {**archive} | change
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(BadInput, match=f"a.npz holds no outcomes of images that this version reads .*{said}"):
        read(file)


@pytest.mark.parametrize(("name", "said"), [("intersection", "larger than its areas"), ("true", "a negative count")])
def test_impossible_counts_are_refused(name: str, said: str, tmp_path: Path) -> None:
    count = 9 if name == "intersection" else -1
    changed = dataclasses.replace(areas(), **{name: np.array([[count, 0, 0], [0, 0, 0]])})
    outcomes.write(changed, tmp_path / "a.npz")
    with pytest.raises(BadInput, match=said):
        read(tmp_path / "a.npz")


def test_a_part_that_the_directory_lost_is_missed(tmp_path: Path) -> None:
    """One bit can make the directory pass over an entry, which no CRC covers."""
    file = tmp_path / "a.npz"
    outcomes.write(tops(), file)
    content = bytearray(file.read_bytes())
    place = content.rindex(b"top1.npy")  # in the directory; two bytes of its length of a comment end 14 before
    assert content[place - 14 : place - 12] == b"\0\0"
    content[place - 14] = 54  # as much as the next entry is long
    file.write_bytes(content)
    with pytest.raises(BadInput, match="it has a part that its directory lacks"):
        read(file)


@pytest.mark.parametrize("size", [0, 10, 400])
def test_half_a_file_is_refused(size: int, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    outcomes.write(tops(), file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(BadInput, match="holds no outcomes of images"):
        read(file)


def test_images_that_came_out_otherwise_are_counted() -> None:
    top1 = TOP1.copy()
    top1[[0, 4, 10]] ^= True  # 4 is not valid
    assert images_apart(tops(), dataclasses.replace(tops(), top1=top1)) == 2
    assert images_apart(tops(), dataclasses.replace(tops(), valid=np.ones(11, bool))) == 1
    true = areas().true + np.array([[0, 0, 0], [0, 0, 1]])
    assert images_apart(areas(), dataclasses.replace(areas(), true=true)) == 1
    assert images_apart(areas(), tops()) is None
    assert images_apart(areas(), dataclasses.replace(areas(), classes=("a", "b", "c"))) is None


# --------------------------------------------------------------------------------------- beside a record


def test_a_record_has_its_outcomes_beside_it(tmp_path: Path) -> None:
    record, file, ours = kept(tmp_path)
    assert {each.name for each in file.parent.iterdir()} == {record.file_name, record.outcomes_name}
    assert record.outcomes_name == "coco__imagenet_knn__s3__0123456789ab.outcomes.npz"
    assert read_all(file.parent) == [record]
    found = outcomes_of(record, file.parent)
    assert found is not None
    assert same(found, tops())
    beside(file).unlink()  # it is put there again, and the record stays
    before = file.read_bytes()
    write(record.model_copy(update={"weights": "w"}), file.parent, ours)
    assert beside(file).read_bytes() == ours.read_bytes()
    assert file.read_bytes() == before


def test_planning_puts_lost_outcomes_back_from_the_stage(tmp_path: Path) -> None:
    stages = Planner(lambda name: name).grid(
        [load_recipe("coco", "smoke", {})], [load_task("imagenet_knn", "smoke", {})], [3]
    )
    stage, records = stages[-1], tmp_path / "results" / "records"
    folder = tmp_path / stage.folder
    folder.mkdir(parents=True)
    outcomes.write(tops(), folder / OUTCOMES)
    prints = {"stage": stage.known_as, "recipe": "a" * 64, "protocol": "b" * 12}
    file = write(make(folder / OUTCOMES, fingerprints=prints), records, folder / OUTCOMES)
    assert file.name == stage.record_name
    states = {stage.fingerprint: "recorded"}
    assert restored_outcomes(stages, states, tmp_path, records) == []
    for spoil in (lambda: beside(file).unlink(), lambda: beside(file).write_bytes(b"half")):
        spoil()
        (note,) = restored_outcomes(stages, states, tmp_path, records)
        assert "was put back" in note
        assert beside(file).read_bytes() == (folder / OUTCOMES).read_bytes()
    beside(file).unlink()
    (folder / OUTCOMES).write_bytes(b"another run's")
    (note,) = restored_outcomes(stages, states, tmp_path, records)
    assert "cannot be compared image by image" in note
    assert not beside(file).exists()
    assert restored_outcomes(stages, {stage.fingerprint: "to do"}, tmp_path, records) == []


def test_older_records_stay_as_they_were(tmp_path: Path) -> None:
    record = make()
    file = write(record, tmp_path / "records", tmp_path / OUTCOMES)
    assert "outcomes" not in json.loads(file.read_text())
    assert list(file.parent.iterdir()) == [file]
    assert outcomes_of(read_file(file), file.parent) is None


def test_a_first_record_without_outcomes_gets_none_of_a_second(tmp_path: Path) -> None:
    file = write(make(), tmp_path / "records")
    outcomes.write(tops(), tmp_path / OUTCOMES)
    write(make(tmp_path / OUTCOMES), file.parent, tmp_path / OUTCOMES)
    assert list(file.parent.iterdir()) == [file]


def test_missing_damaged_and_edited_ones_are_named(tmp_path: Path) -> None:
    record, file, _ = kept(tmp_path)
    edited = record.model_copy(update={"metrics": {"top1_percent": 60.0, "top5_percent": 90.0}})
    with pytest.raises(BadInput, match=r"was edited: top1_percent is 60\.0, and 50.0 by its images; restore it"):
        outcomes_of(edited, file.parent)
    outcomes.write(dataclasses.replace(tops(), top5=None), beside(file))
    with pytest.raises(BadInput, match=r"outcomes.npz is not what was written with its record .* run its stage again"):
        outcomes_of(record, file.parent)
    beside(file).unlink()
    with pytest.raises(BadInput, match=r"outcomes.npz is missing, though its record names it; restore it"):
        outcomes_of(record, file.parent)


def test_a_record_that_is_put_aside_takes_its_outcomes_along(tmp_path: Path) -> None:
    _, file, _ = kept(tmp_path)
    _record_aside(file, "replaced-00000000")
    names = {each.name for each in (file.parent / "replaced").iterdir()}
    stem = f"{file.stem}.replaced-00000000"
    assert names == {f"{stem}.json", f"{stem}.outcomes.npz"}
    assert not beside(file).exists()
    assert read_all(file.parent) == []


def test_a_stage_whose_metrics_are_not_those_of_its_images_is_refused(tmp_path: Path) -> None:
    assert outcomes_file(tmp_path, {"top1_percent": 1.0}) is None  # a kind that keeps none
    outcomes.write(tops(), tmp_path / OUTCOMES)
    told = outcomes_file(tmp_path, {**tops().metrics(), "k": 3})
    assert told == make(tmp_path / OUTCOMES).outcomes
    with pytest.raises(StageFailed, match="does not give the metrics that its stage returned: top5_percent is 91, and"):
        outcomes_file(tmp_path, {"top1_percent": 50.0, "top5_percent": 91})
    assert disagreement(tops(), {"top1_percent": 50.0}) == "top5_percent is None, and 90.0 by its images"


def test_what_cannot_be_compared_image_by_image_is_said_before_files_are_read(tmp_path: Path) -> None:
    record, _, _ = kept(tmp_path)
    assert why_not_paired([record, record], "top1_percent") is None
    assert why_not_paired([record], "k") == "k is no mean or ratio over images"
    assert why_not_paired([record, make()], "top1_percent") == f"{record.file_name} has no outcomes of images"
    other = record.model_copy(update={"data": {"imagenet": "d" * 16}})
    assert why_not_paired([record, other], "top1_percent") == "their data of imagenet differ"
    prints = record.fingerprints.model_copy(update={"protocol": "c" * 12})
    other = record.model_copy(update={"fingerprints": prints})
    assert why_not_paired([record, other], "top1_percent") == "their protocols differ"
