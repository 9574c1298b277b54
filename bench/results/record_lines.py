"""Records as they are, for analyses of one's own: a line for each number that they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.record import Record
from bench.results.frame import precision_of
from bench.results.mixtures import hardware_words

if TYPE_CHECKING:
    import pandas as pd

# A published form (docs/versioning.md): columns may be added at the end; these stay, with this meaning.
RECORD_COLUMNS = {
    "row": "name of the pretraining's config",
    "task": "name of the downstream config",
    "metric": "what was measured; its unit is part of its name, too",
    "part": "of a metric with several values: which class, learning rate or place of a spectrum; else empty",
    "value": "the number; NaN for a class that never occurred",
    "unit": "`%`, or empty",
    "seed": "of the pretraining",
    "task_seed": "of the task; that of the pretraining unless `--task-seeds` was given",
    "arch": "the network",
    "dataset": "what the task was measured on",
    "pretrain_set": "what was pretrained on; `none` for a control",
    "profile": "`full`, `mini` or `smoke`; only `full` is evidence",
    "kind": "kind of task",
    "precision": "what the task was computed in, as far as it is known",
    "recipe": "fingerprint of the pretraining, which its seeds share",
    "protocol": "hash of how it was measured; values of two protocols are not comparable",
    "data": "fingerprint of `dataset`; values on other data are not comparable, either",
    "fingerprint": "of the stage that measured it",
    "weights": "hash of the trunk's weights; empty in older records",
    "commit": "of the code, when the task ran; empty where it is not known",
    "changed": "whether that code had changes which were not committed",
    "hardware": "GPUs of the machine, or else its processor",
    "created": "when, UTC, ISO 8601",
    "record": "name of the record: what `bench trace` and `bench.load_trunk` take",
}


def record_lines(records: Sequence[Record]) -> pd.DataFrame:
    """Return one line for each number in `metrics` of each record, with RECORD_COLUMNS, in the order of the records."""
    import pandas as pd

    frame = pd.DataFrame([line for record in records for line in _lines(record)], columns=list(RECORD_COLUMNS))
    types: dict[str, Any] = {"value": "float64", "seed": "int64", "task_seed": "int64", "changed": "bool"}
    return frame.astype(types)


def _lines(record: Record) -> Iterator[tuple[Any, ...]]:
    prints = record.fingerprints
    before = record.pretrain, record.task
    after = (
        record.seed,
        record.own_seed,
        record.arch,
        record.dataset,
        record.pretrain_set,
        record.profile,
        record.kind,
        precision_of(record, "downstream") or "",
        prints.recipe,
        prints.protocol,
        record.data.get(record.dataset, ""),
        prints.stage,
        record.trunk or "",
        record.git.commit or "",
        bool(record.git.dirty),
        hardware_words(record.hardware) if record.hardware is not None else "",
        record.created,
        Path(record.file_name).stem,
    )
    for metric, value in record.metrics.items():
        unit = "%" if "percent" in metric.split("_") else ""
        for part, number in value.items() if isinstance(value, dict) else [("", value)]:
            yield (*before, metric, part, float("nan") if number is None else float(number), unit, *after)
