"""What a stage and all stages before it were made of: noted when each is begun, gathered when it ends."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.recipe import Recipe
from bench.errors import BadInput
from bench.execute.stage_file import Done, StageFile, finished, read_stage
from bench.files import read_json, write_text
from bench.made import Intervention, Made, NormGroups, Part, part, with_part

FILE = "made.json"  # in a stage's folder: its sittings so far


def part_of(stage: StageFile, precision: str | None) -> Part:
    """Return what this process, the first of its stage, runs that stage with. Called under torchrun in each rank."""
    processes = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    trained = stage.kind == "pretrain" and stage.recipe.epochs > 0
    groups = norm_groups_of(stage.recipe, processes) if trained else None
    return part(processes=processes, precision=precision, unreadable=stage.unreadable, norm_groups=groups)


def norm_groups_of(recipe: Recipe, processes: int) -> NormGroups:
    """Return how many images share a batch norm's statistics on so many processes, and how many groups there are."""
    batch = recipe.batch_size // recipe.accumulate
    size = recipe.norm_images or (batch if recipe.sync_bn else max(1, batch // processes))
    return NormGroups(images=size, groups=batch // size)


def begin(folder: Path, stage: StageFile, now: Part, *, resumed: bool) -> Made:
    """Note a sitting in the stage's folder, and return the stage with all of them.

    Those before count where the stage is `resumed` from what they left; otherwise it starts anew.
    """
    kept = read_json(folder / FILE)
    parts: tuple[Part, ...] = ()
    whole = True
    if resumed:
        try:
            before = Made.model_validate(kept)
            parts, whole = before.parts, before.whole and before.fingerprint == stage.fingerprint and bool(before.parts)
        except ValueError:  # pydantic's: of a version that kept nothing, or damaged
            whole = False
    made = Made(fingerprint=stage.fingerprint, parts=with_part(parts, now), whole=whole)
    content = made.model_dump(mode="json", include={"fingerprint", "parts", "whole"})
    write_text(folder / FILE, json.dumps(content, indent=1) + "\n")
    return made


def ended(made: Made, done: Done) -> Made:
    """Return what a stage was made of, with what it left in `done`."""
    return made.model_copy(update=_outcome(done))


def chain_before(stage: StageFile, work_dir: Path) -> dict[str, Made]:
    """Return {title: what it was made of} of all stages before one, the first one first.

    A parent's `done.json` has those before it, so that their folders may be deleted. Of older versions' stages the
    folders say what they can; those that are gone are left out.
    """
    chain: dict[str, Made] = {}
    for place in dict.fromkeys(stage.inputs.values()):
        with contextlib.suppress(BadInput):  # a folder that is no longer there, or not finished
            parent, done = read_stage(work_dir / place), finished(work_dir / place)
            known = done.chain or {
                **chain_before(parent, work_dir),
                parent.title: Made(fingerprint=parent.fingerprint, **_outcome(done)),
            }
            chain = joined(chain, known)
    return chain


def joined(chain: Mapping[str, Made], more: Mapping[str, Made]) -> dict[str, Made]:
    """Return `chain` with `more`; another stage of the same title has its fingerprint added to it."""
    result = dict(chain)
    for title, made in more.items():
        there = result.setdefault(title, made)
        if there.fingerprint != made.fingerprint:
            result[f"{title} {made.fingerprint[:12]}"] = made
    return result


def _outcome(done: Done) -> dict[str, Any]:
    return {
        "precision": done.precision,
        "images_skipped": int(done.metrics.get("images_skipped", 0)),
        "wall_seconds": done.wall_seconds,
        "untimed": tuple(done.untimed),
        "peak_memory_mib": done.peak_memory_mib,
        "finished": done.finished,
        "interventions": tuple(map(Intervention.model_validate, done.metrics.get("interventions", ()))),
    }
