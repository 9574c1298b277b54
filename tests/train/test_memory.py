"""Memory that runs out: what is said, and trainings that go on in smaller micro-batches."""

from __future__ import annotations

import faulthandler
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stand_in
import torch
from stand_in import StandIn, lines, same, train
from torch import Tensor

from bench.config.load import load_recipe
from bench.config.recipe import Recipe
from bench.errors import BadInput, StageFailed, ran_out_of_memory
from bench.train.checkpoint import LAST, read
from bench.train.distributed import Ranks
from bench.train.interventions import FILE, NOTE, Interventions
from bench.train.memory import halved, memory_words

if TYPE_CHECKING:  # this file is a script, too
    from forked import Forks

GPU = "CUDA out of memory. Tried to allocate 2.00 GiB."
HOST = (
    "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)
HALVE = {"on_out_of_memory": "halve", "log_every": 1, "checkpoint": {"every_steps": 2}}


def recipe(**values: Any) -> Recipe:
    """The stand-in's, under the name of an objective whose loss is a mean over images."""
    return stand_in.recipe(**{"objective": {"name": "rotation"}} | values)


class Short(StandIn):
    """Has memory for `most` images at a time, and for any number before step `since` (1-based)."""

    mean_over_images = True
    most, since, error = 2, 1, torch.OutOfMemoryError(GPU)

    def forward(self, batch: stand_in.Batch) -> dict[str, Tensor]:
        terms = super().forward(batch)  # its norms have seen the batch by then
        if int(self.seen) + 1 >= self.since and len(batch) > self.most:
            raise self.error
        return terms


def short(**facts: Any) -> type[Short]:
    return type("Short", (Short,), facts)


# ------------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(GPU), MemoryError(), RuntimeError(HOST), RuntimeError(GPU)])
def test_errors_that_say_that_memory_ran_out(error: Exception) -> None:
    assert ran_out_of_memory(error)


def test_other_errors_do_not() -> None:
    assert not ran_out_of_memory(RuntimeError("size mismatch"))
    assert not ran_out_of_memory(ValueError(GPU))


def test_torch_still_says_so_on_this_machine() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert ran_out_of_memory(error.value)


def test_the_message_has_the_numbers_of_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(StageFailed) as error:
        train(tmp_path, recipe(checkpoint={"every_steps": 2}), kind=short(since=4))
    said = str(error.value)
    assert said.startswith(
        f"Memory ran out ({GPU.rstrip('.')}), with 4 images at a time in float32 on each process (batch_size=4 with "
        "accumulate=1 on 1 process). Try checkpoint_activations=True (equal results, a third more computing); "
        "precision='bf16' where it is native; accumulate=2 (batch norms then see half as many images), or "
        "on_out_of_memory='halve', which does it by itself; batch_size=2, or more processes."
    )
    assert said.endswith("After step 3; last.ckpt of step 2 stays.")
    assert read(tmp_path / LAST)["step"] == 2


def test_a_loss_that_compares_images_is_told_what_parts_change() -> None:
    words = memory_words(MemoryError(), recipe(checkpoint_activations=True, precision="bf16"), 1, False)
    assert words == (
        "Memory ran out (MemoryError), with 4 images at a time in bf16 on each process (batch_size=4 with accumulate=1 "
        "on 1 process). Try accumulate=2, which changes the method, as the loss then compares the images of half a "
        "batch; batch_size=2, or more processes."
    )


def test_norm_groups_are_said_to_stay() -> None:
    words = memory_words(MemoryError(), recipe(batch_size=8, sync_bn=False, norm_images=2), 1, True)
    assert "accumulate=2 (norms keep their groups)" in words


@pytest.mark.parametrize(
    ("values", "world", "parts"),
    [
        ({}, 1, 2),
        ({"accumulate": 2}, 1, 4),
        ({"accumulate": 4}, 1, None),  # a single image
        ({"batch_size": 6, "accumulate": 2}, 1, None),  # an odd number
        ({}, 2, 2),
        ({}, 4, None),
        ({"batch_size": 8, "sync_bn": False, "norm_images": 4}, 1, 2),
        ({"batch_size": 8, "sync_bn": False, "norm_images": 8}, 1, None),
    ],
)
def test_how_far_micro_batches_are_halved(values: dict[str, Any], world: int, parts: int | None) -> None:
    smaller = halved(recipe(**values), world)
    assert (None if smaller is None else smaller.accumulate) == parts


def test_an_objective_that_needs_several_images_keeps_two() -> None:
    own = {"objective": {"name": "byol"}}
    assert halved(recipe(**own), 1) is not None
    assert halved(recipe(accumulate=2, **own), 1) is None


# -------------------------------------------------------------------------------------- going on in parts


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(GPU), RuntimeError(HOST), MemoryError()])
def test_a_run_that_halves_at_once_equals_the_accumulated_one(tmp_path: Path, error: Exception) -> None:
    """Bit for bit, norms and all: what the failed step had changed is forgotten."""
    train(tmp_path / "told", recipe(accumulate=2, log_every=1, checkpoint={"every_steps": 2}))
    metrics = train(tmp_path / "run", recipe(**HALVE), kind=short(error=error))
    act = {"action": "halve", "why": "out of memory", "after": 0, "accumulate": 2}
    assert metrics["interventions"] == [act]
    ours, theirs = read(tmp_path / "run" / LAST), read(tmp_path / "told" / LAST)
    assert ours["interventions"] == [act]
    for key in ("objective", "optimizer", "meter", "logged", "step"):
        assert same(ours[key], theirs[key]), key
    assert lines(tmp_path / "run") == lines(tmp_path / "told")
    assert (ours["run"]["accumulate"], theirs["run"]["accumulate"]) == (1, 2)  # the run is the one that was planned


def test_twice(tmp_path: Path) -> None:
    train(tmp_path / "told", recipe(accumulate=4, log_every=1, checkpoint={"every_steps": 2}))
    metrics = train(tmp_path / "run", recipe(**HALVE), kind=short(most=1))
    assert [each["accumulate"] for each in metrics["interventions"]] == [2, 4]
    assert lines(tmp_path / "run") == lines(tmp_path / "told")


def test_later_it_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    train(tmp_path / "whole", recipe(log_every=1))
    metrics = train(tmp_path / "run", recipe(**HALVE), kind=short(since=6))
    assert [(each["after"], each["accumulate"]) for each in metrics["interventions"]] == [(4, 2)]
    ours, whole = lines(tmp_path / "run"), lines(tmp_path / "whole")
    assert ours[:4] == whole[:4]
    assert ours[4:] != whole[4:]
    assert [line["step"] for line in ours] == list(range(1, 10))
    again = train(tmp_path / "run", recipe(**HALVE), kind=short(since=6))
    assert again == metrics


def test_where_there_is_nothing_left_to_halve_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"accumulate=4 on 1 process.*cannot be halved again\.$"):
        train(tmp_path, recipe(**HALVE), kind=short(most=0))
    assert [each["accumulate"] for each in json.loads((tmp_path / FILE).read_text())["interventions"]] == [2, 4]


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        train(tmp_path, recipe(**HALVE), kind=short(error=RuntimeError("size mismatch")))
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("name", ["imagenet_simclr", "imagenet_swav", "imagenet_moco_v2", "coco_two_loss"])
def test_a_loss_that_compares_images_is_refused_while_planning(name: str) -> None:
    with pytest.raises(BadInput, match=r"on_out_of_memory='halve' .*set it to 'stop', or take one of .*byol"):
        load_recipe(name, "smoke", {"on_out_of_memory": "halve"})
    assert load_recipe("imagenet_byol", "smoke", {"on_out_of_memory": "halve"}).on_out_of_memory == "halve"


# ------------------------------------------------------------------------------------------ two processes


def two_ranks(forks: Forks, folder: Path, *words: str) -> list[tuple[int, str]]:
    """Run this file as two gloo ranks that share a folder; return (exit code, what they said).

    With `words` the second one fails, and the first is killed, as torchrun does it.
    """
    files = [folder.with_name(f"{folder.name}-{len(words)}-{rank}.txt") for rank in range(2)]
    ranks = []
    try:
        for file, environ in zip(files, forks.environs_of_ranks(2), strict=True):
            with file.open("w") as out:
                ranks.append(forks.start([__file__, folder, *words], Path.cwd(), environ, out, out))
        ranks[1].wait()
        if words:
            ranks[0].kill()
        return [(rank.wait(), file.read_text()) for rank, file in zip(ranks, files, strict=True)]
    finally:
        for rank in ranks:
            rank.kill()


@pytest.mark.slow
def test_memory_that_runs_out_on_one_of_two_processes_halves_on_both(tmp_path: Path, forks: Forks) -> None:
    """The second runs out in step 4, and ends both; started again, they go on as one process that does the same."""
    plain = {"norm": False, "dropout": 0.0}
    train(tmp_path / "one", recipe(**HALVE), kind=short(since=4), dtype=torch.float64, **plain)
    _, (code, said) = two_ranks(forks, tmp_path / "two", "4")
    assert code == 1
    assert "last.ckpt of step 2 stays. Started again, it goes on with accumulate=2." in said
    assert (tmp_path / "two" / NOTE.format(rank=1)).read_text() == "2\n"
    for code, said in two_ranks(forks, tmp_path / "two"):
        assert code == 0, said
    ours, one = (json.loads((tmp_path / name / FILE).read_text())["interventions"] for name in ("two", "one"))
    assert ours == one == [{"action": "halve", "why": "out of memory", "after": 2, "accumulate": 2}]
    assert not list((tmp_path / "two").glob(NOTE.format(rank="*")))
    theirs = read(tmp_path / "two" / LAST)["objective"]
    for name, tensor in read(tmp_path / "one" / LAST)["objective"].items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-11, atol=1e-13)


class TwoRanks(Ranks):
    """One process that two are played by: what both would say is said by it alone."""

    def sums(self, *numbers: int) -> tuple[int, ...]:
        return numbers

    def most(self, number: int) -> int:
        return number


def test_what_cannot_be_halved_on_several_processes_ends_them_once(tmp_path: Path) -> None:
    config = recipe(on_out_of_memory="halve", accumulate=2)
    (tmp_path / LAST).touch()
    (tmp_path / NOTE.format(rank=1)).write_text("0\n")
    with pytest.raises(StageFailed, match="cannot be halved again; set batch_size lower"):
        Interventions(tmp_path, config, TwoRanks(world=2))
    assert Interventions(tmp_path, config, TwoRanks(world=2)).recipe.accumulate == 2


def main() -> None:
    from bench.train.distributed import ranks_of

    def facts(rank: int, since: str | None) -> Iterator[tuple[str, Any]]:
        yield "most", 1 if rank == 1 and since is not None else 99
        yield "since", int(since or 0)

    faulthandler.dump_traceback_later(240, exit=True)  # where it waits, if it never ends
    folder, *words = sys.argv[1:]
    with ranks_of(device="cpu") as ranks:
        kind = short(**dict(facts(ranks.rank, words[0] if words else None)))
        train(Path(folder), recipe(**HALVE), ranks=ranks, kind=kind, dtype=torch.float64, norm=False, dropout=0.0)


if __name__ == "__main__":
    main()
