"""What stands behind a record: where it is, what it was made of and by, its load proof, its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from bench.made import Made
from bench.record import Metric, Record
from bench.results.made_words import commit_words, machine_words, ran_as_words
from bench.results.report.shown import Behind, Evidence, Stage
from bench.results.sections import EMPTY

Settings = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
SIDES: dict[Literal["pretrain", "downstream"], str] = {"pretrain": "Pretraining", "downstream": "Task"}


def evidence_of(record: Record, text: str | None, behind: Callable[[Record], Behind]) -> Evidence:
    """Return what stands behind a record; `text` is what its file holds, or None to leave that out."""
    return Evidence(
        key=record.fingerprints.stage,
        title=f"{record.pretrain} on {record.task}, {record.seeds}, profile {record.profile}",
        facts=tuple(_facts(record)),
        metrics=tuple((name, metric_words(value)) for name, value in record.metrics.items()),
        load_proof=tuple((name, f"{value:.3g}") for name, value in record.load_proof.items()),
        chain=tuple(_chain(record)),
        settings=settings_key(record),
        behind=behind(record),
        text=text,
    )


def settings_key(record: Record) -> str:
    """Return a short name for a record's settings, which records share that have the same."""
    text = json.dumps([record.profile, record.settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_of(record: Record) -> Settings:
    """Return the settings of the pretraining and of the task, as resolved, by dotted keys."""
    return tuple((SIDES[side], tuple(_flat(record.settings[side]))) for side in SIDES if record.settings.get(side))


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{start}{key}.")
        else:
            yield start + key, value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def metric_words(value: Metric) -> str:
    """Return a metric as text: a number, or one a class; – of a class that never occurred."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {EMPTY if one is None else f'{one:.2f}'}" for name, one in value.items())
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    prints = record.fingerprints
    yield "Record", f"records/{record.file_name}"
    yield "Made", record.created
    yield "Pretrained on", record.pretrain_set
    yield "Measured on", f"{record.dataset}, as a {record.kind} task"
    yield "Architecture", record.arch
    yield "Seeds", f"pretraining {record.seed}, task {record.own_seed}"
    yield "Hash of the weights", record.trunk or "not kept by the version that made it"
    if record.weights is not None:
        yield "Weights", f"{record.weights}, in the work folder"
    yield "Fingerprints", f"stage {prints.stage[:12]}, recipe {prints.recipe[:12]}, protocol {prints.protocol}"
    yield "Data", ", ".join(f"{name} {value}" for name, value in record.data.items()) or "none"
    if record.images_skipped:
        yield "Unreadable images", f"{record.images_skipped}, skipped"


def _chain(record: Record) -> Iterator[Stage]:
    """The stages from the first pretraining on; of an older record its last one, and the times of the others."""
    if record.chain:
        for title, made in record.chain.items():
            yield Stage(title, tuple(_made(made)))
        return
    facts = [("Code", commit_words(record.git))]
    if known := ", ".join(f"{name} {value}" for name, value in record.versions.items() if value is not None):
        facts.append(("Versions", known))
    if (hardware := record.hardware) is not None:
        words = [f"{hardware.cpu}, {hardware.cores} cores, {hardware.memory_gib} GiB", *hardware.gpus]
        facts.append(("Machine", "; ".join(words)))
    facts += [("Took", f"{stage} {seconds:,.0f} s") for stage, seconds in record.wall_seconds.items()]
    yield Stage(f"{record.kind} (of the stages before it this record knows times alone)", tuple(facts))


def _made(made: Made) -> Iterator[tuple[str, str]]:
    if not made.parts:
        yield "Made of", "not kept by the version that ran it"
    elif not made.whole:
        yield "Made of", "an earlier sitting, of which nothing was kept, and what follows"
    for part in made.parts:
        if len(made.parts) > 1 or part.sittings > 1:
            yield "Sittings", f"{part.sittings}, from {part.started} on"
        yield "Code", commit_words(part.git)
        yield "Versions", ", ".join(f"{name} {version}" for name, version in part.versions.items())
        yield "Machine", machine_words(part)
        yield "Ran as", ran_as_words(part)
    for intervention in made.interventions:
        yield "Did by itself", intervention.words
    if made.wall_seconds is not None:
        memory = ", ".join(f"{name} {value:,.0f} MiB" for name, value in made.peak_memory_mib.items())
        untimed = f"; not in that time: {', '.join(made.untimed)}" if made.untimed else ""
        yield "Took", f"{made.wall_seconds:,.0f} s, at most {memory or 'unknown memory'}{untimed}"
    if made.finished is not None:
        yield "Finished", made.finished
