"""Results that lie under the fingerprint of an earlier version, and are those that a plan asks for.

Settings that decide no result (bench/config/no_effect.py) once were in the fingerprints. So a stage may lie under
another one, with other values of such settings. Which values that may have been is read off the folders and records
of the same label; whether one is the stage that is planned, is not taken from what it says of itself: its
fingerprint must be the one that this plan, with these values, had in an earlier version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from bench.config.no_effect import default_at, effectless, kind_of, stand_ins, value_at, with_values
from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.execute.stage_file import DONE, STAGE
from bench.files import read_json
from bench.hashing import hashed_as_set
from bench.plan import Planner, Stage
from bench.run_names import own_seeds

MOST = 64  # combinations of values that are tried for one stage

Values = dict[str, Any]  # {dotted setting: value}


class Earlier:
    """Finds what earlier versions left in a work folder and a folder of records.

    Args:
        work_dir: of the stages' folders.
        records: the folder.
        planner: makes a planner of recipes by name that hashes as the earlier versions did; see `planner_of`.
        recipes: by name, those that an `init` may name.
    """

    def __init__(
        self,
        work_dir: Path,
        records: Path,
        planner: Callable[[Mapping[str, Recipe]], Planner],
        recipes: Mapping[str, Recipe],
    ) -> None:
        self.work_dir, self.records, self.planner, self.recipes = work_dir, records, planner, recipes
        self.notes: list[str] = []  # on what was found
        self._names: dict[Path, dict[str, list[str]]] = {}
        self._told: dict[tuple[str, int], list[Values]] = {}
        self._planners: dict[str, tuple[Planner, Recipe]] = {}
        self._tasks: dict[str, Task] = {}

    def found(self, stages: Sequence[Stage]) -> list[Stage]:
        """Return the stages, parents first, each with the fingerprint that it lies under."""
        known: dict[str, Stage] = {}
        for stage in stages:
            parents = {role: known[parent.fingerprint] for role, parent in stage.parents.items()}
            known[stage.fingerprint] = replace(stage, kept_as=self._kept_as(stage), parents=parents)
        return list(known.values())

    def _kept_as(self, stage: Stage) -> str | None:
        """The earlier fingerprint under which a stage lies: a record's, else a finished folder's, else any folder's."""
        if stage.is_task and stage.record_name in self._listed(self.records, stage.record_name):
            return None
        places = self._places(stage)
        own = self.work_dir / stage.folder
        if own.name in self._listed(own.parent, own.name):  # begun anew: only what was finished before is better
            places = [] if (own / DONE).is_file() else [place for place in places if place[0] < 2]
        if not places:
            return None
        contents = {place: read_json(place) for _, place in sorted(places)}
        of_recipes = [self._of_recipe(recipe, _trunk_seed(stage)) for recipe in self._lineage(stage.recipe).values()]
        of_task = _values(stage.config, contents.values()) if isinstance(stage.config, Task) else [{}]
        then: dict[str, Values] = {}  # fingerprint -> the values that it had
        for task, *values in islice(product(of_task, *of_recipes), MOST):
            then.setdefault(self._as_then(stage, values, task), {**values[0], **task})
        for content in contents.values():
            if (fingerprint := _fingerprint(content)) in then:
                self.notes.append(_note(stage, then[fingerprint]))
                return fingerprint
        return None

    def _places(self, stage: Stage) -> list[tuple[int, Path]]:
        """What has a stage's label under other fingerprints: (0, record), (1, finished folder), (2, another folder)."""
        found: list[tuple[int, Path]] = []
        if stage.is_task:
            names = self._listed(self.records, stage.record_name)
            found += [(0, self.records / name) for name in names if name != stage.record_name]
        own = self.work_dir / stage.folder
        for name in self._listed(own.parent, own.name):
            if name != own.name:
                folder = own.parent / name
                found.append((1 if (folder / DONE).is_file() else 2, folder / STAGE))
        return found

    def _listed(self, folder: Path, like: str) -> list[str]:
        """The names in a folder that differ from `like` in their fingerprint at most."""
        return self._by_label(folder).get(_label(like), [])

    def _by_label(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            for name in sorted(each.name for each in folder.iterdir()) if folder.is_dir() else ():
                names.setdefault(_label(name), []).append(name)
            self._names[folder] = names
        return self._names[folder]

    def _lineage(self, recipe: Recipe) -> dict[str, Recipe]:
        """A recipe, and those that it continues, by the names that plans know them by."""
        found = {recipe.name: recipe}
        while (name := recipe.parent) is not None and name in self.recipes and name not in found:
            found[name] = recipe = self.recipes[name]
        return found

    def _of_recipe(self, recipe: Recipe, seed: int) -> list[Values]:
        """What a recipe's settings without effect may have been: as set now, as shipped, and as others of it have them.

        Records tell where folders were deleted.
        """
        if (recipe.name, seed) not in self._told:
            names = self._by_label(self.records)
            seeds = re.compile(rf"{re.escape(recipe.name)}__.*__s{seed}(t\d+)?")
            labels = [each for each in names if seeds.fullmatch(each)]
            contents = [read_json(self.records / name) for label in labels for name in names[label]]
            for kind in ("pretrain", "convert"):
                place = self.work_dir / kind
                contents += [
                    read_json(place / name / STAGE) for name in self._listed(place, f"{recipe.name}-s{seed}-0")
                ]
            self._told[recipe.name, seed] = _values(recipe, contents)
        return self._told[recipe.name, seed]

    def _as_then(self, stage: Stage, values: Sequence[Values], task: Values) -> str:
        """The fingerprint that a stage had with these values of its recipe, of those before it, and of its task."""
        planner, recipe = self._planner_with(stage.recipe, values)
        if stage.kind == "pretrain":
            return planner.pretrain(recipe, stage.seed).fingerprint
        trunk = planner.convert(recipe, _trunk_seed(stage))
        if not isinstance(stage.config, Task):
            return trunk.fingerprint
        key = f"{id(stage.config)} {_text(task)}"  # one task, which a planner hashes once for all trunks
        config = self._tasks.setdefault(key, with_values(stage.config, task))
        return planner.task(config, recipe, trunk, stage.seed).fingerprint

    def _planner_with(self, recipe: Recipe, values: Sequence[Values]) -> tuple[Planner, Recipe]:
        """A planner of a recipe, and of those that it continues, with other values; and that recipe."""
        key = f"{id(recipe)} {_text(values)}"
        if key not in self._planners:
            pairs = zip(self._lineage(recipe).items(), values, strict=True)
            lineage = {name: with_values(each, other) for (name, each), other in pairs}
            self._planners[key] = self.planner({**self.recipes, **lineage}), lineage[recipe.name]
        return self._planners[key]


def planner_of(planner: Planner) -> Callable[[Mapping[str, Recipe]], Planner]:
    """Return what makes a planner like this one, of other recipes, that hashes as earlier versions did."""
    return lambda recipes: Planner(planner.data_fingerprint, recipes, planner.packs, hashed_as_set)


def _values(config: Recipe | Task, contents: Iterable[Mapping[str, Any]]) -> list[Values]:
    """The values of a config's settings without effect: its own, those that are hashed, and those in other files.

    `contents` are of `stage.json` and of records. A setting that an older one lacks came later, and its default means
    what was done before.
    """
    usual = stand_ins(config.model_dump(), kind_of(config), config.profile)
    told: list[Values] = [effectless(config), usual]
    here, there = ("recipe", "pretrain") if isinstance(config, Recipe) else ("task", "downstream")
    for content in contents:
        own = value_at(content, f"settings.{there}") if "settings" in content else content.get(here)
        if isinstance(own, Mapping):
            told.append(
                {key: _like(value, value_at(own, key, default_at(config, key))) for key, value in usual.items()}
            )
    return list({_text(each): each for each in told}.values())


def _text(values: Values | Sequence[Values]) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _like(value: Any, other: Any) -> Any:
    """Another value of a setting, as read from JSON, in the type that the setting has."""
    return tuple(other) if isinstance(value, tuple) and isinstance(other, list) else other


def _trunk_seed(stage: Stage) -> int:
    """The seed of the pretraining that a stage belongs to."""
    return own_seeds(stage.seed, stage.trunk_seed)[0]


def _label(name: str) -> str:
    """What stands before the fingerprint in the name of a record or a stage's folder."""
    return name.rpartition("__" if name.endswith(".json") else "-")[0]


def _fingerprint(content: Mapping[str, Any]) -> str:
    """Of a `stage.json` or a record; "" of another file."""
    return str(content.get("fingerprint") or value_at(content, "fingerprints.stage", ""))


def _note(stage: Stage, then: Values) -> str:
    """Say what was another value when a stage was made."""
    now = effectless(stage.recipe) | (effectless(stage.config) if isinstance(stage.config, Task) else {})
    words = [f"{key}={value}" for key, value in then.items() if now.get(key) != value]
    made = f" with {', '.join(words)}, which decides no result" if words else ""
    return f"{stage.title} was made by an earlier version{made}"
