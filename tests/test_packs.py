"""Packs in a plan: read where they change nothing, in the fingerprint where they do, off on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import Field

import bench.data.images as images
import bench.data.packs.manifest as manifests
import bench.execute.resolve as resolving
from bench.config.load import load_recipe, load_task
from bench.config.recipe import LATER, Profile, Recipe
from bench.config.tasks import KnnTask, LinearTask
from bench.data.packs.manifest import Form, PackUse, find_packs, training_pack
from bench.data.packs.writing import pack
from bench.data.sets import fingerprint, index
from bench.errors import BadInput
from bench.execute.grid import Grid, Request, plan_grid
from bench.execute.packs_in_use import Packs
from bench.execute.stage_file import read_stage, write_stage
from bench.plan import Planner, Stage
from bench.stages.features import features_of
from bench.stages.job import Job

pytestmark = pytest.mark.slow

JPEG, RAW = Form(short_side=64), Form(format="uint8", short_side=64, quality=None)


class FastRecipe(Recipe):
    """A recipe whose views may be made by other back ends than the reference."""

    view_backend: Literal["reference", "fast", "device"] = Field(default="reference", json_schema_extra=LATER)


def fast(monkeypatch: pytest.MonkeyPatch, backend: str = "fast") -> None:
    """Let every recipe of a plan have a view back end."""

    def load(name: str, profile: Profile = "full", *laid_over: Any) -> Recipe:
        return FastRecipe(**(load_recipe(name, profile, *laid_over).model_dump() | {"view_backend": backend}))

    monkeypatch.setattr(resolving, "load_recipe", load)


@pytest.fixture
def data(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rendered data, which tests must not write to; packs go to another folder."""
    monkeypatch.setenv(manifests.VARIABLE, str(tmp_path / "packs"))
    return rendered


def make(data: Path, dataset: str, form: Form, split: str = "train") -> Path:
    made, _ = pack(dataset, data / dataset, split, form, to=Path(manifests.places(data)[0]))
    return made.folder


def planned(data: Path, *assignments: str) -> Grid:
    return plan_grid(
        Request(
            pretrain=["coco"],
            downstream=["imagenet_knn", "imagenet_linear"],
            profile="smoke",
            data_root=[str(data)],
            assignments=assignments,
        ),
        act=False,
    )


def by_kind(grid: Grid) -> dict[str, Stage]:
    return {stage.kind: stage for stage in grid.stages}


def prints(grid: Grid) -> dict[str, str]:
    return {stage.kind: stage.fingerprint for stage in grid.stages}


# --------------------------------------------------------------------------------------------- training


def test_the_reference_reads_the_originals(data: Path) -> None:
    before = prints(planned(data))
    make(data, "coco", JPEG)
    make(data, "imagenet", JPEG)
    after = planned(data)
    assert prints(after) == before
    assert not any(stage.packs for stage in after.stages)


@pytest.mark.parametrize("backend", ["fast", "device"])
def test_other_back_ends_read_the_pack_and_the_plan_knows(
    data: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    fast(monkeypatch, backend)
    before = planned(data)
    folder = make(data, "coco", JPEG)
    after = planned(data)
    assert set(prints(before).values()).isdisjoint(prints(after).values())
    stage = by_kind(after)["pretrain"]
    (use,) = stage.packs
    assert (use.purpose, use.split, use.folder) == ("training", "train", str(folder))
    assert stage.data["coco"] == f"{fingerprint('coco', data / 'coco')}+{use.identity}"
    assert use.identity.startswith("jpeg-64-q90-")
    assert prints(planned(data, "pretrain.pack=off")) == prints(before)


def test_the_identity_is_that_of_the_pixels(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast(monkeypatch)
    identities = set()
    for form in (JPEG, Form(short_side=64, quality=80), Form(short_side=72), RAW):
        make(data, "coco", form)
        (use,) = by_kind(planned(data))["pretrain"].packs
        identities.add(use.identity)
    assert len(identities) == 3  # with quality 80 beside it, the one with 90 stays


def test_which_of_several_packs(data: Path) -> None:
    for form in (JPEG, Form(short_side=64, quality=80), Form(short_side=96), RAW):
        make(data, "coco", form)
    packs, refused = find_packs("coco", data / "coco", fingerprint("coco", data / "coco"))
    assert len(packs) == 4
    assert not refused

    def chosen(size: int) -> str | None:
        one = training_pack(packs, size)
        return None if one is None else one.manifest.form.words

    assert chosen(64) == "uint8, short side 64"
    assert chosen(65) == "jpeg, short side 96, q90"
    assert chosen(97) is None  # views would be larger than what they are cut from
    assert training_pack([one for one in packs if one.manifest.form.short_side == 64][:2], 64) is not None
    assert training_pack([], 64) is None


def test_plan_shows_it(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.cli import run

    fast(monkeypatch)
    make(data, "coco", JPEG)
    make(data, "imagenet", Form(format="uint8", short_side=72, quality=None), "val")
    folder = make(data, "imagenet", JPEG)
    (folder / "data-00000.bin").write_bytes(b"")
    words = ["plan", "--pretrain", "coco", "--downstream", "imagenet_knn", "--profile", "smoke"]
    assert run([*words, "--data-root", str(data), "--set", "resize=72"]) == 0
    told = capsys.readouterr().out
    assert "needs     data: coco (packed: jpeg, short side 64, q90)" in told
    assert "data: imagenet (evaluated from a pack: uint8, short side 72)" in told
    assert "note: Not used: " in told
    assert "0 bytes instead of" in told


# ------------------------------------------------------------------------------------------- evaluation


def resized(task: LinearTask | KnnTask) -> Form:
    return Form(format="uint8", short_side=task.resize, quality=None)


def test_evaluations_read_a_pack_that_gives_the_same_bits(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prints(planned(data))
    task = load_task("imagenet_knn", "smoke")
    assert isinstance(task, KnnTask)
    make(data, "imagenet", Form(short_side=task.resize), "val")  # not the same bits
    make(data, "imagenet", Form(format="uint8", short_side=task.resize + 1, quality=None), "val")
    assert not by_kind(planned(data))["knn"].packs
    folders = {make(data, "imagenet", resized(task), split) for split in ("train", "val")}
    after = planned(data)
    assert prints(after) == before
    for kind in ("knn", "linear"):
        uses = by_kind(after)[kind].packs
        assert {use.purpose for use in uses} == {"evaluation"}
        assert {Path(use.folder) for use in uses} == folders
    assert not by_kind(planned(data, "downstream.pack=off"))["knn"].packs
    assert prints(planned(data, "downstream.pack=off")) == before
    monkeypatch.setattr(manifests, "decoders", lambda: "pillow 99")  # which may decode otherwise
    assert not by_kind(planned(data))["knn"].packs


class Pixels:
    """A trunk whose features are the pixels."""

    device = torch.device("cpu")

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1)


def test_a_stage_evaluates_from_the_pack_that_was_planned(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_task("imagenet_knn", "smoke", {"workers": 0})
    assert isinstance(task, KnnTask)
    val = index("imagenet", data / "imagenet", "val")

    def features(packs: tuple[PackUse, ...]) -> torch.Tensor:
        job = Job(task, 0, tmp_path, data_roots={"imagenet": data / "imagenet"}, packs=packs)
        trunk: Any = Pixels()
        return torch.cat([features for features, _, _ in features_of(job, task, trunk, val, "queries")])

    folder = make(data, "imagenet", resized(task), "val")
    stage = by_kind(planned(data))["knn"]
    wanted = features(())

    def unread(_file: object) -> None:
        raise AssertionError("the originals are not wanted")

    monkeypatch.setattr(images, "read_rgb", unread)
    assert torch.equal(features(stage.packs), wanted)
    with pytest.raises(AssertionError, match="not wanted"):
        features(())
    # The folder now holds another pack than the one that was planned.
    content = json.loads((folder / manifests.MANIFEST).read_text())
    other = manifests.Manifest(**(content | {"unreadable": {0: "spoilt"}})).sealed()
    (folder / manifests.MANIFEST).write_text(other.model_dump_json())
    with pytest.raises(BadInput, match="was planned; plan again"):
        features(stage.packs)


# ------------------------------------------------------------------------------------------ stage files


def test_a_stage_file_holds_the_decision(data: Path, tmp_path: Path) -> None:
    make(data, "imagenet", Form(format="uint8", short_side=72, quality=None), "val")
    grid = planned(data, "resize=72")
    stage = by_kind(grid)["knn"]
    assert stage.packs
    folder = write_stage(stage, tmp_path, grid.roots, tmp_path, "fail")
    assert read_stage(folder).packs == stage.packs
    content = json.loads((folder / "stage.json").read_text())
    del content["packs"], content["checksum"]  # as it was written before there were packs
    (folder / "stage.json").write_text(json.dumps(content))
    assert read_stage(folder).packs == ()


def test_a_record_names_the_data_of_its_task_as_they_were_read(tmp_path: Path) -> None:
    """Pretraining from a pack of ImageNet must not make its evaluation on the originals another column."""
    use = PackUse(purpose="training", dataset="imagenet", split="train", folder="f", identity="jpeg-1", words="w")
    recipe = load_recipe("imagenet_0", "smoke")
    planner = Planner(lambda _: "abc", packs=lambda config: (use,) if isinstance(config, Recipe) else ())
    *_, stage = planner.grid([recipe], [load_task("imagenet_knn", "smoke")], [0])
    folder = write_stage(stage, tmp_path, {}, tmp_path, "fail")
    assert read_stage(folder).data == {"imagenet": "abc"}
    assert read_stage(folder).lineage_data == {"imagenet": "abc", "imagenet (upstream)": "abc+jpeg-1"}


def test_packs_are_looked_for_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("bench.execute.packs_in_use.find_packs", lambda name, *_: (calls.append(name), ([], []))[1])
    packs = Packs({"imagenet": str(data / "imagenet")}, {"imagenet": "0" * 16})
    for name in ("imagenet_knn", "imagenet_linear"):
        assert packs(load_task(name, "smoke")) == ()
    assert packs(load_recipe("coco", "smoke")) == ()  # its data were not found
    assert calls == ["imagenet"]
