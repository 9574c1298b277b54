"""What a kind of stage says of itself, besides its settings. A kind of task says it on its class in `tasks`."""

from __future__ import annotations

from typing import ClassVar


class StageKind:
    """The facts that planning and running ask a kind of stage for."""

    version: ClassVar[int] = 1  # raised when its code computes something else: its results are then computed anew
    outputs: ClassVar[tuple[str, ...]] = ()  # files that it must leave in its folder, besides `done.json`
    several_gpus: ClassVar[bool] = False  # whether --gpus N starts N processes
    uses_gpu: ClassVar[bool] = True  # if not, it runs beside those that hold the GPUs
    auto_precision: ClassVar[bool] = True  # whether it computes in its config's precision
    # `module:function`, or a function in the file of the class. It takes a `bench.stages.job.Job`, returns metrics.
    run: ClassVar[str] = "run"


class Pretrain(StageKind):
    """Train a recipe."""

    outputs = ("last.ckpt",)
    several_gpus = True
    run = "bench.stages.pretrain:run"


class Convert(StageKind):
    """Turn a training state into a trunk that is proven to load."""

    outputs = ("trunk.safetensors", "proof.json")
    uses_gpu = False
    auto_precision = False  # float32, whatever the recipe says
    run = "bench.stages.convert:run"


STEPS: dict[str, type[StageKind]] = {"pretrain": Pretrain, "convert": Convert}  # kinds that are no task
