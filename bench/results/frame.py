"""Records as a long frame: one line a record and number, with what tells rows and columns apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bench.config.tasks import KINDS
from bench.record import Record
from bench.results.interventions import interventions_of
from bench.results.other_code import stages_of_other_code
from bench.results.trunks import Trunks, task_seed_of

if TYPE_CHECKING:
    import pandas as pd

RECIPE = ["pretrain", "recipe"]  # records that agree in these are seeds of one pretraining
WAY = ["task", "protocol", "data"]  # … and in these, measured in the same way

AND = " and "  # between several precisions

COLUMNS = (
    "dataset",
    "pretrain_set",
    "backbone",
    "pretrain",
    "recipe",  # fingerprint of the pretraining, shared by its seeds
    "task",
    "kind",
    "protocol",
    "data",  # fingerprint of the data set that was measured on
    "precision",  # what the measurement was computed in, as far as that is known
    "computed_in",  # the same, where its config left that to the machine
    "pretrained_in",  # what the pretraining was computed in, where its config left that to the machine
    "other_code",  # the stages that ran other code than that of now
    "interventions",  # what the pretraining did by itself
    "trunk",  # of the row's records those of one trunk have the same
    "norm_seed",  # seeds that decided the value on its trunk: of images for a checkpoint's norms,
    "task_seed",  # and of the task
    "stage",  # fingerprint of the stage whose record it is
    "metric",
    "value",
)


def way_of(record: Record) -> tuple[str, str, str]:
    """Return (task, protocol, fingerprint of the data), which records share that were measured in the same way."""
    return record.task, record.fingerprints.protocol, record.data.get(record.dataset, "")


def precision_of(record: Record, side: Literal["pretrain", "downstream"]) -> str | None:
    """Return what one side of a record was computed in; None where nothing was trained, or it is not known.

    "bf16 and float32" of a pretraining that continues one in another precision.
    """
    setting = record.settings.get(side, {}).get("precision")
    kept = record.precision.get("pretrain" if side == "pretrain" else record.kind)
    if side == "pretrain" and kept is not None:
        earlier = (precision for stage, precision in record.precision.items() if stage.startswith("pretrain "))
        kept = AND.join(sorted({kept, *earlier}))
    trained = record.pretrain_set != "none" and record.settings.get("pretrain", {}).get("epochs") != 0
    return kept or (setting if setting != "auto" and (side == "downstream" or trained) else None)


def without_repeats(records: Sequence[Record], trunks: Trunks | None = None) -> list[Record]:
    """Return the records with each trunk and task seed of a cell once, in their order; `trunks` are by default theirs.

    A change in conversion alone gives a second record of the same row, column and seed. Counted as two seeds it
    would narrow the spread, so that only the newest counts. So do several records of the same weights by the same seed
    of the task, or by several that decide nothing.
    """
    newest: dict[tuple[object, ...], int] = {}
    numbers = (trunks or Trunks(records)).of(records)
    for place, record in sorted(enumerate(records), key=lambda pair: (pair[1].created, pair[1].fingerprints.stage)):
        row = record.pretrain, record.fingerprints.recipe, way_of(record), record.profile
        newest[*row, numbers[place], *task_seed_of(record)] = place
    return [records[place] for place in sorted(newest.values())]


def way_suffix(protocol: str, data: str, ways: Sequence[tuple[str, str]]) -> str:
    """Return what tells a column from others of its task, for its header; nothing when it is alone in `ways`."""
    if len(ways) == 1:
        return ""
    same_protocol = sum(other == protocol for other, _ in ways) > 1
    return f" [{protocol}, data {data[:8] or 'unknown'}]" if same_protocol else f" [{protocol}]"


def _headers(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """Return {kind: {metric: header}} of kinds from outside, the newest record's first.

    Records say it themselves, so that nothing that they name is imported. An edit of the kind may have taken metrics
    away, or renamed them: what older records measured keeps its column.
    """
    headers: dict[str, dict[str, str]] = {}
    for record in sorted(records, key=lambda one: (one.created, one.fingerprints.stage), reverse=True):
        if record.kind not in KINDS:
            percent = {
                name: name.removesuffix("_percent") for name in sorted(record.metrics) if name.endswith("_percent")
            }
            for name, header in (record.columns or percent).items():
                headers.setdefault(record.kind, {}).setdefault(name, header)
    return headers


def long_frame(records: Sequence[Record], logged: Sequence[str] = (), trunks: Trunks | None = None) -> pd.DataFrame:
    """Return one line per record and scalar metric, with the columns of COLUMNS, sorted by trunk and the task's seeds.

    Of the metrics in `logged`, which pretrainings log at their end, there is one line per trunk and data set, with an
    empty task, protocol and data. `trunks` are by default those of these records alone.
    """
    import pandas as pd

    numbers = (trunks or Trunks(records)).of(records)

    def lines() -> Iterator[tuple[Any, ...]]:
        for record, trunk, other in zip(records, numbers, stages_of_other_code(records), strict=True):
            row = record.dataset, record.pretrain_set, record.arch, record.pretrain, record.fingerprints.recipe
            task, protocol, data = way_of(record)
            measured, trained = precision_of(record, "downstream"), precision_of(record, "pretrain")
            computed_in = measured if record.settings.get("downstream", {}).get("precision") == "auto" else None
            trained_in = trained if record.settings.get("pretrain", {}).get("precision") == "auto" else None
            precisions = measured, computed_in, trained_in
            acts, stage = interventions_of(record), record.fingerprints.stage
            for name, value in record.metrics.items():
                if not isinstance(value, dict):
                    about = task, record.kind, protocol, data, *precisions, other, acts
                    yield (*row, *about, trunk, *task_seed_of(record), stage, name, float(value))
            precisions = trained, trained_in, trained_in
            other = tuple(stage for stage in other if stage == "pretrain")
            for name in logged:
                if name in record.pretrain_metrics:
                    about = "", "", "", "", *precisions, other, acts
                    yield (*row, *about, trunk, 0, 0, stage, name, record.pretrain_metrics[name])

    runs = ["trunk", "norm_seed", "task_seed"]
    frame = pd.DataFrame(lines(), columns=list(COLUMNS)).sort_values(runs, kind="stable", ignore_index=True)
    frame.attrs["headers"] = _headers(records)
    return frame.drop_duplicates(["dataset", *RECIPE, *WAY, "metric", *runs], keep="last", ignore_index=True)
