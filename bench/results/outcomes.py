"""The outcomes of images that records have beside them, read only as they were written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import outcomes
from bench.errors import BadInput
from bench.files import sha256_of
from bench.outcomes import Outcomes, disagreement
from bench.record import Record
from bench.results.image_statistics import METRICS as METRICS

REMEDY = "restore it from version control, or delete the record and run its stage again"


def outcomes_of(record: Record, folder: Path) -> Outcomes | None:
    """Return what a record in `folder` says of each image; None where it says nothing (`Record.outcomes`).

    Raises BadInput where the file is missing, is not the one that was written with the record, or does not give the
    record's metrics.
    """
    if record.outcomes is None:
        return None
    file = folder / record.outcomes_name
    if not file.is_file():
        raise BadInput(f"{file} is missing, though its record names it; {REMEDY}.")
    try:
        if sha256_of(file) != record.outcomes.sha256:
            raise BadInput(f"{file} is not what was written with its record (its sha256 is another); {REMEDY}.")
        result = outcomes.read(file)
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}); {REMEDY}.") from error
    if said := disagreement(result, record.metrics):
        raise BadInput(f"{folder / record.file_name} was edited: {said}; {REMEDY}.")
    return result


def why_not_paired(records: Sequence[Record], metric: str) -> str | None:
    """Say why a metric of records cannot be compared image by image, or None where it can; reads no outcomes.

    Those of one protocol on one state of a data set can, where each has outcomes; that they are of the same images is
    checked when they are compared.
    """
    if metric not in METRICS:
        return f"{metric} is no mean or ratio over images"
    if without := [record.file_name for record in records if record.outcomes is None]:
        return f"{without[0]} has no outcomes of images"
    if len({record.fingerprints.protocol for record in records}) > 1:
        return "their protocols differ"
    if len({record.data.get(record.dataset) for record in records}) > 1:
        return f"their data of {records[0].dataset} differ"
    return None
