"""What two rows were pretrained with that differs, and what mars a comparison of their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from bench.config.kinds import STEPS
from bench.config.objective_settings import settings_of
from bench.config.objective_source import objectives
from bench.config.recipe import Recipe
from bench.record import Record
from bench.results.as_now import UNKNOWN, without_effect
from bench.results.definitions import older_definition
from bench.results.frame import precision_of
from bench.results.interventions import intervention_words, interventions_of
from bench.results.mixtures import ASPECTS, known_stages
from bench.results.other_code import stages_of_other_code
from bench.results.sections import EMPTY

_NO_SETTING = frozenset({*UNKNOWN, "profile", "kind"})
_MISSING = object()
# What weights depend on that nothing trains.
_OF_WEIGHTS = frozenset({"arch", "stem", "init", "export", "zero_init_residual", "norm_statistics", "dataset"})


@dataclass(frozen=True)
class Difference:
    """A setting that two rows have otherwise, by its dotted key, and its values as text; – where there is none."""

    key: str
    ours: str
    theirs: str


def settings_apart(ours: Record, theirs: Record) -> list[Difference]:
    """Return the settings of two pretrainings that differ, without those that decide no result.

    A setting that a record is too old to have is at its default. The data that they were trained on are settings here.
    Where a side trains nothing, only what its weights depend on is compared, and which objective the other has.
    """
    values, others = _settings(ours), _settings(theirs)
    differences = []
    untrained = [not _trained(ours), not _trained(theirs)]
    for key in dict.fromkeys([*values, *others]):
        if any(untrained) and key.partition(".")[0] not in _OF_WEIGHTS and key != "objective.name":
            continue
        value, other = (_text(each.get(key, _MISSING)) for each in (values, others))
        if value != other:
            differences.append(Difference(key, value, other))
    if ours.pretrain_set == theirs.pretrain_set and (data := _text(ours.data.get(ours.pretrain_set, _MISSING))) != (
        other := _text(theirs.data.get(theirs.pretrain_set, _MISSING))
    ):
        differences.append(Difference(f"fingerprint of {ours.pretrain_set}", data, other))
    return differences


def _trained(record: Record) -> bool:
    return record.pretrain_set != "none" and record.settings.get("pretrain", {}).get("epochs") != 0


def _settings(record: Record) -> dict[str, Any]:
    """{dotted key: value} of a record's pretraining, with defaults for what it does not say."""
    told = record.settings.get("pretrain", {})
    decisive = without_effect(told, None, record.profile)
    fields = {key: each.default for key, each in Recipe.model_fields.items() if not each.is_required()}
    name = told.get("objective", {}).get("name")
    objective = {key: each.default for key, each in settings_of(name).items()} if name in objectives() else {}
    whole = {key: value for key, value in fields.items() if key not in told} | decisive
    whole["objective"] = {"name": name} | objective | dict(whole.get("objective", {}))
    return dict(_flat({key: value for key, value in whole.items() if key not in _NO_SETTING}))


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")
        else:
            yield start + key, value


def _text(value: Any) -> str:
    if value is _MISSING:
        return EMPTY
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str)


def what_mars(rows: Mapping[str, Sequence[Record]], other_code: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Return a sentence for each thing beside the settings that two rows do not have in common, or that is not right.

    `rows` are {label: records} of the results that are compared: definitions of objectives, precision, code, commits,
    versions, machines, and files that were skipped. `other_code` are the stages of each record, by the fingerprint of
    its own, that ran other code than that of now; by default they are looked up, which takes a while.
    """
    sentences = []
    for label, records in rows.items():
        if older := next((words for record in records if (words := older_definition(record))), ""):
            sentences.append(f"{label} was pretrained by an older definition of its objective ({older}).")
    sentences += _apart("Pretrained in different precisions", rows, lambda record: [precision_of(record, "pretrain")])
    sentences += _apart("Measured in different precisions", rows, lambda record: [precision_of(record, "downstream")])
    for label, records in rows.items():
        ran = (
            stages_of_other_code(records)
            if other_code is None
            else [other_code.get(record.fingerprints.stage, ()) for record in records]
        )
        if stages := list(dict.fromkeys(stage for some in ran for stage in some)):
            sentences.append(f"{label} was made by other code than that of now: {', '.join(stages)}.")
        if acts := intervention_words(map(interventions_of, records)):
            sentences.append(f"{label} was pretrained with what its recipe lets a training do by itself: {acts}.")
    sentences += _code_apart(rows)
    for aspect in ASPECTS:
        found = _apart(
            f"Different {aspect.name}",
            rows,
            lambda record, value=aspect.value: [
                value(part) for parts in known_stages(record).values() for part in parts
            ],
        )
        sentences += found
    for label, records in rows.items():
        if any(part.git.dirty for each in records for parts in known_stages(each).values() for part in parts):
            sentences.append(f"{label} was made by code with changes that were not committed.")
        if skipped := sum(record.images_skipped for record in records):
            sentences.append(f"{label}: {skipped} unreadable images were skipped.")
    return sentences


def _apart(what: str, rows: Mapping[str, Sequence[Record]], values: Any) -> list[str]:
    """A sentence where what is known of one row is not what is known of the other."""
    found = {
        label: {value for record in records for value in values(record) if value is not None}
        for label, records in rows.items()
    }
    if len({frozenset(each) for each in found.values() if each}) < 2:
        return []
    said = "; ".join(f"{label}: " + ", ".join(sorted(each)) for label, each in found.items() if each)
    return [f"{what}: {said}."]


def _code_apart(rows: Mapping[str, Sequence[Record]]) -> list[str]:
    """Of the stages of tasks, whose code depends on no objective: whether both rows ran the same."""
    digests: dict[str, list[set[str]]] = {}
    for records in rows.values():
        of_row: dict[str, set[str]] = {}
        for record in records:
            for stage, used in record.code.items():
                if stage.partition(" ")[0] not in STEPS:
                    of_row.setdefault(stage, set()).update(each.digest for each in used)
        for stage, known in of_row.items():
            digests.setdefault(stage, []).append(known)
    apart = [stage for stage, known in digests.items() if len(known) > 1 and any(each != known[0] for each in known)]
    return [f"The two rows ran different code in: {', '.join(apart)}."] if apart else []
