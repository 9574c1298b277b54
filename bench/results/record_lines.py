"""Records as they are, for analyses of one's own: a line for each number that they hold."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.record import Record
from bench.results.definitions import older_definition
from bench.results.frame import precision_of
from bench.results.interventions import interventions_of
from bench.results.other_code import stages_of_other_code
from bench.results.resources import machine

if TYPE_CHECKING:
    import pandas as pd

# A published form (docs/versioning.md): these stay, in this order and with this meaning; new ones come at the end.
RECORD_COLUMNS = {
    "row": "name of the pretraining's config",
    "pretrain_set": "what was pretrained on; `none` for a control",
    "arch": "the network",
    "profile": "`full`, `mini` or `smoke`; only `full` is evidence",
    "task": "name of the downstream config",
    "kind": "kind of task",
    "dataset": "what the task was measured on",
    "seed": "of the pretraining",
    "task_seed": "of the task; that of the pretraining unless `--task-seeds` was given",
    "metric": "what was measured, without `_percent`",
    "class": "of a metric with several values: which class, learning rate or place of a spectrum; else empty",
    "value": "the number; a class that never occurred has no line",
    "unit": "`percent`, or empty",
    "recipe": "fingerprint of the pretraining, which its seeds share",
    "protocol": "hash of how it was measured; values of two protocols are not comparable",
    "stage": "fingerprint of this very result",
    "data": "fingerprint of `dataset`; values on other data are not comparable, either",
    "weights": "hash of the trunk's weights; empty in older records",
    "precision": "what the task was computed in; empty where it is not known",
    "commit": "of the code, when the task ran; empty where it is not known",
    "changed_code": "`yes` or `no`: whether it had changes that were not committed; empty where it is not known",
    "other_code": "stages that ran other code than that of now",
    "older_definition": "of the objective, where the result is of an earlier one",
    "interventions": "what the pretraining did by itself",
    "machine": "that measured",
    "images_skipped": "how many images could not be read, and were left out",
    "created": "when, UTC, ISO 8601",
    "record": "name of the record's file, which `bench trace` and `bench.load_trunk` take",
}
PERCENT = "_percent"


def record_lines(records: Sequence[Record]) -> pd.DataFrame:
    """Return one line for each number in `metrics` of each record, with RECORD_COLUMNS, in the order of the records."""
    import pandas as pd

    pairs = zip(records, stages_of_other_code(records), strict=True)
    frame = pd.DataFrame(
        [line for record, other in pairs for line in lines_of(record, other)], columns=[*RECORD_COLUMNS]
    )
    types: dict[str, Any] = {"value": "float64", **dict.fromkeys(("seed", "task_seed", "images_skipped"), "int64")}
    return frame.astype(types)


def lines_of(record: Record, other: Sequence[str], metrics: Container[str] | None = None) -> Iterator[tuple[Any, ...]]:
    """Give the lines of one record, each with the values of RECORD_COLUMNS, of all its metrics or of `metrics`.

    `other` are the stages that ran other code than that of now.
    """
    prints, changed = record.fingerprints, record.git.dirty
    before = (
        record.pretrain,
        record.pretrain_set,
        record.arch,
        record.profile,
        record.task,
        record.kind,
        record.dataset,
        record.seed,
        record.own_seed,
    )
    after = (
        prints.recipe,
        prints.protocol,
        prints.stage,
        record.data.get(record.dataset, ""),
        record.trunk or "",
        precision_of(record, "downstream") or "",
        record.git.commit or "",
        "" if changed is None else "yes" if changed else "no",
        ", ".join(other),
        older_definition(record),
        "; ".join(interventions_of(record)),
        machine(record.hardware),
        record.images_skipped,
        record.created,
        record.file_name,
    )
    for metric, value in record.metrics.items():
        if metrics is not None and metric not in metrics:
            continue
        unit = "percent" if metric.endswith(PERCENT) else ""
        for name, number in value.items() if isinstance(value, dict) else [("", value)]:
            if number is not None:
                yield (*before, metric.removesuffix(PERCENT), name, number, unit, *after)
