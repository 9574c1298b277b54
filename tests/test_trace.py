"""`bench trace`: which record a word means, what is said of its chain, and the command that makes the row anew."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli import run
from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.execute.anew import anew
from bench.execute.recording import record_of
from bench.execute.request import Request
from bench.execute.resolve import resolve
from bench.execute.stage_file import Done, read_stage, write_stage
from bench.execute.trace import find_record, lines, notes
from bench.made import Git, Hardware, Made, NormGroups, Part
from bench.plan import Planner
from bench.record import Record, read_all, write

RECORDS = Path(__file__).parents[1] / "results" / "records"


def recorded(
    place: Path,
    pretrain: str = "random_init",
    task: str = "imagenet_knn",
    roots: dict[str, str] | None = None,
    **more: Any,
) -> Record:
    """The record of a stage of profile smoke that never ran, planned with the options of a request."""
    request = Request(pretrain=[pretrain], downstream=[task], profile="smoke", **more)
    configs = resolve(request)
    prints = {"imagenet": "1" * 16, "coco": "2" * 16, "cityscapes": "3" * 16}
    planner = Planner(prints.__getitem__, configs.by_name)
    *_, stage = planner.grid(configs.recipes, configs.tasks, [0], request.task_seeds)
    assert stage.is_task
    file = read_stage(write_stage(stage, place / "work", roots or {}, place, "fail"))
    done = Done(fingerprint=stage.fingerprint, metrics={"top1_percent": 12.5}, wall_seconds=1.0, finished="2026")
    converted = done.model_copy(update={"metrics": {"trunk_hash": "f" * 64}})
    return record_of(file, done, {"convert": converted})


def with_chain(record: Record, *, processes: int = 1, unreadable: str = "fail", **more: Any) -> Record:
    own = f"{record.pretrain}-s{record.seed}"
    part = Part(
        git=Git(commit="a" * 40, dirty=True, changes="b" * 64),
        versions={"torch": "2.15.0"},
        hardware=Hardware(cpu="EPYC", cores=2, memory_gib=8),
        machine="avx2",
        limits={"ATEN_CPU_CAPABILITY": "avx2"},
        processes=processes,
        threads=2,
        norm_groups=NormGroups(images=8, groups=4),
        precision="float32",
        allocator="glibc",
        unreadable=unreadable,
        started="2026-01-01",
    )
    other = part.model_copy(update={"versions": {"torch": "2.16.0"}})
    chain = {
        f"pretrain {own}": Made(fingerprint="c" * 64, parts=(part, other), images_skipped=3, wall_seconds=5.0),
        f"convert {own}": Made(fingerprint="d" * 64),
        f"{record.kind} {own}": Made(fingerprint="e" * 64, parts=(other,), whole=False, untimed=("2 of 8 steps",)),
    }
    return record.model_copy(update={"chain": chain, **more})


def test_the_command_is_that_of_the_row_and_says_where_data_go(tmp_path: Path) -> None:
    made = anew(recorded(tmp_path, "coco_two_loss"))
    start = "bench run --pretrain coco_two_loss --downstream imagenet_knn --seeds 0 --profile smoke"
    assert (made.command, made.same) == (f"{start} --data-root coco=DIR imagenet=DIR", True)


@pytest.mark.parametrize(
    "assigned",
    [
        ("arch=resnet18",),
        ("pretrain.epochs=2", "pretrain.optimizer.lr=0.5", "downstream.temperature=0.2"),
        ("objective.loss2=least_squares", "pretrain.subset=None", "k=3"),
    ],
)
def test_all_that_was_set_is_in_the_command(tmp_path: Path, assigned: tuple[str, ...]) -> None:
    made = anew(recorded(tmp_path, "coco_two_loss", assignments=assigned))
    assert made.same
    words = shlex.split(made.command)
    assert len(words[words.index("--set") + 1 : words.index("--data-root")]) == len(assigned)


def test_a_seed_of_the_task_is_in_the_command(tmp_path: Path) -> None:
    record = recorded(tmp_path, "coco_two_loss", "imagenet_linear", task_seeds=(3,))
    assert (record.seed, record.task_seed, record.trunk) == (0, 3, "f" * 64)
    assert record.file_name.startswith("coco_two_loss__imagenet_linear__s0t3__")
    start = "bench run --pretrain coco_two_loss --downstream imagenet_linear --seeds 0 --task-seeds 3 --profile smoke"
    assert record.command == start
    made = anew(record)
    assert (made.command, made.same) == (f"{start} --data-root coco=DIR imagenet=DIR", True)
    assert anew(record.model_copy(update={"command": None})).same
    assert not anew(record.model_copy(update={"task_seed": 4})).same
    text = list(lines(Path("record.json"), record))
    assert text[0] == "coco_two_loss on imagenet_linear, seed 0 task seed 3, profile smoke"
    assert any("in the work folder, hash ffffffff" in line for line in text)
    same = recorded(tmp_path, "coco_two_loss", "imagenet_linear", task_seeds=(0,))
    assert (same.task_seed, "--task-seeds" in str(same.command)) == (None, False)


def test_a_swept_row_is_made_by_the_sweep_that_gives_it_its_name(tmp_path: Path) -> None:
    record = recorded(tmp_path, "coco_two_loss", sweep=("objective.loss1_weight=0.5", "optimizer.lr=0.1"))
    assert record.pretrain == "coco_two_loss[loss1_weight=0.5,lr=0.1]"
    made = anew(record)
    assert made.same
    assert "--sweep objective.loss1_weight=0.5 optimizer.lr=0.1" in made.command
    assert "--set" not in made.command


def test_a_pretraining_that_continues_another_and_settings_of_that(tmp_path: Path) -> None:
    name = "imagenet_4_1finetune_79_sys4_T5_lr"
    plain = recorded(tmp_path, name)
    assert anew(plain).same
    made = anew(recorded(tmp_path, name, assignments=("parent.optimizer.lr=0.01",)))
    assert made.same
    assert "init.settings" in made.command


def test_segmentation_of_another_depth(tmp_path: Path) -> None:
    assert anew(recorded(tmp_path, "coco", "cityscapes_pspnet", assignments=("arch=resnet18",))).same


def test_a_pack_that_only_the_pretraining_read_is_no_other_data(tmp_path: Path) -> None:
    assigned = ("pretrain.dataset=imagenet",)
    configs = resolve(Request(pretrain=["coco"], downstream=["imagenet_knn"], profile="smoke", assignments=assigned))

    class Packed(Planner):
        def _data(self, config: Any) -> Any:
            data, packs = super()._data(config)
            return {name: value + "+jpeg" * isinstance(config, Recipe) for name, value in data.items()}, packs

    *_, stage = Packed(lambda name: "1" * 16).grid(configs.recipes, configs.tasks, [0])
    file = read_stage(write_stage(stage, tmp_path / "work", {}, tmp_path, "fail"))
    done = Done(fingerprint=stage.fingerprint, metrics={"top1_percent": 12.5}, wall_seconds=1.0, finished="2026")
    record = record_of(file, done, {"convert": done})
    assert record.data == {"imagenet": "1" * 16, "imagenet (upstream)": "1" * 16 + "+jpeg"}
    made = anew(record)
    assert made.same
    assert made.command.endswith("--data-root imagenet=DIR")


def test_scenes_that_a_smoke_run_rendered_need_no_data_root(tmp_path: Path) -> None:
    roots = {name: str(tmp_path / "rendered" / name) for name in ("imagenet", "coco")}
    made = anew(recorded(tmp_path, "coco", roots=roots))
    assert made.command == "bench run --pretrain coco --downstream imagenet_knn --seeds 0 --smoke"
    assert made.same


def test_processes_and_the_policy_for_unreadable_files_are_in_the_command(tmp_path: Path) -> None:
    record = recorded(tmp_path)
    assert "--gpus" not in anew(record).command
    words = shlex.split(anew(with_chain(record, processes=4, unreadable="skip")).command)
    assert words[words.index("--gpus") + 1] == "4"
    assert words[words.index("--unreadable") + 1] == "skip"
    assert "--unreadable skip" in anew(record.model_copy(update={"images_skipped": 2})).command


def test_what_a_record_is_too_old_to_have_is_set_to_what_was_done_then(tmp_path: Path) -> None:
    record = recorded(
        tmp_path, "imagenet_simsiam", assignments=("zero_init_residual=False", "pretrain.optimizer.decay=weights")
    )
    del record.settings["pretrain"]["zero_init_residual"]
    del record.settings["pretrain"]["optimizer"]["decay"]
    made = anew(record.model_copy(update={"command": None}))  # which would say it, too
    assert made.same
    assert "pretrain.zero_init_residual=False" in made.command


def test_a_row_that_the_code_here_no_longer_gives_names_the_commit(tmp_path: Path) -> None:
    record = recorded(tmp_path)
    known = record.model_copy(
        update={
            "git": Git(commit="a" * 40, dirty=True),
            "fingerprints": record.fingerprints.model_copy(update={"stage": "f" * 64}),
        }
    )
    made = anew(known)
    assert not made.same
    assert f"git checkout {'a' * 40}; it had changes that were not committed." in made.note
    assert made.command.startswith(known.command)  # as it was recorded
    gone = known.model_copy(update={"git": Git(), "command": known.command.replace("imagenet_knn", "imagenet_gone")})
    made = anew(gone)
    assert "No downstream config 'imagenet_gone'" in made.note
    assert made.note.endswith("The record names no commit to go back to.")


def test_settings_that_are_not_those_of_the_fingerprint_are_said(tmp_path: Path) -> None:
    record = recorded(tmp_path)
    record.settings["downstream"]["k"] = 4
    made = anew(record)
    assert made.same
    assert made.note.endswith("the settings that the record holds would give another.")


def test_a_record_without_a_command_is_made_from_its_settings(tmp_path: Path) -> None:
    record = recorded(tmp_path, assignments=("k=3",)).model_copy(update={"command": None})
    assert anew(record).same


@pytest.mark.parametrize("command", ["", "bench", "bench run <script>", "bench run --pretrain a b", "bench run 'open"])
def test_a_command_that_names_no_configs_is_as_none(tmp_path: Path, command: str) -> None:
    record = recorded(tmp_path, assignments=("k=3",))
    without = anew(record.model_copy(update={"command": None}))
    assert anew(record.model_copy(update={"command": command})) == without
    bare = anew(record.model_copy(update={"command": command, "settings": {}}))
    assert bare.command.startswith("bench run --pretrain random_init --downstream ")


def test_a_file_a_name_and_the_start_of_a_fingerprint_mean_a_record(tmp_path: Path) -> None:
    one, other = recorded(tmp_path), recorded(tmp_path, assignments=("k=3",))
    files = [write(record, tmp_path / "records") for record in (one, other)]
    for word in (str(files[0]), files[0].name, files[0].stem, one.fingerprints.stage[:8], one.fingerprints.stage):
        assert find_record(word, tmp_path) == (files[0], one)


def test_a_word_that_means_no_record_or_two_is_refused(tmp_path: Path) -> None:
    one = recorded(tmp_path)
    prints = one.fingerprints
    twin = prints.model_copy(update={"stage": prints.stage[:10] + "00" + prints.stage[12:]})
    for record in (one, one.model_copy(update={"fingerprints": twin})):
        write(record, tmp_path / "records")
    for word, sentence in (
        (prints.stage[:10], "2 records have a fingerprint that begins with .* give more digits"),
        (prints.stage[:3], r"No record .*; give a record's file, its name, or its fingerprint\."),
        (prints.stage[:12] + "f" * 52, "No record"),
        ("random_init__imagenet_knm__s0", "did you mean random_init__imagenet_knn__s0__"),
    ):
        with pytest.raises(Exception, match=sentence):
            find_record(word, tmp_path)


def test_the_command_line_prints_the_chain_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = with_chain(recorded(tmp_path, "coco"), precision={"pretrain": "float32"})
    file = write(record, tmp_path / "records")
    assert run(["trace", file.stem, "--results-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "coco on imagenet_knn, seed 0, profile smoke",
        "top1_percent 12.5",
        "pretrain coco-s0",
        f"commit {'a' * 40}, with changes of the hash {'b' * 64}",
        "one sitting, from 2026-01-01 on",
        "EPYC, 2 cores, 8.0 GiB; class avx2; ATEN_CPU_CAPABILITY=avx2",
        "1 process of 2 threads; float32; norms over 8 images (4 in a batch); allocator glibc; unreadable files: fail",
        "3 unreadable images were skipped",
        "not kept by the version that ran it",
        "an earlier sitting, of which nothing was kept, and this:",
        "note: Mixed torch versions between the stages of a result",
        "note: The precision was left to the machine, which took: pretrain float32",
        "--data-root coco=DIR imagenet=DIR",
    ):
        assert words in printed, words
    assert run(["trace", file.stem, "--results-dir", str(tmp_path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["same_row"] is True
    assert Record.model_validate(content["record"]) == record
    assert run(["trace", "nothing", "--results-dir", str(tmp_path)]) == 2


@pytest.mark.slow
def test_every_committed_record_can_be_traced() -> None:
    """Older ones, too, which know their last stage alone; most of them are rows that the code here can make."""
    records = read_all(RECORDS)
    for record in records:
        text = "\n".join(lines(RECORDS / record.file_name, record))
        assert "bench run --pretrain" in text
        assert record.chain or "of those before it this record knows times alone" in text
    # What moved since is an objective's definition, or one of its settings that is gone.
    lost = {record.pretrain for record in records if not anew(record).same}
    moved = {"coco_densecl", "imagenet_colorization", "imagenet_instance_discrimination", "imagenet_moco_v2"}
    assert lost == moved | {"imagenet_swav"}
    assert any("older definition" in note for r in records for note in notes(r))


def test_configs_that_are_set_by_path_are_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(f"_base_ = {load_recipe('coco').source!r}\n", encoding="utf-8")
    (tmp_path / "near.py").write_text(f"_base_ = {load_task('imagenet_knn').source!r}\nk = 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = anew(recorded(tmp_path, "mine.py", "near.py"))
    assert made.same
    assert made.command.startswith("bench run --pretrain mine.py --downstream near.py")
