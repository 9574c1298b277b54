"""One optimizer step of an objective on its device: gradients of the micro-batches, the update, what follows it.

Nothing here waits for the device.

CUDA graphs and accumulated gradients (torch/_inductor/cudagraph_trees.py of torch 2.15): what a graph returns lies in
the memory of its generation, which the next one takes over. Without a mark, the parts of a step are of one generation,
and each records graphs of its own behind those of the part before: `accumulate` times as many. So each part is marked;
and since the first part's gradients lie in that memory (see `format_dealloc_msg` there), they are copied out of it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.config.processes import check_compiled_norms, check_groups, norm_groups
from bench.config.recipe import Recipe
from bench.data.views import Batch
from bench.errors import BadInput
from bench.nn.compiling import compile_fixed, keep_processors_apart
from bench.nn.encoder import Encoder
from bench.nn.norm import average_statistics, convert_norms
from bench.train.clipping import clip_gradients
from bench.train.distributed import Ranks
from bench.train.optim import build_optimizer, check_coverage, set_rates
from bench.train.precision import is_bf16
from bench.train.recompute import recompute_blocks
from bench.train.schedule import peak_rate

if TYPE_CHECKING:
    from bench.objectives.base import Objective

COMPILERS = ("g++", "clang++")
TRITON = (7, 0)  # the compute capability that it needs (GPUTooOldForTriton in torch/_dynamo/device_interface.py)


class Step:
    """Moves an objective to its device, and trains it: `backward` for each micro-batch of a step, then `update`.

    Raises BadInput for switches of the recipe that do not go together.
    """

    def __init__(self, objective: Objective, recipe: Recipe, ranks: Ranks) -> None:
        assert recipe.optimizer is not None
        self.objective, self.recipe, self.ranks = objective, recipe, ranks
        check_groups(recipe, grouped=_says(objective, "norm_groups"), shuffles=_says(objective, "shuffles_keys"))
        self.model = _on_device(objective, recipe, ranks)
        self.memory_format = torch.channels_last if recipe.channels_last else None
        groups = objective.param_groups()
        check_coverage(objective, groups)
        self.optimizer = build_optimizer(groups, recipe.optimizer, recipe.batch_size, recipe.lars)
        self._peak, self._settings = peak_rate(recipe.optimizer, recipe.batch_size), recipe.optimizer
        self._part = 0  # micro-batches since the last update
        # Else buffers agree, or (norms of each process) the first rank's count.
        self._averages = recipe.norm_images is not None and ranks.world > 1
        self._graphs = recipe.compile and recipe.cuda_graphs and ranks.device.type == "cuda"

    def backward(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradients of a micro-batch that lies on the device; return the objective's terms."""
        recipe = self.recipe
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()
        self._part += 1
        last = self._part == recipe.accumulate
        with nullcontext() if last or not isinstance(self.model, DistributedDataParallel) else self.model.no_sync():
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=is_bf16(recipe.precision)):
                terms: dict[str, Tensor] = self.model(batch)
            (terms["loss"] / recipe.accumulate).backward()
        if self._graphs and self._part == 1 and not last:
            self._own_gradients()
        return terms

    def _own_gradients(self) -> None:
        """Move the gradients out of memory that the next part's graphs write to; later parts are added in place."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.clone()

    def update(self, rate: float, progress: float, lr_factor: float = 1.0) -> None:
        """Move the weights by the gradients gathered so far, then the target network; `progress` is k / K.

        `rate` and the constant rates are multiplied by `lr_factor`.
        """
        set_rates(self.optimizer, rate * lr_factor, self._peak * lr_factor)
        self.objective.before_step(progress)
        clip_gradients([p for group in self.optimizer.param_groups for p in group["params"]], self._settings)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self._averages:
            average_statistics(self.objective, self.ranks.mean_)
        self.objective.after_step(progress)
        self._part = 0


def _on_device(objective: Objective, recipe: Recipe, ranks: Ranks) -> nn.Module:
    """Move the objective to its device in place; return it, or the shell that synchronises its gradients."""
    if recipe.compile:
        check_compiling(recipe, ranks.world, ranks.device)
    groups = norm_groups(recipe, ranks.world)
    convert_norms(objective, ranks.device.type, groups.parts, groups.processes)
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
    # Buffers: synchronised norms agree anyway, those of groups are averaged, and rank 0's are the ones that are saved.
    return DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True)


def _says(objective: nn.Module, fact: str) -> bool:
    return bool(getattr(objective, fact, False))


def check_compiling(recipe: Recipe, world: int, device: torch.device) -> None:
    """Refuse what torch.compile cannot do on these devices.

    Raises BadInput: for synchronised norms over several GPUs; and for a GPU that Triton has no programs for.
    """
    if device.type != "cuda":
        return
    check_compiled_norms(recipe, world)
    capability = torch.cuda.get_device_capability(device)
    if capability < TRITON:
        raise BadInput(
            f"compile=True needs a GPU of compute capability {TRITON[0]}.{TRITON[1]} or above, and this one has "
            f"{capability[0]}.{capability[1]}; set compile=False."
        )


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
