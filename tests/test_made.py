"""What a result was made of: the checkout and what was changed in it, versions, the machine, and the sittings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import checkout as checkouts
from bench import made as module
from bench.config.load import load_recipe, load_task
from bench.execute import chain as chains
from bench.execute.chain import begin, chain_before, norm_groups_of
from bench.execute.stage import run_stage
from bench.execute.stage_file import Done, finished, read_stage, write_done, write_stage
from bench.made import Git, Hardware, Made, NormGroups, Part, with_part
from bench.plan import Planner


def git(folder: Path, *words: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environ = os.environ | identity
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True, env=environ)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a package of one file, in which this code lies."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "checkout.py").write_text("")
    monkeypatch.setattr(checkouts, "__file__", str(tmp_path / "bench" / "checkout.py"))
    git(tmp_path, "init", "-q")
    return tmp_path


def now() -> Git:
    return checkouts.git.__wrapped__()


def test_git_is_this_codes_commit_and_results_do_not_make_it_dirty(checkout: Path) -> None:
    # A package that lies below somebody else's checkout, but is not part of it, has no commit.
    assert now() == Git()
    git(checkout, "add", "bench")
    git(checkout, "commit", "-qm", "one")
    (checkout / "results").mkdir()
    (checkout / "results" / "new.json").write_text("{}")
    assert now() == Git(commit=git(checkout, "rev-parse", "HEAD"), dirty=False)
    assert "changes" not in now().model_dump()  # as in older records
    (checkout / "bench" / "checkout.py").write_text("# changed")
    assert now().dirty is True


def test_the_hash_of_changes_is_of_what_is_there_and_not_of_how_it_came_there(checkout: Path) -> None:
    result = checkout / "results" / "old.json"
    result.parent.mkdir()
    result.write_text("{}")
    git(checkout, "add", "bench", "results")
    git(checkout, "commit", "-qm", "one")
    file, new = checkout / "bench" / "checkout.py", checkout / "bench" / "new.py"
    file.write_text("a = 1\n")
    first = now().changes
    assert first is not None
    git(checkout, "add", "bench")
    assert now().changes == first  # staged or not
    result.write_text("[]")
    assert now().changes == first  # a result is no code
    git(checkout, "config", "diff.noprefix", "true")  # by which git's own diff is another text
    assert now().changes == first
    file.write_text("a = 2\n")
    second = now().changes
    new.write_text("b = 1\n")  # which git does not track yet
    third = now().changes
    new.write_text("b = 2\n")
    assert len({first, second, third, now().changes}) == 4
    new.unlink()
    assert now().changes == second
    (checkout / "notes.txt").write_text("no code")
    assert now().changes == second
    file.unlink()
    assert now().changes not in {first, second}


def some(**changes: object) -> Part:
    values = {
        "git": Git(commit="a" * 40, dirty=False),
        "versions": {"python": "3.11.7", "torch": "2.15.0", "pillow": "13.0.0", "pandas": "3"},
        "hardware": Hardware(cpu="AMD EPYC", cores=2, memory_gib=23.5),
        "machine": "avx2",
        "kernels": "AVX2",
        "threads": 2,
        "precision": "float32",
        "started": "2026-01-01T00:00:00+00:00",
    }
    return Part.model_validate(values | changes)


def test_this_process_is_described() -> None:
    here = module.part(processes=2, precision="bf16", unreadable="skip", norm_groups=NormGroups(images=8, groups=4))
    assert here.versions["torch"].startswith("2.")
    assert {"python", "pillow", "opencv", "numpy", "mmseg", "scipy"} <= here.versions.keys()
    assert (here.processes, here.precision, here.unreadable) == (2, "bf16", "skip")
    assert here.machine
    assert here.allocator
    assert Part.model_validate_json(here.model_dump_json()) == here
    code = "import sys, bench.made as m; p = m.part(); sys.exit('torch' in sys.modules or p.threads is not None)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_threads_and_kernels_are_torchs() -> None:
    import torch

    here = module.part()
    assert here.threads == torch.get_num_threads()
    assert here.kernels == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"versions": {"python": "3.11.7", "torch": "2.14.0", "pillow": "13.0.0"}}, ["torch 2.14.0, not 2.15.0"]),
        ({"versions": {"python": "3.11.7", "torch": "2.15.0"}}, ["pillow none, not 13.0.0"]),
        ({"threads": 8}, ["threads 8, not 2"]),
        ({"kernels": "AVX512"}, ["kernels AVX512, not AVX2"]),
        ({"precision": "bf16"}, ["precision bf16, not float32"]),
        ({"tf32": {"convolutions": True, "products": False}}, ["TF32 convolutions, not none"]),
        (
            {"hardware": Hardware(cpu="Xeon", cores=2, memory_gib=23.5, gpus=("H200",))},
            ["GPUs H200, not none", "processor Xeon, not AMD EPYC"],
        ),
        ({"git": Git(), "allocator": "jemalloc", "started": "later", "unreadable": "skip"}, []),
    ],
)
def test_what_may_move_a_numbers_last_digits_is_named(changes: dict[str, object], words: list[str]) -> None:
    assert sorted(some().differences(some(**changes))) == words


def test_sittings_with_the_same_are_one_part_and_others_are_listed() -> None:
    parts = with_part((), some())
    parts = with_part(parts, some(started="later"))
    assert [(part.sittings, part.started) for part in parts] == [(2, "2026-01-01T00:00:00+00:00")]
    parts = with_part(parts, some(git=Git(commit="b" * 40, dirty=True, changes="c" * 64)))
    assert [part.git.words for part in parts] == ["aaaaaaaa", "bbbbbbbb with changes cccccccc"]
    parts = with_part(parts, some())
    assert [part.sittings for part in parts] == [2, 1, 1]  # in the order in which they took place
    for other in (some(threads=1), some(processes=2), some(limits={"MKL_CBWR": "AVX2"}), some(unreadable="skip")):
        assert with_part((some(),), other) == (some(), other)


def test_groups_of_norms_are_those_of_all_processes_or_of_each() -> None:
    recipe = load_recipe("coco", "smoke", {"batch_size": 32, "accumulate": 2, "sync_bn": True})
    assert norm_groups_of(recipe, 4) == NormGroups(images=16, groups=1)
    alone = recipe.model_copy(update={"sync_bn": False})
    assert norm_groups_of(alone, 4) == NormGroups(images=4, groups=4)
    grouped = recipe.model_copy(update={"sync_bn": False, "norm_images": 8})
    assert norm_groups_of(grouped, 4) == norm_groups_of(grouped, 1) == NormGroups(images=8, groups=2)


def test_a_stage_that_goes_on_lists_its_sittings_and_one_that_starts_anew_does_not(tmp_path: Path) -> None:
    pretrain, *_ = Planner(str).grid([load_recipe("random_init", "smoke")], [], [0])
    folder = write_stage(pretrain, tmp_path, {}, tmp_path, "fail")
    stage, other = read_stage(folder), Git(commit="b" * 40, dirty=False)
    assert begin(folder, stage, some(), resumed=False).parts == (some(),)
    assert [part.git for part in begin(folder, stage, some(git=other), resumed=True).parts] == [some().git, other]
    again = begin(folder, stage, some(), resumed=True)
    assert [part.git for part in again.parts] == [some().git, other, some().git]
    assert again.whole
    assert begin(folder, stage, some(), resumed=False).parts == (some(),)
    for content in ("{", '{"fingerprint": "x", "parts": 3}', None):  # damaged, or of a version that kept nothing
        (folder / chains.FILE).unlink() if content is None else (folder / chains.FILE).write_text(content)
        made = begin(folder, stage, some(), resumed=True)
        assert (made.parts, made.whole) == ((some(),), False)
    assert not begin(folder, stage, some(), resumed=True).whole  # nor is it the next time


def test_the_chain_outlives_the_folders_that_it_tells_of(tmp_path: Path) -> None:
    recipe, task = load_recipe("random_init", "smoke"), load_task("imagenet_knn", "smoke")
    stages = Planner(lambda name: "d" * 16).grid([recipe], [task], [0])
    pretrain, convert, knn = (read_stage(write_stage(one, tmp_path, {}, tmp_path, "fail")) for one in stages)

    def end(stage: object, number: int, **more: object) -> None:
        folder = tmp_path / stages[number].folder
        for name in stages[number].outputs:
            (folder / name).touch()
        values = {"fingerprint": stages[number].fingerprint, "metrics": {"images_skipped": 2}, "wall_seconds": 1.5}
        write_done(folder, Done.model_validate(values | {"finished": "2026-01-01T00:00:00+00:00"} | more))

    # Of stages of a version that kept nothing, what their files say.
    end(pretrain, 0)
    end(convert, 1)
    chain = chain_before(knn, tmp_path)
    assert list(chain) == ["pretrain random_init-s0", "convert random_init-s0"]
    first = chain["pretrain random_init-s0"]
    assert (first.parts, first.images_skipped, first.wall_seconds) == ((), 2, 1.5)
    # What the conversion knew of its pretraining stays when the training state is deleted, or made anew.
    kept = {
        pretrain.title: Made(fingerprint=pretrain.fingerprint, parts=(some(),)),
        convert.title: chain[convert.title],
    }
    end(convert, 1, chain=json.loads(json.dumps({k: v.model_dump(mode="json") for k, v in kept.items()})))
    (tmp_path / stages[0].folder / "stage.json").unlink()
    assert chain_before(knn, tmp_path) == kept


def test_two_stages_of_one_title_are_told_apart() -> None:
    one, other = Made(fingerprint="a" * 64), Made(fingerprint="b" * 64)
    assert chains.joined({"pretrain x-s0": one}, {"pretrain x-s0": one}) == {"pretrain x-s0": one}
    both = chains.joined({"pretrain x-s0": one}, {"pretrain x-s0": other})
    assert both == {"pretrain x-s0": one, f"pretrain x-s0 {'b' * 12}": other}


def test_what_a_later_version_writes_more_does_not_make_a_stage_unfinished() -> None:
    content = some().model_dump(mode="json") | {"weather": "fine"}
    assert Part.model_validate(content) == some()


@pytest.mark.slow
def test_a_stage_that_runs_keeps_what_it_ran_with_and_goes_on_from_what_it_left(tmp_path: Path) -> None:
    recipe = load_recipe("random_init", "smoke", {"arch": "resnet18"})
    pretrain, _ = Planner(str).grid([recipe], [], [0])
    folder = write_stage(pretrain, tmp_path, {}, tmp_path, "fail")
    for sittings in (1, 2):
        run_stage(folder)
        (made,) = finished(folder).chain.values()
        assert (made.fingerprint, made.whole) == (pretrain.fingerprint, True)
        assert [part.sittings for part in made.parts] == [sittings]
        assert made.parts[0].norm_groups is None  # nothing is trained
        assert made.wall_seconds is not None
        (folder / "done.json").unlink()
    (folder / "last.ckpt").unlink()  # nothing to go on from
    run_stage(folder)
    assert [part.sittings for part in finished(folder).chain[pretrain.title].parts] == [1]
