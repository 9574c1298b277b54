"""What 1, 2 and 3 gloo processes compute together; a script: forked_ranks.py FOLDER.

One process imports once, and every rank is a fork of it: a start takes some 0.1 s. It computes nothing itself,
since a fork of a process with threads hangs. Ranks of one world are forked together, and go through all checks in one
process group; what they find goes to FOLDER/world_WORLD_rank_RANK.pt.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.distributed as dist
from made_of_numbers import (
    BATCH,
    BN_ROWS,
    CLASSES,
    EPOCHS,
    IMAGES,
    MAPS,
    PIXEL_CLASSES,
    QUEUE,
    TAU,
    TEMPERATURE,
    K,
    bank,
    bn_input,
    bn_upstream,
    keys,
    label_maps,
    projections,
    regression,
)
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.data.images import in_order
from bench.data.sampler import DrawSampler
from bench.losses.contrast_by_name import Contrast
from bench.nn.collectives import gather, rank_rows
from bench.nn.ema import follow, target_of
from bench.nn.neighbours import Bank
from bench.nn.norm import GlobalBatchNorm
from bench.nn.queue import Queue
from bench.stages.features import Features, gathered, parts, run_of
from bench.stages.knn import classify
from bench.stages.linear_ranks import in_turns
from bench.stages.segmentation.metric import UnroundedIoU
from bench.train.distributed import Ranks

WORLDS = (1, 2, 3)


class Trunk:
    """What `in_turns` asks of a trunk."""

    feature_dim = 2
    device = torch.device("cpu")


def norms(ranks: Ranks) -> dict[str, Tensor]:
    """Three steps of batch norm on rows that do not divide: outputs, gradients, running statistics."""
    norm = GlobalBatchNorm(4).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 1.5, 2.0]))
        norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3, -0.4]))
    mine = slice(ranks.rank, BN_ROWS, ranks.world)
    for step in range(3):
        norm.zero_grad()
        x = torch.from_numpy(bn_input(step)[mine]).requires_grad_()
        y = norm(x)
        (y * torch.from_numpy(bn_upstream()[mine])).sum().backward()
    assert x.grad is not None
    whole = {"y": gathered(y.detach(), ranks), "x": gathered(x.grad, ranks)}
    for name, parameter in norm.named_parameters():
        total = parameter.grad.clone()  # type: ignore[union-attr]
        if ranks.world > 1:
            dist.all_reduce(total)
        whole[name] = total
    return whole | {"mean": norm.running_mean.clone(), "variance": norm.running_var.clone()}  # type: ignore[union-attr]


def contrast(ranks: Ranks) -> dict[str, Tensor]:
    """SimCLR's loss of two views over all ranks' negatives, and its gradient as DistributedDataParallel has it."""
    views = [torch.from_numpy(view[ranks.rank :: ranks.world]).requires_grad_() for view in projections()]
    z1, z2 = (gather(view) for view in views)
    loss = Contrast("nt_xent", TEMPERATURE).views(z1, z2, rank_rows(len(views[0])))
    loss.backward()
    # The mean over ranks of the losses has this gradient.
    grads = [gathered(view.grad / ranks.world, ranks) for view in views]  # type: ignore[operator]
    return {"loss": ranks.mean_(loss.detach().clone()), "z1": grads[0], "z2": grads[1]}


def queued(ranks: Ranks) -> dict[str, Tensor]:
    """A queue after more pushes than it holds."""
    queue = Queue(QUEUE, 2, seed=0).double()
    for step in range(5):
        queue.push(torch.from_numpy(keys(step)[ranks.rank :: ranks.world]))
    return {"keys": queue.keys.clone(), "position": queue.position.clone()}


def averaged(ranks: Ranks) -> dict[str, Tensor]:
    """A target that follows a linear map, which gradient descent fits on what the sampler deals out."""
    x, y = (torch.from_numpy(array) for array in regression())
    online = nn.Linear(3, 2, bias=False).double()
    with torch.no_grad():
        online.weight.copy_(torch.arange(6.0).view(2, 3) / 10)
    target = target_of(online)
    model = DistributedDataParallel(online) if ranks.world > 1 else online
    steps = len(x) // BATCH * EPOCHS
    sampler = DrawSampler(len(x), BATCH // ranks.world, seed=3, rank=ranks.rank, world=ranks.world)
    for _, share in zip(range(steps), sampler.shares(), strict=False):
        online.zero_grad()
        ((model(x[share.images]) - y[share.images]) ** 2).sum(1).mean().backward()
        with torch.no_grad():
            online.weight -= 0.05 * online.weight.grad  # type: ignore[operator]
        follow(target, online, TAU)
    return {"online": online.weight.detach().clone(), "target": target.weight.clone()}


def neighbours(ranks: Ranks) -> dict[str, Tensor]:
    """The classes of queries by a bank of which ranks have parts of different size; the last of three has none."""
    rows, labels, queries = bank()
    cuts = {1: [0, len(rows)], 2: [0, 5, len(rows)], 3: [0, 7, len(rows), len(rows)]}[ranks.world]
    mine = slice(cuts[ranks.rank], cuts[ranks.rank + 1])
    part, every = torch.from_numpy(rows[mine]).float(), torch.from_numpy(labels)
    asked = torch.from_numpy(queries).float()
    given = (asked, Bank(part, offset=mine.start)), (asked, part)
    return {
        name: classify(*one, every, CLASSES, K, temperature, offset=mine.start)
        for temperature in (0.1, None)
        for name, one in zip((f"bf16 {temperature}", f"float32 {temperature}"), given, strict=True)
    }


def turns(ranks: Ranks) -> dict[str, Tensor]:
    """What each rank's linear heads see: batches of several sizes, the last of them empty, whatever computed them."""
    sizes = [3, 2, 0, 3, 1, 3, 2]
    first = np.concatenate([[0], np.cumsum(sizes)])

    def computed(step: int) -> Features:
        rows = torch.arange(first[step], first[step + 1])
        return Features(torch.stack([rows.float(), rows.float() ** 2], 1), rows, step)

    steps = range(4, 4 + len(sizes))
    own = (computed(step) for step in range(ranks.rank, len(sizes), ranks.world))
    seen = list(in_turns(own, steps, ranks, Trunk()))  # type: ignore[arg-type]
    return {
        "labels": torch.cat([one.labels for one in seen]),
        "features": torch.cat([one.features for one in seen]),
        "sizes": torch.tensor([len(one.labels) for one in seen]),
        "skipped": torch.tensor([one.skipped for one in seen]),
    }


def evaluated(ranks: Ranks) -> dict[str, Any]:
    """Which images are evaluated, in which order, for numbers of them that do not divide; and counts over ranks."""
    orders: dict[str, Any] = {}
    for length in (*range(1, 14), IMAGES):
        batches = in_order(length, 4)
        first, last = run_of(len(batches), ranks)
        own = torch.tensor([image for batch in batches[first:last] for image in batch], dtype=torch.int64)
        orders[f"{length}"] = gathered(own, ranks)
    sizes = [len(part) for part in parts(torch.arange(ranks.rank * 2), ranks)]
    return orders | {"sizes": sizes, "sums": ranks.sums(ranks.rank + 1, 10)}


def pixels(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """mIoU of images that mmengine's sampler deals out, repeating some so that each rank has as many."""
    predicted, true = label_maps()
    metric = UnroundedIoU(ignore_index=255, collect_dir=str(folder / f"collect-{ranks.world}"))
    metric.dataset_meta = {"classes": [str(c) for c in range(PIXEL_CLASSES)]}
    mine = list(DefaultSampler(range(MAPS), shuffle=False))  # type: ignore[arg-type]
    for index in mine:
        sample = SegDataSample(metainfo={"img_path": f"{index:02}.png"})
        sample = sample.to_dict() | {
            "pred_sem_seg": {"data": torch.from_numpy(predicted[index])[None]},
            "gt_sem_seg": {"data": torch.from_numpy(true[index])[None]},
            "img_path": f"{index:02}.png",
        }
        metric.process(pseudo_collate([{}]), [sample])
    scores = metric.evaluate(MAPS)
    outcomes = metric.outcomes
    return {
        "dealt": len(mine),
        "scores": scores,
        "true": None if outcomes is None else torch.from_numpy(outcomes.true),
    }


def compute(ranks: Ranks, folder: Path) -> dict[str, Any]:
    found = [norms, contrast, queued, averaged, neighbours, turns, evaluated]
    return {one.__name__: one(ranks) for one in found} | {"pixels": pixels(ranks, folder)}


def rank_of(rank: int, world: int, folder: Path) -> None:
    """One rank, in a process of its own."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/world-{world}", rank=rank, world_size=world)
    ranks = Ranks(rank, world, world, control=dist.group.WORLD if world > 1 else None)
    torch.save(compute(ranks, folder), folder / f"world_{world}_rank_{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


def main() -> None:
    folder, failed = Path(sys.argv[1]), 0
    for world in WORLDS:
        pids = []
        for rank in range(world):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    rank_of(rank, world, folder)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
            pids.append(pid)
        failed += sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    sys.exit(failed)


if __name__ == "__main__":
    main()
