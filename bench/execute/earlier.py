"""Results that lie under the fingerprint of an earlier version, and are those that a plan asks for.

Settings that decide no result (bench/config/no_effect.py) once were in the fingerprints. So a stage may lie under
another one, with other values of such settings. Which values that may have been is read off the folders and records
of the same label; whether one is the stage that is planned, is not taken from what it says of itself: its
fingerprint must be the one that this plan, with these values, had in an earlier version.
"""

from __future__ import annotations

import json
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
        self._names: dict[Path, list[str]] = {}
        self._told: dict[tuple[str, int], list[Values]] = {}

    def found(self, stages: Sequence[Stage]) -> list[Stage]:
        """Return the stages, parents first, each with the fingerprint that it lies under."""
        known: dict[str, Stage] = {}
        for stage in stages:
            kept_as = None if self._lies(stage) else self._kept_as(stage)
            parents = {role: known[parent.fingerprint] for role, parent in stage.parents.items()}
            known[stage.fingerprint] = replace(stage, kept_as=kept_as, parents=parents)
        return list(known.values())

    def _lies(self, stage: Stage) -> bool:
        """Whether a stage lies under its own fingerprint, finished or not."""
        if stage.is_task and stage.record_name in self._listed(self.records):
            return True
        place = self.work_dir / stage.folder
        return place.name in self._listed(place.parent)

    def _kept_as(self, stage: Stage) -> str | None:
        """The earlier fingerprint under which a stage lies: a record's, else a finished folder's, else any folder's."""
        places = self._places(stage)
        if not places:
            return None
        contents = {place: read_json(place) for _, place in sorted(places)}
        lineage = self._lineage(stage.recipe)
        of_recipes = [self._of_recipe(recipe, stage.seed) for recipe in lineage.values()]
        of_task = _values(stage.config, contents.values()) if isinstance(stage.config, Task) else [{}]
        then: dict[str, Values] = {}  # fingerprint -> the values that it had
        for task, *values in islice(product(of_task, *of_recipes), MOST):
            recipes = {
                name: with_values(recipe, each) for (name, recipe), each in zip(lineage.items(), values, strict=True)
            }
            then.setdefault(self._as_then(stage, recipes, task), {**values[0], **task})
        for content in contents.values():
            if (fingerprint := _fingerprint(content)) in then:
                self.notes.append(_note(stage, then[fingerprint]))
                return fingerprint
        return None

    def _places(self, stage: Stage) -> list[tuple[int, Path]]:
        """What has a stage's label under other fingerprints: (0, record), (1, finished folder), (2, another folder)."""
        found: list[tuple[int, Path]] = []
        if stage.is_task:
            head = stage.record_name.removesuffix(f"{stage.fingerprint[:12]}.json")
            found += [(0, self.records / name) for name in self._listed(self.records) if name.startswith(head)]
        place = self.work_dir / stage.folder
        head = place.name.removesuffix(stage.fingerprint[:12])
        for name in self._listed(place.parent):
            if name.startswith(head) and len(name) == len(place.name):
                folder = place.parent / name
                found.append((1 if (folder / DONE).is_file() else 2, folder / STAGE))
        return found

    def _listed(self, folder: Path) -> list[str]:
        if folder not in self._names:
            self._names[folder] = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
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
            contents = [
                read_json(self.records / name) for name in self._listed(self.records) if _is_of(name, recipe, seed)
            ]
            for kind in ("pretrain", "convert"):
                names = self._listed(self.work_dir / kind)
                own = [name for name in names if name.startswith(f"{recipe.name}-s{seed}-")]
                contents += [read_json(self.work_dir / kind / name / STAGE) for name in own]
            self._told[recipe.name, seed] = _values(recipe, contents)
        return self._told[recipe.name, seed]

    def _as_then(self, stage: Stage, lineage: Mapping[str, Recipe], task: Values) -> str:
        """The fingerprint that a stage had with these recipes and values of its task."""
        planner, recipe = self.planner({**self.recipes, **lineage}), lineage[stage.recipe.name]
        if stage.kind == "pretrain":
            return planner.pretrain(recipe, stage.seed).fingerprint
        trunk = planner.convert(recipe, stage.seed)
        if not isinstance(stage.config, Task):
            return trunk.fingerprint
        return planner.task(with_values(stage.config, task), recipe, trunk, stage.seed).fingerprint


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
    return list({json.dumps(each, sort_keys=True, default=str): each for each in told}.values())


def _like(value: Any, other: Any) -> Any:
    """Another value of a setting, as read from JSON, in the type that the setting has."""
    return tuple(other) if isinstance(value, tuple) and isinstance(other, list) else other


def _is_of(record: str, recipe: Recipe, seed: int) -> bool:
    return record.startswith(f"{recipe.name}__") and f"__s{seed}__" in record


def _fingerprint(content: Mapping[str, Any]) -> str:
    """Of a `stage.json` or a record; "" of another file."""
    return str(content.get("fingerprint") or value_at(content, "fingerprints.stage", ""))


def _note(stage: Stage, then: Values) -> str:
    """Say what was another value when a stage was made."""
    now = effectless(stage.recipe) | (effectless(stage.config) if isinstance(stage.config, Task) else {})
    words = [f"{key}={value}" for key, value in then.items() if now.get(key) != value]
    made = f" with {', '.join(words)}, which decides no result" if words else ""
    return f"{stage.title} was made by an earlier version{made}"
