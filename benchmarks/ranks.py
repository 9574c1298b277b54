"""Contenders that train through the project's own loop under torch.distributed.run, with gloo between the ranks.

Their batches wait for a word before each block of steps, so that runs take turns without a change to the loop.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

GO, DONE = b"g", b"d"
STARTING_SECONDS = 120
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
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(world)
        listener.settimeout(STARTING_SECONDS)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        words = [address, folder.name, *map(str, (batch, size, steps, int(sync_bn)))]
        process = subprocess.Popen([*launcher, __file__, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        ranks = [listener.accept()[0] for _ in range(world)]

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

    sample.folder = folder  # type: ignore[attr-defined]  # removed when this process ends, and with it the ranks
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
    objective = {"name": "byol", "hidden_dim": 256, "projection_dim": 64}
    values = {"name": "ranks", "summary": "", "source": "", "profile": "full", "dataset": "coco", "arch": "resnet18"}
    values |= {"view_size": size, "epochs": 1, "batch_size": batch, "precision": "float32", "sync_bn": sync_bn}
    values |= {"objective": objective, "optimizer": {"name": "sgd", "lr": 0.01}, "log_every": FOR_EVER}
    line = socket.socket(socket.AF_UNIX)
    line.connect(address)
    with ranks_of(device="cpu") as ranks:
        mine = batch // ranks.world
        generator = torch.Generator().manual_seed(ranks.rank)
        views = [torch.randn(mine, 3, size, size, generator=generator) for _ in range(2)]
        box = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]]).expand(mine, 5)
        given = Batch(views, [box, box], None, torch.arange(mine))

        def source(_step: int) -> Iterator[Batch]:
            while True:
                if line.recv(1) != GO:
                    os._exit(0)  # the measurement is over: no last checkpoint, nothing to tell the other ranks
                for _ in range(steps):
                    yield given
                line.sendall(DONE)  # asked for the next batch, so the last step is done

        fit(
            build(objective, build_encoder("resnet18", seed=0), 0),
            source,
            Recipe.model_validate(values),
            seed=0,
            steps_per_epoch=FOR_EVER,
            folder=Path(folder),
            ranks=ranks,
        )


if __name__ == "__main__":
    numbers = list(map(int, sys.argv[3:]))
    rank(sys.argv[1], sys.argv[2], *numbers[:3], sync_bn=bool(numbers[3]))
