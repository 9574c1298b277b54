"""What one of several gloo processes computes; a script: two_ranks.py RANK WORLD FOLDER.

Each rank has its rows of the same batch. Its results go to FOLDER/world_WORLD_rank_RANK.pt: gradients as
DistributedDataParallel would have them (the mean over ranks), buffers, and what shuffling did.
"""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.losses.uniformity import uniformity
from bench.nn.collectives import gather, rank, sum_over_ranks, world
from bench.nn.norm import GlobalBatchNorm, convert_sync_batchnorm
from bench.nn.shuffle import shuffled

N = 8


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mean_gradients(module: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """The gradients of the mean of the ranks' losses."""
    grads = torch.autograd.grad(loss, list(module.parameters()))
    for grad in grads:
        if dist.is_initialized():
            dist.all_reduce(grad)
            grad /= dist.get_world_size()
    return {name: grad.clone() for (name, _), grad in zip(module.named_parameters(), grads, strict=True)}


def gathering(images_of_rank: slice, how) -> dict[str, Tensor]:
    """A loss over all pairs of rows, from a layer on each rank."""
    torch.manual_seed(0)
    layer = nn.Linear(5, 4).double()
    return mean_gradients(layer, uniformity(how(layer(normal(N, 5, seed=1)[images_of_rank]))))


def gathering_without_gradient(x: Tensor) -> Tensor:
    """Gathers as `all_gather` does: the own rows alone have a gradient."""
    if world() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(world())]
    dist.all_gather(parts, x.detach().contiguous())
    parts[rank()] = x
    return torch.cat(parts)


def normalising(
    images_of_rank: slice, kind, shape: tuple[int, ...], convert=convert_sync_batchnorm
) -> dict[str, Tensor]:
    """A layer, batch norm over all ranks, a loss; three steps, so that running statistics differ from their start."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3) if len(shape) == 2 else nn.Conv2d(4, 3, 3, padding=1), kind(3)).double()
    if dist.is_initialized():
        net = convert(net, "cpu")
    for step in range(3):
        y = net(10 + (step + 1) * normal(N, *shape[1:], seed=step)[images_of_rank])
        # Per image, so that the mean over ranks is the mean over the batch.
        loss = (y.flatten(1).tanh() * normal(N, y[0].numel(), seed=9)[images_of_rank]).sum(1).mean()
    grads = mean_gradients(net, loss)
    net.eval()
    evaluated = net(normal(N, *shape[1:], seed=7))
    return (
        grads
        | {f"buffer {name}": tensor.clone() for name, tensor in net.named_buffers()}
        | {"eval": evaluated.detach()}
    )


def raw_sum(x: Tensor, group: Any = None) -> Tensor:
    """An all_reduce that autograd does not see."""
    total = x.detach().clone()
    dist.all_reduce(total)
    return x + (total - x.detach())


def converted_wrongly(module: nn.Module, device_type: str) -> nn.Module:
    return copy.deepcopy(module)  # statistics stay each rank's own


def shuffling(rank_: int) -> dict[str, Any]:
    """Keys of a network that returns its images, which are their numbers, and the images that it was given."""
    images = torch.arange(8 * rank_, 8 * rank_ + 8, dtype=torch.float64)[:, None]
    norm, seen = nn.BatchNorm1d(1, momentum=1.0).double(), []

    def network(x: Tensor) -> Tensor:
        seen.append(x)
        norm(x)
        return x

    torch.manual_seed(rank_)  # as in training, ranks draw different numbers
    keys = shuffled(network, images)
    mean = norm.running_mean.item()
    shuffled(network, images)
    return {
        "images": images,
        "keys": keys,
        "running_mean": mean,
        "given": seen[0],
        "given again": seen[1],
    }


def compute(rank_: int, world_: int) -> dict[str, dict[str, Any]]:
    images_of_rank = slice(rank_, None, world_)  # rows go round the ranks in turn, as the sampler deals them
    results = {
        "gather": gathering(images_of_rank, gather),
        "gather without gradient": gathering(images_of_rank, gathering_without_gradient),
        "norm of vectors": normalising(images_of_rank, nn.BatchNorm1d, (N, 4)),
        "norm of maps": normalising(images_of_rank, nn.BatchNorm2d, (N, 4, 3, 3)),
        "norm with cumulative statistics": normalising(
            images_of_rank, partial(nn.BatchNorm2d, momentum=None), (N, 4, 3, 3)
        ),
        "norm not converted": normalising(images_of_rank, nn.BatchNorm2d, (N, 4, 3, 3), converted_wrongly),
    }
    with mock.patch("bench.nn.norm.sum_over_ranks", raw_sum):
        results["norm with a raw all_reduce"] = normalising(images_of_rank, nn.BatchNorm2d, (N, 4, 3, 3))
    if world_ == 2:
        results["bf16"] = {"gathered": gather(torch.full((1, 2), float(rank_), dtype=torch.bfloat16))}
        results["sum"] = {"sum": sum_over_ranks(torch.tensor([1.0 + rank_]))}
        results["shuffled"] = shuffling(rank_)
        uneven = GlobalBatchNorm(2).double()
        results["uneven"] = {"y": uneven(normal(5, 2, seed=3)[slice(0, 2) if rank_ == 0 else slice(2, 5)]).detach()}
    return results


def main() -> None:
    rank_, world_, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    if world_ > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank_, world_size=world_)
    torch.save(compute(rank_, world_), folder / f"world_{world_}_rank_{rank_}.pt")
    if world_ > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
