"""Two processes against one on the same global batch: what the ranks' talking costs, and what they gain.

    python benchmarks/ranks.py [--rounds N] [--quick]

Each contender is a run of the project's own loop (`bench.train.loop.fit`) under torch.distributed.run, with gloo
between its ranks. Its batches wait for a word before each block of steps, so that runs take turns without a change to
the loop.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interleave import Contender, measure
from report import write

if TYPE_CHECKING:
    from bench.data.views import Batch

GO, DONE = b"g", b"d"
PATIENCE_SECONDS = 120  # for ranks to start
FOR_EVER = 1_000_000  # steps


def run(world: int, batch: int, size: int, steps: int, sync_bn: bool = True) -> Callable[[], int]:
    """A block of steps a sample, of a run with `world` ranks.

    Args:
        world: processes; each has as many threads as OMP_NUM_THREADS says.
        batch: images of a step, over all ranks.
        size: height and width of a view in pixels.
        steps: in a sample.
        sync_bn: whether norms are over the batches of all ranks, as in one process.
    """
    folder = tempfile.TemporaryDirectory(prefix="ranks-")
    address = str(Path(folder.name) / "socket")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen(world)
        door.settimeout(PATIENCE_SECONDS)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        words = [address, folder.name, *map(str, (batch, size, steps, int(sync_bn)))]
        process = subprocess.Popen(
            [*launcher, __file__, "--rank", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        ranks = [door.accept()[0] for _ in range(world)]

    def sample() -> int:
        try:
            for rank in ranks:
                rank.sendall(GO)
            answers = [rank.recv(1) for rank in ranks]
        except ConnectionError:
            answers = [b""]
        if any(answer != DONE for answer in answers):
            raise RuntimeError(f"a rank ended (torch.distributed.run: code {process.wait()}); its errors are above")
        return steps

    sample.keep = folder  # type: ignore[attr-defined]  # until this process ends, and with it the ranks
    return sample


def rank(address: str, folder: str, batch: int, size: int, steps: int, sync_bn: bool) -> None:
    """One rank: train until nobody says go any more."""
    import torch

    from bench.config.recipe import Recipe
    from bench.data.views import Batch
    from bench.nn.encoder import build_encoder
    from bench.objectives import build
    from bench.train.distributed import ranks_of
    from bench.train.loop import fit

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    settings = {"name": "byol", "hidden_dim": 256, "projection_dim": 64}
    recipe = Recipe(
        name="ranks",
        summary="",
        source="",
        profile="full",
        dataset="coco",
        objective=settings,
        arch="resnet18",
        view_size=size,
        epochs=1,
        batch_size=batch,
        precision="float32",
        sync_bn=sync_bn,
        optimizer={"name": "sgd", "lr": 0.01},
        log_every=FOR_EVER,
    )
    line = socket.socket(socket.AF_UNIX)
    line.connect(address)
    with ranks_of(device="cpu") as ranks:
        own = batch // ranks.world
        generator = torch.Generator().manual_seed(ranks.rank)
        views = [torch.randn(own, 3, size, size, generator=generator) for _ in range(2)]
        box = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]]).expand(own, 5)
        given = Batch(views, [box, box], None, torch.arange(own))

        def source(_step: int) -> Iterator[Batch]:
            while True:
                if line.recv(1) != GO:
                    os._exit(0)  # the measurement is over: no last checkpoint, nothing to tell the other ranks
                for _ in range(steps):
                    yield given
                line.sendall(DONE)  # asked for the next batch, so the last step is done

        fit(
            build(settings, build_encoder("resnet18", seed=0), 0),
            source,
            recipe,
            seed=0,
            steps_per_epoch=FOR_EVER,
            folder=Path(folder),
            ranks=ranks,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write results/benchmarks/ranks.json."""
    parser = argparse.ArgumentParser(description="Two gloo ranks against one process on the same global batch.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs")
    options = parser.parse_args(arguments)
    batch, size, steps, rounds = (8, 32, 1, 2) if options.quick else (32, 64, 2, options.rounds)
    same = {"batch": batch, "size": size, "steps": steps}

    def contender(name: str, world: int, threads: int, about: str = "", **more: bool) -> Contender:
        return Contender(name, "ranks:run", same | {"world": world} | more, about, threads=threads)

    one = contender("one process, two threads", 1, 2)
    two = contender("two ranks, one thread each", 2, 1, "norms over both ranks, so that the result is the same")
    apart = contender("two ranks, norms of their own", 2, 1, "what synchronised norms cost", sync_bn=False)
    half = contender("one process, one thread", 1, 1, "half of the cores")
    contenders = [one, two] if options.quick else [one, two, apart, half]
    write(
        "ranks",
        f"Pretraining on two ranks (gloo) against one process, the same global batch of {batch}",
        measure(contenders, rounds),
        unit="steps",
        baseline=one.name,
        notes=[
            f"BYOL on a ResNet-18, two views of {size} pixels, float32, {steps} steps a sample, through the project's "
            "own loop under torch.distributed.run.",
            "Synchronised norms (GlobalBatchNorm, since torch has none on a CPU) wait for the other rank twice in each "
            "forward pass of each norm, and as often in its backward pass: the third contender shows what that costs.",
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        where, place, *numbers = sys.argv[2:]
        rank(where, place, *map(int, numbers[:3]), sync_bn=bool(int(numbers[3])))
    else:
        main()
