"""What the outcomes of images say of two rows in one way of measuring: of each alone, and of their difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BadInput
from bench.outcomes import Outcomes
from bench.record import Record
from bench.results.image_statistics import ImageInterval, compare_images, interval_of_images
from bench.results.outcomes import outcomes_of, why_not_paired
from bench.results.trunks import Trunks


@dataclass(frozen=True)
class Interval:
    """Of a difference: where it lies in 95 of 100 repetitions, its p and that of Holm's correction over the columns.

    `effect` is the difference that the interval is about. By images it is taken on those that all results read, and
    may so be another than that of the displayed means.
    """

    effect: float
    low: float
    high: float
    p: float
    adjusted: float
    covers: str  # what varies from repetition to repetition


class RowImages:
    """The outcomes of two rows, each read when it is first asked for."""

    def __init__(self, ours: Sequence[Record], theirs: Sequence[Record], folder: Path, trunks: Trunks) -> None:
        """Take the records of both rows, which lie in `folder`, and the trunks of all records."""
        self.rows, self.folder = (ours, theirs), folder
        self.trunks = [trunks.of(records) for records in self.rows]
        self._read: dict[int, list[Outcomes]] = {}

    def difference(self, metric: str) -> tuple[Interval | None, str]:
        """Return the interval of ours less theirs, and how it was made; or None and why there is none."""
        if why := why_not_paired([record for records in self.rows for record in records], metric):
            return None, why
        ours, theirs = self._outcomes(0), self._outcomes(1)
        try:
            found = compare_images(ours, theirs, metric, trunks_a=self.trunks[0], trunks_b=self.trunks[1])
        except BadInput as error:  # of other images than the other row's
            return None, str(error).rstrip(".")
        covers = "other images of this kind, for these very trunks"
        every = ours[0].images
        count = f"{found.n_images}" if found.n_images == every else f"{found.n_images} of {every}"
        read = "" if found.n_images == every else ", which all could read"
        words = f"{found.method}, {count} images{read}"
        return Interval(found.effect, found.low, found.high, found.p, found.p, covers), words

    def alone(self, side: int, metric: str) -> ImageInterval | None:
        """Return the metric of one row (0: ours, 1: theirs) with its interval; None where outcomes do not give it."""
        if why_not_paired(self.rows[side], metric):
            return None
        outcomes = self._outcomes(side)
        try:
            return interval_of_images(outcomes, metric, trunks=self.trunks[side])
        except BadInput:  # its results are of different images
            return None

    def _outcomes(self, side: int) -> list[Outcomes]:
        if side not in self._read:
            read = [outcomes_of(record, self.folder) for record in self.rows[side]]
            self._read[side] = [each for each in read if each is not None]
        return self._read[side]
