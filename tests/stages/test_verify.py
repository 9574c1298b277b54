"""`bench verify`: stored weights give a record's number again, and what was changed since does not pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from safetensors import safe_open

from bench.checkout import Git
from bench.cli import run
from bench.config.load import load_recipe, load_task
from bench.config.tasks import DiagnosticsTask, KnnTask, LinearTask, SegmentationTask
from bench.convert.trunk import TRUNK, read_trunk
from bench.data.sets import fingerprint
from bench.errors import BadInput, StageFailed
from bench.execute import verify as module
from bench.execute.agreement import judged, points_of
from bench.execute.stage import run_stage
from bench.execute.stage_file import Done, finished, write_done, write_stage
from bench.execute.verify import verify
from bench.files import add_checksum, sha256_of, without_checksum
from bench.outcomes import OUTCOMES, TopOutcomes, read, write
from bench.plan import Planner
from bench.record import Record, read_all, read_file
from bench.stages import linear


@dataclass(frozen=True)
class Work:
    """A work folder with a trunk, and the results of tasks on it."""

    place: Path

    @property
    def runs(self) -> Path:
        return self.place / "runs"

    @property
    def trunk(self) -> Path:
        (folder,) = self.runs.glob("convert/*")
        return folder

    def record(self, task: str) -> Record:
        return next(record for record in read_all(self.place / "records") if record.task == task)

    def stage(self, task: str) -> Path:
        (folder,) = self.runs.glob(f"*/*--{task}-s0-*")
        return folder


TASKS = ("imagenet_knn", "imagenet_linear", "imagenet_linear_cached")


@pytest.fixture(scope="module")
def finished_work(tmp_path_factory: pytest.TempPathFactory, imagenet: Path, trunk_folder: Path) -> Work:
    """What kNN and two linear evaluations on one trunk leave, without its pretraining. Tests must not write to it."""
    place = tmp_path_factory.mktemp("verify")
    small = {"size": 32, "resize": 36, "batch_size": 8, "workers": 0}
    own = {"imagenet_knn": {"k": 3}, "imagenet_linear": {"epochs": 8, "learning_rates": (1.0,)}}
    tasks = [load_task(name, "smoke", small | own.get(name, {"epochs": 8})) for name in TASKS]
    recipe = load_recipe("random_init", "smoke", {"arch": "resnet18w16"})
    _, trunk, *measured = Planner(lambda name: fingerprint(name, imagenet)).grid([recipe], tasks, [0])
    write = lambda stage: write_stage(stage, place / "runs", {"imagenet": str(imagenet)}, place, "fail")  # noqa: E731
    folder = write(trunk)
    for file in trunk_folder.iterdir():
        shutil.copy(file, folder / file.name)
    about = {"trunk_hash": read_trunk(folder / TRUNK).hash}
    write_done(folder, Done(fingerprint=trunk.fingerprint, metrics=about, wall_seconds=1.0, finished="2026"))
    for stage in measured:
        run_stage(write(stage))
    return Work(place)


@pytest.fixture
def work(finished_work: Work, tmp_path: Path) -> Work:
    """A copy of it that a test may spoil."""
    shutil.copytree(finished_work.place, tmp_path / "work")
    return Work(tmp_path / "work")


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_number_stands_to_the_digit_and_nothing_is_written(work: Work, task: str) -> None:
    fingerprint("imagenet", Path(json.loads((work.stage(task) / "stage.json").read_text())["data_roots"]["imagenet"]),
                work.runs / "data.json")  # fmt: skip
    before = content_of(work.place)
    verdict = verify(work.record(task), work.runs)
    assert verdict.stands, verdict.lines
    assert verdict.exact
    assert f"  {'images':<24} as recorded, each" in verdict.lines
    assert verdict.lines[-1] == "The number stands to the digit."
    assert content_of(work.place) == before


def edit(file: Path, before: str, after: str) -> None:
    """Change a record as one does who knows of its checksum."""
    file.write_text(add_checksum(without_checksum(file.read_text()).replace(before, after)))


@pytest.mark.slow
def test_the_command_line_says_it_by_its_exit_code(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    name = work.record("imagenet_knn").file_name
    words = ["verify", name, "--work-dir", str(work.runs), "--results-dir", str(work.place)]
    assert run(words) == 0
    assert "stands to the digit" in capsys.readouterr().out
    file = work.place / "records" / name
    edit(file, '"top1_percent": ', '"top1_percent": 9')
    assert run(words) == 1
    printed = capsys.readouterr()
    assert "The record was edited: top1_percent is 9" in printed.out
    assert f"{name} does not stand" in printed.err
    assert run([*words[:3], str(work.place / "elsewhere"), *words[4:]]) == 2
    assert "is not there; give the --work-dir of the run" in capsys.readouterr().err


@pytest.mark.slow
def test_images_that_come_out_otherwise_are_counted(work: Work) -> None:
    """The stage's file is changed, and what the record says of it, but not the metrics."""
    file = work.stage("imagenet_knn") / OUTCOMES
    found = read(file)
    assert isinstance(found, TopOutcomes)
    found.top1[3] ^= True
    write(found, file)
    said = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    for copy in (file.with_name("record.json"), work.place / "records" / work.record("imagenet_knn").file_name):
        content = json.loads(without_checksum(copy.read_text()))
        content["outcomes"] |= said
        copy.write_text(add_checksum(json.dumps(content, indent=1)))
    verdict = verify(work.record("imagenet_knn"), work.runs)
    assert not verdict.stands
    assert verdict.lines[-1] == "The number does not stand image by image: 1 of 9 came out otherwise."
    file.unlink()
    assert verify(work.record("imagenet_knn"), work.runs).stands  # nothing to compare with


@pytest.mark.slow
def test_a_number_that_was_edited_everywhere_is_computed_again(work: Work) -> None:
    record, stage = work.record("imagenet_knn"), work.stage("imagenet_knn")
    top1 = record.metrics["top1_percent"]
    assert isinstance(top1, float)
    for file in (work.place / "records" / record.file_name, stage / "record.json"):
        text = file.read_text()
        assert f'"top1_percent": {top1}' in text
        edit(file, f'"top1_percent": {top1}', f'"top1_percent": {top1 + 1}')
    done = finished(stage)
    write_done(stage, done.model_copy(update={"metrics": done.metrics | {"top1_percent": top1 + 1}}))
    verdict = verify(work.record("imagenet_knn"), work.runs)
    assert not verdict.stands
    assert verdict.lines[-1].endswith("machine and libraries are those of then, and top1_percent came out otherwise.")


@pytest.mark.slow
def test_another_field_that_was_edited_is_named(work: Work) -> None:
    record = work.record("imagenet_knn")
    other = record.model_copy(update={"command": "bench run --pretrain better"})
    verdict = verify(other, work.runs)
    assert verdict.exact
    assert not verdict.stands
    assert verdict.lines[-1] == "The record was edited: command is not what the stage's own copy has."


@pytest.mark.slow
def test_a_bit_of_the_trunk_is_caught(work: Work) -> None:
    file = work.trunk / TRUNK
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(StageFailed, match=r"does not stand on these weights: Weights refused: .* of 120 tensors"):
        verify(work.record("imagenet_knn"), work.runs)


@pytest.mark.slow
def test_another_trunk_with_a_proof_of_its_own_is_caught(work: Work, new_trunk_folder: Callable[[int], Path]) -> None:
    for file in new_trunk_folder(5).iterdir():
        shutil.copy(file, work.trunk / file.name)
    with pytest.raises(StageFailed, match=r"holds another trunk than its conversion left, with a proof of its own"):
        verify(work.record("imagenet_knn"), work.runs)


def changed_heads(folder: Path, change: Callable[[dict[str, Any]], None], **about: str) -> None:
    """As by an older version, which kept no checksums, neither in the file nor of it."""
    file = folder / linear.HEADS
    write_done(folder, finished(folder).model_copy(update={"files": {}}))
    with safe_open(file, framework="pt") as opened:  # type: ignore[no-untyped-call]
        metadata = {key: value for key, value in opened.metadata().items() if "checksum" not in key}
    tensors = safetensors.torch.load_file(file)
    change(tensors)
    safetensors.torch.save_file(tensors, file, metadata=metadata | about)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS[1:])
def test_a_weight_of_a_classifier_that_changed_is_caught(work: Work, task: str) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors["weight"] *= -1  # the best class is the worst
        tensors["bias"] *= -1

    changed_heads(work.stage(task), change)
    verdict = verify(work.record(task), work.runs)
    assert not verdict.stands
    assert "top1_percent" in verdict.lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS[1:])
@pytest.mark.parametrize("about", [{"steps": "1"}, {"task": "{}"}, {"seed": "7"}])
def test_a_classifier_that_is_not_at_its_end_is_refused_and_not_trained(
    work: Work, task: str, about: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "_batches", lambda *_: pytest.fail("it trains"))
    changed_heads(work.stage(task), lambda tensors: None, **about)
    with pytest.raises(BadInput, match=r"heads.safetensors does not hold the heads of this stage after step \d+"):
        verify(work.record(task), work.runs)


@pytest.mark.slow
def test_weights_that_are_gone_or_damaged_are_named(work: Work) -> None:
    folder = work.stage("imagenet_linear_cached")
    file = folder / linear.HEADS
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(StageFailed, match=r"heads.safetensors was changed after its stage had ended"):
        verify(work.record("imagenet_linear_cached"), work.runs)
    write_done(folder, finished(folder).model_copy(update={"files": {}}))
    file.write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"heads.safetensors is missing or damaged; its stage must run again"):
        verify(work.record("imagenet_linear_cached"), work.runs)
    file.unlink()
    with pytest.raises(BadInput, match=r"no longer holds heads.safetensors, its trained weights; make the row anew"):
        verify(work.record("imagenet_linear_cached"), work.runs)
    shutil.rmtree(work.trunk)
    with pytest.raises(BadInput, match=r"holds no stage.json"):
        verify(work.record("imagenet_knn"), work.runs)


@pytest.mark.slow
def test_data_that_are_others_or_gone_are_named(work: Work, imagenet: Path, tmp_path: Path) -> None:
    other = tmp_path / "imagenet"
    shutil.copytree(imagenet, other)
    next(other.glob("val/*/*_0.JPEG")).unlink()
    with pytest.raises(BadInput, match=r"The data set imagenet in .* is another now, with the fingerprint"):
        verify(work.record("imagenet_knn"), work.runs, [f"imagenet={other}"])
    file = work.stage("imagenet_knn") / "stage.json"
    file.write_text(add_checksum(without_checksum(file.read_text()).replace(str(imagenet), str(tmp_path / "gone"))))
    with pytest.raises(BadInput, match=r"imagenet is no longer where it was; give --data-root imagenet=DIR"):
        verify(work.record("imagenet_knn"), work.runs)


@pytest.mark.slow
def test_other_code_is_named_and_that_of_a_plug_in_is_refused(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    record = work.record("imagenet_knn")
    ((part,),) = (made.parts for made in list(record.chain.values())[-1:])
    monkeypatch.setattr(module, "_evaluated", lambda *_: (record.metrics, part))
    other = record.model_copy(update={"git": Git(commit="a" * 40, dirty=True)})
    assert verify(other, work.runs).lines[1] == f"  code of then: aaaaaaaa with changes; of now: {part.git.words}"
    assert "code of then" not in "".join(verify(record, work.runs).lines)
    file = work.stage("imagenet_knn") / "stage.json"
    file.write_text(json.dumps(json.loads(without_checksum(file.read_text())) | {"sources": {"mine.py": "0" * 16}}))
    with pytest.raises(BadInput, match=r"mine.py changed since it was planned, so that other code would evaluate"):
        verify(record, work.runs)


@pytest.mark.slow
def test_a_kind_that_must_train_says_so(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnnTask, "evaluates_from", None)
    with pytest.raises(BadInput, match=r"Results of the kind knn cannot be evaluated without training: .*make the row"):
        verify(work.record("imagenet_knn"), work.runs)


@pytest.mark.slow
def test_another_machine_is_let_pass_within_tolerances_and_named(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an older record kept little of its own."""
    record = work.record("imagenet_knn")
    ((title, made),) = list(record.chain.items())[-1:]
    (part,) = made.parts
    elsewhere = part.model_copy(update={"versions": part.versions | {"torch": "2.14.0"}})
    chain = {**record.chain, title: made.model_copy(update={"parts": (elsewhere,)})}
    monkeypatch.setattr(module, "_edits", lambda *_: iter(()))
    for off, stands in ((0.0, True), (20.0, True), (30.0, False)):  # two of nine images are 22.2 points
        top1 = float(str(record.metrics["top1_percent"])) + off
        monkeypatch.setattr(module, "_evaluated", lambda *_, now=top1: (record.metrics | {"top1_percent": now}, part))
        for kept, words in (
            (chain, "Different here: torch "),
            ({}, "threads and kernels, which"),
        ):
            verdict = verify(record.model_copy(update={"chain": kept}), work.runs)
            assert (verdict.stands, verdict.exact) == (stands, off == 0.0), verdict.lines
            assert words in verdict.lines[-1]
        assert verify(record, work.runs).stands is (off == 0.0)  # on an equal machine


@pytest.mark.parametrize(
    ("recorded", "now", "stands"),
    [
        ({"miou_percent": 40.0}, {"miou_percent": 40.09}, True),
        ({"miou_percent": 40.0}, {"miou_percent": 40.11}, False),
        ({"miou_percent": 40.0}, {}, False),
        ({"miou_percent": 40.0}, {"miou_percent": 40.0, "macc_percent": 1.0}, False),
        ({"iou_percent": {"road": 40.0, "bus": None}}, {"iou_percent": {"road": 40.9, "bus": None}}, True),
        ({"iou_percent": {"road": 40.0, "bus": None}}, {"iou_percent": {"road": 41.1, "bus": None}}, False),
        ({"iou_percent": {"road": 40.0, "bus": None}}, {"iou_percent": {"road": 40.0, "bus": 0.0}}, False),
        ({"rankme": 200.0}, {"rankme": 201.9}, True),
        ({"rankme": 200.0}, {"rankme": 202.1}, False),
        ({"validation_images": 50_000}, {"validation_images": 49_999}, False),
        ({"trunk_compiled": 1}, {"trunk_compiled": 0}, True),
    ],
)
def test_tolerances(recorded: dict[str, Any], now: dict[str, Any], stands: bool) -> None:
    assert judged(recorded, recorded, []).exact
    assert judged(recorded, now, ["torch 2.16.0, not 2.15.0"]).stands is stands
    assert not judged(recorded, now, []).stands  # on an equal machine there is no tolerance


def test_two_images_of_a_small_set_may_be_classified_otherwise() -> None:
    assert points_of({"validation_images": 100}) == 2.0
    assert points_of({"images": 50_000}) == points_of({}) == 0.1


def test_a_kind_with_a_run_of_its_own_says_itself_what_it_keeps() -> None:
    class Near(KnnTask):
        k: int = 5

    class Trains(KnnTask):
        run = "run"

    class Keeps(Trains):
        evaluates_from = ("weights.pt",)

    kinds = (KnnTask, DiagnosticsTask, LinearTask, SegmentationTask, Near, Trains, Keeps)
    stored = [kind.stored() for kind in kinds]
    assert stored == [(), (), ("heads.safetensors",), ("last.ckpt",), (), None, ("weights.pt",)]


@pytest.mark.slow
def test_the_record_keeps_the_chain_that_is_known(finished_work: Work) -> None:
    record = finished_work.record("imagenet_knn")
    assert list(record.chain) == ["convert random_init-s0", "knn random_init--imagenet_knn-s0"]
    assert not record.chain["convert random_init-s0"].parts  # whose done.json is of an older form here
    (part,) = record.chain["knn random_init--imagenet_knn-s0"].parts
    assert part.precision == record.precision["knn"]
    assert read_file(finished_work.stage("imagenet_knn") / "record.json") == record
