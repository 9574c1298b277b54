"""Pure planning: recipes × seeds × tasks × their seeds become stages, each with a fingerprint of all that it reads.

A fingerprint hashes the stage's part of the config, its parents' fingerprints, the fingerprints of the data
sets that it reads, and the version of its code, and nothing else. So adding a downstream task never
retrains a backbone, and a finished grid planned again has nothing to do.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config.kind_facts import asking
from bench.config.kinds import Convert, Pretrain, StageKind
from bench.config.recipe import Recipe
from bench.config.tasks import Task, portable_kind, stage_kind
from bench.data.packs.manifest import PackUse
from bench.data.sets import find, short_name
from bench.errors import BadInput
from bench.hashing import Hashed, measured
from bench.hashing import digest as digest
from bench.hashing import hashed_as_set as hashed_as_set
from bench.hashing import hashed_settings as hashed_settings
from bench.hashing import protocol_hash as protocol_hash
from bench.hashing import recorded_settings as recorded_settings
from bench.run_names import own_seeds, task_label
from bench.run_names import record_name as record_name


@dataclass(frozen=True)
class Stage:
    """One job: what it is, what it reads, and the fingerprint of all of that."""

    kind: str
    label: str  # for people: coco-s0, coco--cityscapes_pspnet-s0, coco--cityscapes_pspnet-s0-t3
    seed: int  # that it draws by
    config: Recipe | Task
    recipe: Recipe  # the pretraining that it belongs to
    recipe_fingerprint: str
    fingerprint: str
    parents: Mapping[str, Stage] = field(default_factory=dict)  # role -> stage
    data: Mapping[str, str] = field(default_factory=dict)  # data set -> fingerprint
    packs: tuple[PackUse, ...] = ()  # that it reads instead of the originals
    trunk_seed: int | None = None  # of the pretraining, where a task has another seed
    kept_as: str | None = None  # another fingerprint, of an earlier version, under which its files lie

    @property
    def known_as(self) -> str:
        """The fingerprint that its folder and its record have."""
        return self.kept_as or self.fingerprint

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.kind} {self.label}"

    @property
    def folder(self) -> str:
        """Where its files lie, relative to the work folder."""
        return f"{self.kind.replace(':', '.')}/{self.label}-{self.known_as[:12]}"

    @property
    def is_task(self) -> bool:
        """Whether its result is a record."""
        return isinstance(self.config, Task)

    @property
    def stage_kind(self) -> type[StageKind]:
        """What its kind says of itself."""
        return stage_kind(self.kind, self.config)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files that it must leave in its folder, besides `done.json`."""
        return self.stage_kind.outputs

    @property
    def record_name(self) -> str:
        """The file name of a task's record."""
        seed, task_seed = own_seeds(self.seed, self.trunk_seed)
        return record_name(self.recipe.name, self.config.name, seed, self.known_as, task_seed)

    def command(self, work_dir: Path, gpus: int = 1) -> str:
        """The shell command that runs this stage alone."""
        words = ["bench", "stage", str(work_dir / self.folder)]
        return shlex.join(words + (["--gpus", str(gpus)] if gpus > 1 else []))


def row_digest(values: Mapping[str, Any], init: object, data: Mapping[str, str]) -> str:
    """Return what the rows of a table share: the fingerprint of a pretraining over all seeds.

    Args:
        values: of its recipe, as hashed, without `init` and `export`.
        init: what it starts from: the fingerprint of the pretraining that it continues, None, or a checkpoint's.
        data: {short name: fingerprint} of the data set that it reads.
    """
    return digest([Pretrain.version, values, init, data])


def exported_digest(shared: str, export: str) -> str:
    """Return the fingerprint of the row of a pretraining whose encoder `export` (`online`, `target`) is evaluated."""
    return shared if export == "online" else digest([shared, export])


class Planner:
    """Builds the stages of a grid, each only once.

    Args:
        data_fingerprint: returns the fingerprint of a data set by its name.
        recipes: by name, those that an `init.recipe` names.
        packs: returns the packs that a stage reads; one that is trained from is part of the fingerprint of its data.
        hashed: returns what is hashed of a config; `hashed_as_set` gives the fingerprints of earlier versions.
    """

    def __init__(
        self,
        data_fingerprint: Callable[[str], str],
        recipes: Mapping[str, Recipe] | None = None,
        packs: Callable[[Recipe | Task], Sequence[PackUse]] = lambda _config: (),
        hashed: Hashed = hashed_settings,
    ) -> None:
        self.packs, self.hashed = packs, hashed
        self.data_fingerprint = data_fingerprint
        self.recipes = recipes or {}
        self.stages: dict[str, Stage] = {}  # by fingerprint, parents first
        self.notes: list[str] = []  # on seeds that decide nothing, and are not run
        self._protocols: dict[int, dict[str, Any]] = {}
        self._tasks: dict[tuple[int, str], Task] = {}  # as each is for trunks of an architecture
        self._pretrained: dict[tuple[int, int], Stage] = {}

    def grid(
        self, recipes: Sequence[Recipe], tasks: Sequence[Task], seeds: Sequence[int], task_seeds: Sequence[int] = ()
    ) -> list[Stage]:
        """Return every stage that the grid needs, parents before children, none twice.

        Each trunk is measured by every one of `task_seeds`, as far as they decide anything; without them by the seed of
        its pretraining.
        """
        for seed in seeds:
            for recipe in recipes:
                if task_seeds and is_fixed(recipe) and seed != seeds[0]:
                    self._note(
                        f"{recipe.name} is a checkpoint as it is, for any of --seeds: taken once, as seed {seeds[0]}"
                    )
                    continue
                trunk = self.convert(recipe, seed)
                for task in tasks:
                    for task_seed in task_seeds or [seed]:
                        self.task(task, recipe, trunk, task_seed)
        return list(self.stages.values())

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def pretrain(self, recipe: Recipe, seed: int, lineage: tuple[str, ...] = ()) -> Stage:
        """Return the stage that trains `recipe` (after the stage that its `init` names)."""
        if (id(recipe), seed) in self._pretrained:
            return self._pretrained[id(recipe), seed]
        if recipe.name in lineage:
            raise BadInput(f"init goes in a circle: {' -> '.join([*lineage, recipe.name])}; break it in one of them.")
        values, parents = self.hashed(recipe), {}
        init = values.pop("init")
        values.pop("export", None)  # which of its encoders is evaluated is the conversion's matter
        data, packs = self._data(recipe)
        if recipe.init is not None and recipe.parent is not None and recipe.init.epoch is not None:
            parent = self._parent(recipe, recipe.parent, recipe.init.epoch)
            parents["init"] = self.pretrain(parent, seed, (*lineage, recipe.name))
            init = {"epoch": recipe.init.epoch, "of": parents["init"].fingerprint}
        elif recipe.initial_checkpoint is not None:
            init = {"checkpoint": _file_hash(recipe.initial_checkpoint, recipe.source)}
        named = _by_short_name(data)
        shared = row_digest(values, parents["init"].recipe_fingerprint if parents else init, named)
        stage = Stage(
            kind="pretrain",
            label=f"{recipe.name}-s{seed}",
            seed=seed,
            config=recipe,
            recipe=recipe,
            recipe_fingerprint=shared,
            fingerprint=digest(["pretrain", Pretrain.version, seed, [values, init, named]]),
            parents=parents,
            data=data,
            packs=packs,
        )
        self._pretrained[id(recipe), seed] = stage
        return self._add(stage)

    def convert(self, recipe: Recipe, seed: int) -> Stage:
        """Return the stage that turns the pretrained state into a proven trunk."""
        parent = self.pretrain(recipe, seed)
        export = [] if recipe.export == "online" else [recipe.export]
        return self._add(
            Stage(
                kind="convert",
                label=f"{recipe.name}-s{seed}",
                seed=seed,
                config=recipe,
                recipe=recipe,
                recipe_fingerprint=exported_digest(parent.recipe_fingerprint, recipe.export),
                fingerprint=digest(["convert", Convert.version, parent.fingerprint, *export]),
                parents={"pretrain": parent},
            )
        )

    def task(self, task: Task, recipe: Recipe, trunk: Stage, seed: int) -> Stage:
        """Return the stage that measures a recipe's trunk on a task.

        A `seed` other than the trunk's is taken only where it decides something. The names are hashed too: two recipes
        with equal content share a trunk, but each gets its row.
        """
        task = self._tasks.setdefault((id(task), recipe.arch), task.for_arch(recipe.arch))
        with asking(type(task), "check_recipe"):
            task.check_recipe(recipe)
        data, packs = self._data(task)
        if id(task) not in self._protocols:
            self._protocols[id(task)] = measured(task, self.hashed)
        if seed != trunk.seed and not task.seed_decides(dict(task)):
            self._note(f"the seed of {task.name} decides nothing: it is run once a trunk, not for each of --task-seeds")
            seed = trunk.seed
        other = seed != trunk.seed
        kind = portable_kind(task.kind)["kind"]
        body = [recipe.name, task.name, self._protocols[id(task)], _by_short_name(data), trunk.fingerprint]
        return self._add(
            Stage(
                kind=kind,
                label=task_label(recipe.name, task.name, trunk.seed, seed if other else None),
                seed=seed,
                trunk_seed=trunk.seed if other else None,
                config=task,
                recipe=recipe,
                recipe_fingerprint=trunk.recipe_fingerprint,
                fingerprint=digest([kind, task.version, seed, body]),
                parents={"convert": trunk} | (dict(trunk.parents) if task.reads_training_state else {}),
                data=data,
                packs=packs,
            )
        )

    def _data(self, config: Recipe | Task) -> tuple[dict[str, str], tuple[PackUse, ...]]:
        """The fingerprint of what is read, and the packs among it."""
        if config.dataset == "none":
            return {}, ()
        value = self.data_fingerprint(config.dataset)
        packs = tuple(self.packs(config))
        trained = [use.identity for use in packs if use.purpose == "training"]
        data_set = find(config.dataset)
        if data_set is not None and data_set.definition > 1:
            value = f"{value}+definition-{data_set.definition}"
        return {config.dataset: "+".join([value, *trained])}, packs

    def _parent(self, recipe: Recipe, name: str, epoch: int) -> Recipe:
        """The recipe that `init` names, with a check that it keeps the checkpoint asked for."""
        parent = self.recipes[name]
        if epoch >= parent.epochs:
            raise BadInput(
                f"{recipe.name} starts from epoch {epoch} of {name}, which under profile {recipe.profile} ends with "
                f"epoch {parent.epochs - 1}; set init.epoch to at most that."
            )
        for key, ours, theirs in (("arch", recipe.arch, parent.arch), ("stem", recipe.stem, parent.stem)):
            if ours != theirs:
                raise BadInput(
                    f"{recipe.name} has the {key} {ours!r} and starts from {name}, which has {theirs!r}; "
                    f"set {key} to the same in both, or give --set parent.{key}={ours}."
                )
        if not parent.checkpoint.keeps(epoch, parent.epochs):
            raise BadInput(
                f"{recipe.name} starts from epoch {epoch} of {name}, which does not keep that checkpoint; set "
                f"checkpoint.keep_every_epochs in {name} to a divisor of {epoch + 1}."
            )
        return parent

    def _add(self, stage: Stage) -> Stage:
        return self.stages.setdefault(stage.fingerprint, stage)


def is_fixed(recipe: Recipe) -> bool:
    """Return whether a recipe is a checkpoint as it is, so that its seed decides nothing."""
    return recipe.epochs == 0 and recipe.initial_checkpoint is not None and recipe.norm_statistics == "start"


def _by_short_name(data: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints of data by names that have no path of this machine."""
    return {short_name(name): value for name, value in data.items()}


def _file_hash(file: Path, source: str) -> str:
    if not file.is_file():
        raise BadInput(f"init.checkpoint in {source} names {file}, which is no file; give the path of a checkpoint.")
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
