"""What a stage left is what the next one reads: checksums in `done.json`, and `done.json`'s own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BadInput
from bench.execute.grid import Request, plan_grid
from bench.execute.stage import run_stage
from bench.execute.stage_file import DONE, Done, finished, read_done, read_stage, write_done, write_stage
from bench.execute.stage_outputs import check_parent, sums_of
from bench.files import checked, sha256_of


@pytest.fixture
def chain(tmp_path: Path) -> list[Path]:
    """The folders of a pretraining that only writes its weights, which is done, and of its conversion."""
    request = Request(pretrain=["random_init"], profile="smoke", work_dir=tmp_path, assignments=["arch=resnet18"])
    stages = plan_grid(request, act=False).stages
    folders = [write_stage(stage, tmp_path, {}, tmp_path, "fail") for stage in stages]
    run_stage(folders[0])
    return folders


def spoil(file: Path, place: float = 0.5) -> None:
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 1
    file.write_bytes(data)


def test_a_stage_lists_what_it_left(chain: list[Path]) -> None:
    folder = chain[0]
    assert finished(folder).files == {"last.ckpt": sha256_of(folder / "last.ckpt")}
    (folder / "previous.ckpt").write_bytes(b"")
    (folder / "epoch_0001.ckpt").write_bytes(b"kept")
    assert sums_of(folder, ["last.ckpt"]).keys() == {"last.ckpt", "epoch_0001.ckpt"}


def test_the_next_stage_refuses_what_was_changed_since(chain: list[Path]) -> None:
    before, after = chain
    spoil(before / "last.ckpt")
    with pytest.raises(BadInput) as caught:
        run_stage(after)
    assert str(caught.value) == (
        f"{before / 'last.ckpt'} was changed after it was written (its sha256 is not that in done.json); remove "
        f"{before}, then bench run: it is made anew."
    )
    (before / "previous.ckpt").write_bytes(b"")
    with pytest.raises(
        BadInput, match=rf"remove {before / DONE}, then bench run: training goes on from the checkpoint"
    ):
        run_stage(after)


def test_another_whole_checkpoint_in_its_place_is_refused(chain: list[Path]) -> None:
    from bench.train.checkpoint import read, write

    file = chain[0] / "last.ckpt"
    content = read(file)
    content["objective"]["encoder.conv1.weight"] *= 2
    write(file, content)
    with pytest.raises(BadInput, match=r"its sha256 is not that in done\.json"):
        check_parent(read_stage(chain[1]), "pretrain", chain[0])


def test_a_stage_of_an_older_version_listed_nothing_and_is_read(chain: list[Path]) -> None:
    done = finished(chain[0])
    (chain[0] / DONE).write_text(done.model_dump_json(exclude={"files"}, indent=1) + "\n", encoding="utf-8")
    spoil(chain[0] / "last.ckpt", 0.01)
    check_parent(read_stage(chain[1]), "pretrain", chain[0])
    assert finished(chain[0]).files == {}


def test_no_flipped_bit_of_done_json_is_believed(chain: list[Path]) -> None:
    folder = chain[0]
    stage, whole = read_stage(folder), (folder / DONE).read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 500).tolist():
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        (folder / DONE).write_bytes(data)
        done = read_done(folder, stage.fingerprint, stage.stage_kind.outputs)
        # A letter of the checksum's own name alone can change: then what it was of is as it was.
        assert done is None or (b'"checksum"' not in data and done.files == json.loads(whole)["files"])
    (folder / DONE).write_bytes(whole)
    assert read_done(folder, stage.fingerprint, stage.stage_kind.outputs) is not None
    run_stage(folder)  # is done already


@pytest.mark.parametrize("name", ["gone", "x" * 300])
def test_a_folder_without_a_stage_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"holds no stage\.json; give a folder that bench plan names"):
        read_stage(tmp_path / name)


def test_an_edited_number_in_done_json_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    write_done(tmp_path, Done(fingerprint="f", metrics={"top1_percent": 41.5}, wall_seconds=1.0, finished="now"))
    assert read_done(tmp_path, "f", ["x"]) is not None
    text = (tmp_path / DONE).read_text(encoding="utf-8")
    (tmp_path / DONE).write_text(text.replace("41.5", "43.5"), encoding="utf-8")
    assert read_done(tmp_path, "f", ["x"]) is None
    # Nor is one whose checksum has another name.
    (tmp_path / DONE).write_text(text.replace("41.5", "43.5").replace("checksum", "checksui"), encoding="utf-8")
    assert read_done(tmp_path, "f", ["x"]) is None
    (tmp_path / DONE).write_text(text.replace("41.5", "43.5"), encoding="utf-8")
    with pytest.raises(ValueError, match="its checksum is not that of its content"):
        checked((tmp_path / DONE).read_text(encoding="utf-8"))
