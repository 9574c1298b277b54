"""Records with the fingerprints that their pretraining and their protocol have today.

Earlier versions hashed settings that decide no result (bench/config/no_effect.py), so that records which differ in one
of these alone have other fingerprints. A table would show them as other rows, or in other columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from bench.config.no_effect import stand_ins, value_at
from bench.config.recipe import Recipe
from bench.config.tasks import KINDS
from bench.errors import BadInput
from bench.hashing import Hashed, hashed_as_set, hashed_settings, protocol_hash
from bench.plan import exported_digest, row_digest
from bench.record import Record

UNKNOWN = {"name": "-", "summary": "-", "source": ""}  # what a record does not keep of a config, and no hash has


def as_now(records: Sequence[Record]) -> list[Record]:
    """Return the records, each with the fingerprints of its pretraining and protocol as they are hashed today.

    A fingerprint changes only where the record's own settings, hashed as then, give the one that it has. So those of
    records that cannot be told anew stay as they are: of another version of a task's code, of a pretraining that
    continues another, or with an mmseg config that is not here.
    """
    return [_as_now(record) for record in records]


def without_effect(settings: dict[str, Any], kind: str | None, profile: str) -> dict[str, Any]:
    """Return the settings of a record's config that decide its result; `kind` is None for a pretraining."""
    left = stand_ins(settings, kind, profile)
    return {key: value for key, value in settings.items() if key not in left}


def _as_now(record: Record) -> Record:
    changed: dict[str, str] = {}
    if _differs(record, None) and (recipe := _recipe(record)):
        changed["recipe"] = recipe
    if record.kind in KINDS and _differs(record, record.kind) and (protocol := _protocol(record)):
        changed["protocol"] = protocol
    if not changed:
        return record
    return record.model_copy(update={"fingerprints": record.fingerprints.model_copy(update=changed)})


def _differs(record: Record, kind: str | None) -> bool:
    """Whether a setting without effect has another value than the one that is hashed."""
    settings = record.settings.get("pretrain" if kind is None else "downstream", {})
    usual = stand_ins(settings, kind, record.profile)
    return any(_plain(value_at(settings, key, value)) != _plain(value) for key, value in usual.items())


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _protocol(record: Record) -> str | None:
    """The hash of a record's protocol today; None where its settings do not give the one that it has."""
    settings = json.dumps(record.settings.get("downstream", {}), sort_keys=True)
    return _protocols(record.kind, record.profile, settings).get(record.fingerprints.protocol)


@lru_cache(4096)
def _protocols(kind: str, profile: str, settings: str) -> dict[str, str]:
    """{hash of a protocol as it was then: today's}, for each version that the code of a kind has had."""
    try:
        task = KINDS[kind].model_validate({**json.loads(settings), **UNKNOWN, "profile": profile})
        return {
            protocol_hash(task, hashed_as_set, version): protocol_hash(task, hashed_settings, version)
            for version in range(1, task.version + 1)
        }
    except (ValidationError, BadInput):  # of another version of bench, or a file that is not here
        return {}


def _recipe(record: Record) -> str | None:
    """The fingerprint of a record's pretraining today; None where its settings do not give the one that it has."""
    name = record.pretrain_set
    known = [{name: value} for key in (name, f"{name} (upstream)") if (value := record.data.get(key))] or [{}]
    settings = json.dumps(record.settings.get("pretrain", {}), sort_keys=True)
    return _rows(record.profile, settings, json.dumps(known)).get(record.fingerprints.recipe)


@lru_cache(4096)
def _rows(profile: str, settings: str, known: str) -> dict[str, str]:
    """{fingerprint of a pretraining as it was then: today's}, for each state of the data that it may have read."""
    try:
        recipe = Recipe.model_validate({**json.loads(settings), **UNKNOWN, "profile": profile})
    except (ValidationError, BadInput):
        return {}
    if recipe.init is not None:
        return {}
    return {_row(recipe, data, hashed_as_set): _row(recipe, data, hashed_settings) for data in json.loads(known)}


def _row(recipe: Recipe, data: dict[str, str], hashed: Hashed) -> str:
    values = {key: value for key, value in hashed(recipe).items() if key not in ("init", "export")}
    return exported_digest(row_digest(values, None, data), recipe.export)
