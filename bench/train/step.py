"""One optimizer step of an objective on its device: gradients of the micro-batches, the update, what follows it.

Nothing here waits for the device.
"""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.config.recipe import Recipe
from bench.data.views import Batch
from bench.errors import BadInput
from bench.nn.compiling import compile_fixed, keep_processors_apart
from bench.nn.encoder import Encoder
from bench.nn.norm import convert_sync_batchnorm
from bench.train.distributed import Ranks
from bench.train.optim import build_optimizer, check_coverage, set_rates
from bench.train.precision import is_bf16
from bench.train.recompute import recompute_blocks
from bench.train.schedule import peak_rate

if TYPE_CHECKING:
    from bench.objectives.base import Objective

COMPILERS = ("g++", "clang++")


class Step:
    """Moves an objective to its device, and trains it: `backward` for each micro-batch of a step, then `update`.

    Raises BadInput for switches of the recipe that do not go together.
    """

    def __init__(self, objective: Objective, recipe: Recipe, ranks: Ranks) -> None:
        assert recipe.optimizer is not None
        self.objective, self.recipe, self.ranks = objective, recipe, ranks
        self.model = _on_device(objective, recipe, ranks)
        self.memory_format = torch.channels_last if recipe.channels_last else None
        groups = objective.param_groups()
        check_coverage(objective, groups)
        self.optimizer = build_optimizer(groups, recipe.optimizer, recipe.batch_size, recipe.lars)
        self._peak, self._clip = peak_rate(recipe.optimizer, recipe.batch_size), recipe.optimizer.clip_norm
        self._part = 0  # micro-batches since the last update
        self._graphs = recipe.compile and recipe.cuda_graphs and ranks.device.type == "cuda"

    def backward(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradients of a micro-batch that lies on the device; return the objective's terms."""
        recipe = self.recipe
        if self._graphs and self._part == 0:
            torch.compiler.cudagraph_mark_step_begin()
        self._part += 1
        last = self._part == recipe.accumulate
        with nullcontext() if last or not isinstance(self.model, DistributedDataParallel) else self.model.no_sync():
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=is_bf16(recipe.precision)):
                terms: dict[str, Tensor] = self.model(batch)
            (terms["loss"] / recipe.accumulate).backward()
        return terms

    def update(self, rate: float, progress: float) -> None:
        """Move the weights by the gradients gathered so far, then the target network; `progress` is k / K."""
        set_rates(self.optimizer, rate, self._peak)
        self.objective.before_step(progress)
        if self._clip is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self._clip, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.after_step(progress)
        self._part = 0


def _on_device(objective: Objective, recipe: Recipe, ranks: Ranks) -> nn.Module:
    """Move the objective to its device in place; return it, or the shell that synchronises its gradients."""
    if ranks.world > 1 and recipe.sync_bn:
        convert_sync_batchnorm(objective, ranks.device.type)
    objective.to(ranks.device)
    if recipe.channels_last:
        objective.to(memory_format=torch.channels_last)
    objective.train()
    if recipe.checkpoint_activations:
        recompute_blocks(objective)
    if recipe.compile:
        graphs = recipe.cuda_graphs and ranks.device.type == "cuda"
        if recipe.cuda_graphs and not graphs and ranks.first:
            print(
                "cuda_graphs: there is no GPU here, so the step runs without them; no result depends on it", flush=True
            )
        compile_networks(objective, ranks.device.type, graphs)
    if ranks.world == 1:
        return objective
    # Buffers: synchronised norms agree anyway, and rank 0's are the ones that are saved.
    return DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True)


def compile_networks(objective: nn.Module, device_type: str, cuda_graphs: bool) -> None:
    """Compile each encoder and each sequential network that is a child of `objective`, in place.

    Nothing is compiled before the first call, and shapes are taken as fixed. Parameters and the keys of the state dict
    stay. With `cuda_graphs` the compiled parts are recorded and replayed, which needs CUDA.

    Raises BadInput on a CPU without a C++ compiler.
    """
    if device_type == "cpu" and not any(map(shutil.which, filter(None, [os.environ.get("CXX"), *COMPILERS]))):
        raise BadInput("compile=True needs a C++ compiler on a CPU; install g++, or set compile=False.")
    mode = "reduce-overhead" if cuda_graphs else "default"
    keep_processors_apart()
    for network in objective.children():
        if isinstance(network, Encoder):  # objectives ask for the map or for the pooled feature; both pass here
            network.last_map = compile_fixed(network.last_map, mode=mode)  # type: ignore[method-assign]
        elif isinstance(network, nn.Sequential):
            network.compile(dynamic=False, mode=mode)
