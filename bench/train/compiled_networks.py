"""torch.compile for the networks of an objective, encoders and heads; what lies between them stays as written."""

from __future__ import annotations

import os
import shutil

from torch import nn

from bench.errors import BadInput
from bench.nn.compiling import compile_fixed, keep_processors_apart
from bench.nn.encoder import Encoder

COMPILERS = ("g++", "clang++")


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
