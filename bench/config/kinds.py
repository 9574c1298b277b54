"""What a kind of stage says of itself, besides its settings, and what every kind of task has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from bench.config.recipe import Frozen, Profile, Recipe


class StageKind:
    """The facts that planning and running ask a kind of stage for."""

    version: ClassVar[int] = 1  # raised when its code computes something else: its results are then computed anew
    outputs: ClassVar[tuple[str, ...]] = ()  # files that it must leave in its folder, besides `done.json`
    several_gpus: ClassVar[bool] = False  # whether --gpus N starts N processes
    uses_gpu: ClassVar[bool] = True  # if not, it runs beside those that hold the GPUs
    auto_precision: ClassVar[bool] = True  # whether it computes in its config's precision
    # `module:function`, or a function in the file of the class. It takes a `bench.stages.job.Job`, returns metrics.
    run: ClassVar[str] = "run"
    # Files of a finished stage with which `run` evaluates and trains nothing (`Job.evaluation_only`): () where it never
    # trains; None: it cannot do without training.
    evaluates_from: ClassVar[tuple[str, ...] | None] = None

    @classmethod
    def stored(cls) -> tuple[str, ...] | None:
        """Return `evaluates_from`, as said by the class that says `run`, or by one that derives from it.

        Of a kind that derives from another and runs a function of its own, that one's files say nothing.
        """
        return cls._of_run("evaluates_from")

    @classmethod
    def _of_run(cls, fact: str) -> tuple[str, ...] | None:
        """A fact about what `run` does; None where the class that says `run` says nothing of it."""
        for each in cls.__mro__:
            said = vars(each)
            if fact in said or "run" in said:
                return said.get(fact)
        return None


class TaskKind(StageKind):
    """The facts of a kind of task, whose settings are the fields of a pydantic model."""

    reads_training_state: ClassVar[bool] = False  # besides the trunk; then its folder is `job.inputs["pretrain"]`
    metrics: ClassVar[Mapping[str, str]] = {}  # metric -> header of its column in the tables, in their order
    # Where the task's own seed decides something: None: always; () never; else where one of these settings is not None.
    # What a seed does not decide is measured once a trunk, whatever --task-seeds says.
    seeded_by: ClassVar[tuple[str, ...] | None] = None

    @classmethod
    def seed_decides(cls, settings: Mapping[str, Any]) -> bool:
        """Return whether the seed decides anything of a task with these settings, as `seeded_by` says.

        Of a kind that derives from another and runs a function of its own, that one's `seeded_by` says nothing.
        """
        by = cls._of_run("seeded_by")
        return by is None or any(settings.get(name) is not None for name in by)

    def __init_subclass__(cls, **more: Any) -> None:
        """Let a kind that derives from one of ours have a name of its own: `Literal["knn"]` is of that one alone."""
        super().__init_subclass__(**more)
        own = inspect.get_annotations(cls)
        if "kind" not in own:
            cls.__annotations__ = {**own, "kind": "str"}


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


class Task(TaskKind, Frozen):
    """A kind of task: the settings that every kind has, and what a kind says of itself.

    `kind` and `dataset` are fields of the subclasses, with the values that each admits.
    """

    if TYPE_CHECKING:
        kind: str
        dataset: str

    name: str
    summary: str
    source: str  # the file it came from
    profile: Profile
    workers: int | None = Field(default=None, ge=0)

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise BadInput for a pretraining whose trunk this task cannot take."""

    def for_arch(self, arch: str) -> Self:
        """Return the task as it is for a trunk of `arch` (`resnet50`): itself, unless its kind says otherwise."""
        del arch
        return self

    def file_contents(self) -> dict[str, Any]:
        """Return {setting: content} of the settings that name files, as plain JSON-able values.

        A fingerprint hashes the content, and a record has the name without its folder. Raises BadInput for a file that
        is not there.
        """
        return {}
