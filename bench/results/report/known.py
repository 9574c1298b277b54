"""Records by the fingerprints of their stages, and what mars the comparison of two rows of them, looked up once."""

from __future__ import annotations

from collections.abc import Sequence

from bench.record import Record
from bench.results.other_code import stages_of_other_code
from bench.results.row_settings import what_mars


class Known:
    """The records that tables are made of."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Find out which of their stages ran other code than that of now."""
        self._by_stage = {record.fingerprints.stage: record for record in records}
        pairs = zip(self._by_stage, stages_of_other_code(list(self._by_stage.values())), strict=True)
        self._other_code = dict(pairs)
        self._found: dict[tuple[object, ...], list[str]] = {}

    def of(self, stages: Sequence[str]) -> list[Record]:
        """Return the records of these stages, in their order; of those that there are."""
        return [self._by_stage[stage] for stage in stages if stage in self._by_stage]

    def mars(self, name: str, stages: Sequence[str], other: str, others: Sequence[str]) -> list[str]:
        """Return a sentence for each thing that mars the comparison of two rows, by their names and stages."""
        key = name, tuple(stages), other, tuple(others)
        if key not in self._found:
            self._found[key] = what_mars({name: self.of(stages), other: self.of(others)}, self._other_code)
        return self._found[key]
