"""What tables are made of: measured records as a long frame, and published rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.files import PACKAGE
from bench.errors import BadInput
from bench.record import Record

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "profile",
    "pretrain_set",
    "pretrain",
    "backbone",
    "recipe",  # fingerprint of the pretraining, shared by its seeds
    "task",
    "kind",
    "protocol",
    "dataset",
    "data",  # fingerprint of the data set that was measured on
    "metric",
    "seed",
    "value",
    "stage",
)

# A published column -> (task, metric, factor to the metric's unit).
TRANSFER_COLUMNS = {
    "cityscapes_pspnet_aacc_percent": ("cityscapes_pspnet", "aacc_percent", 1),
    "cityscapes_pspnet_miou_percent": ("cityscapes_pspnet", "miou_percent", 1),
    "cityscapes_pspnet_macc_percent": ("cityscapes_pspnet", "macc_percent", 1),
    "imagenet_acc": ("imagenet_linear", "top1_percent", 100),
    "imagenet100_acc": ("imagenet100_linear", "top1_percent", 100),
}


@dataclass(frozen=True)
class PublishedRow:
    """A row of a published transfer table. `values`: (task, metric) -> value in the metric's unit."""

    pretrain_set: str
    pretrain: str
    backbone: str
    values: dict[tuple[str, str], float]


def reference_folder(results_dir: Path) -> Path:
    """Return where published rows lie: beside the records, or else with the package (or its checkout)."""
    own = results_dir / "reference"
    packed = PACKAGE / "shipped" / "reference"
    return own if own.is_dir() else packed if packed.is_dir() else PACKAGE.parent / "results" / "reference"


def without_repeats(records: Sequence[Record]) -> list[Record]:
    """Return the records with each seed of a cell once.

    A change in conversion alone gives a second record of the same row, column and seed. Counted as two seeds it
    would narrow the spread, so that only the newest counts.
    """
    newest: dict[tuple[object, ...], Record] = {}
    for record in sorted(records, key=lambda r: (r.created, r.fingerprints.stage)):
        newest[*row_key(record), *column_key(record), record.profile, record.seed] = record
    kept = {record.fingerprints.stage for record in newest.values()}
    return [record for record in records if record.fingerprints.stage in kept]


def row_key(record: Record) -> tuple[str, str]:
    """Records with the same key are seeds of one row: pretraining by name and fingerprint."""
    return record.pretrain, record.fingerprints.recipe


def column_key(record: Record) -> tuple[str, str, str]:
    """Records with the same key were measured the same way: task, protocol, fingerprint of the data."""
    return record.task, record.fingerprints.protocol, record.data.get(record.dataset, "")


def protocol_suffix(protocol: str, data: str, keys: Sequence[tuple[str, str]]) -> str:
    """Return what tells a column from others of its task, for its header; nothing when it is alone in `keys`."""
    if len(keys) == 1:
        return ""
    same_protocol = sum(other == protocol for other, _ in keys) > 1
    return f" [{protocol}, data {data[:8] or 'unknown'}]" if same_protocol else f" [{protocol}]"


def long_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return one line per record and scalar metric, with the columns of COLUMNS, sorted by all but the value."""
    import pandas as pd

    lines = []
    for record in records:
        same = {
            "profile": record.profile,
            "pretrain_set": record.pretrain_set,
            "pretrain": record.pretrain,
            "backbone": record.arch,
            "recipe": record.fingerprints.recipe,
            "task": record.task,
            "kind": record.kind,
            "protocol": record.fingerprints.protocol,
            "dataset": record.dataset,
            "data": record.data.get(record.dataset, ""),
            "seed": record.seed,
            "stage": record.fingerprints.stage,
        }
        lines += [
            same | {"metric": name, "value": float(value)}
            for name, value in record.metrics.items()
            if not isinstance(value, dict)
        ]
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    order = [name for name in COLUMNS if name != "value"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


# ---------------------------------------------------------------------------------------- published


def published_transfer(folder: Path) -> list[PublishedRow]:
    """Return the rows of `deck_transfer.csv`, in its order ([] if there is no such file)."""
    rows = []
    for line in _read(folder / "deck_transfer.csv", {"pretrain_dataset", "pretrain", "backbone", *TRANSFER_COLUMNS}):
        values = {}
        for column, (task, metric, factor) in TRANSFER_COLUMNS.items():
            if line[column]:
                values[task, metric] = _number(line[column], folder / "deck_transfer.csv") * factor
        rows.append(PublishedRow(line["pretrain_dataset"], line["pretrain"], line["backbone"], values))
    return rows


SMALL_LEADING = ("dataset", "image_size", "method", "epochs", "backbone", "batch_size")
SMALL_FRACTIONS = ("acc", "acc_5", "acc_knn")
SMALL_LOSSES = ("loss", "loss1", "loss2")


def published_small_images(folder: Path) -> list[tuple[tuple[str, ...], dict[str, float]]]:
    """Return ((dataset, image size, method, epochs, backbone, batch), {column: value}) of `deck_small_images.csv`.

    Accuracies are returned in percent, losses as they are.
    """
    file = folder / "deck_small_images.csv"
    rows = []
    for line in _read(file, {*SMALL_LEADING, *SMALL_FRACTIONS, *SMALL_LOSSES}):
        values = {name: _number(line[name], file) * 100 for name in SMALL_FRACTIONS if line[name]}
        values |= {name: _number(line[name], file) for name in SMALL_LOSSES if line[name]}
        rows.append((tuple(line[name] for name in SMALL_LEADING), values))
    return rows


def _read(file: Path, columns: set[str]) -> list[dict[str, str]]:
    """The lines of a CSV file whose head may hold comments (#)."""
    if not file.is_file():
        return []
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    reader = csv.DictReader(lines, restval="")
    if set(reader.fieldnames or ()) != columns:
        raise BadInput(f"{file} has other columns than {', '.join(sorted(columns))}; restore it from version control.")
    return list(reader)


def _number(text: str, file: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{file} holds {text!r} where a number belongs; restore it from version control.") from None
