"""Code from outside of this package that a stage was planned with, and whether it is still the same.

A fingerprint has the content of these files. A stage that ran other code under it would be recorded as what it is not.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from bench.config.objective_settings import portable
from bench.config.objective_source import GROUP as OBJECTIVES
from bench.config.objective_source import definition_of, objectives
from bench.config.recipe import Recipe
from bench.config.tasks import GROUP as KINDS_GROUP
from bench.config.tasks import KINDS, Task
from bench.data.sets import DATA_SETS
from bench.data.sets import GROUP as DATA_SETS_GROUP
from bench.errors import BadInput
from bench.plugins import Source, entries, locate


def sources_of(recipe: Recipe, task: Task | None) -> dict[str, str]:
    """Return {file: 16 hex digits of its content} of the objective, data sets and kind of task that are not ours."""
    named: list[tuple[str, str, Container[str]]] = [
        (str(recipe.objective["name"]), OBJECTIVES, objectives()),
        (recipe.dataset, DATA_SETS_GROUP, DATA_SETS),
    ]
    if task is not None:
        named += [(task.dataset, DATA_SETS_GROUP, DATA_SETS), (task.kind, KINDS_GROUP, KINDS)]
    sources = [_source(name, group) for name, group, ours in named if name not in ours]
    return {str(source.file): source.hash for source in sources if source is not None}


def check_unchanged(sources: Mapping[str, str], recipe: Recipe, task: Task | None) -> None:
    """Raise BadInput where a file has another content than `sources`, of the plan, says; {} where that kept none."""
    now = sources_of(recipe, task) if sources else {}
    for file, planned in sources.items():
        if now.get(file) != planned:
            raise BadInput(f"{file} changed since it was planned; run bench run again.")


def check_definition(definitions: Mapping[str, int], recipe: Recipe) -> None:
    """Raise BadInput where the recipe's objective has another definition than `definitions`, of the plan, says.

    An objective that the plan does not name, as older ones don't, had its first.
    """
    planned = definitions.get(str(portable(recipe.objective)["name"]), 1)
    if (now := definition_of(str(recipe.objective["name"]))) != planned:
        raise BadInput(
            f"The objective of {recipe.name} has definition {now}, and this was planned with definition {planned}; "
            "run bench run again."
        )


def _source(name: str, group: str) -> Source | None:
    """Where a name from outside leads; None where it leads nowhere, as that of a data set that only mmseg reads."""
    return locate(name, group) if ":" in name or name in entries(group) else None
