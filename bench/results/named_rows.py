"""Which rows the words of a command line mean."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import BadInput, nearest
from bench.record import Record

PROFILES = ("full", "mini", "smoke")


def label_of(record: Record) -> str:
    """Return `name @hash`, which tells a row whatever else there is."""
    return f"{record.pretrain} @{record.fingerprints.recipe[:8]}"


def rows_of(
    words: Sequence[str], records: Sequence[Record], profile: str | None = None
) -> tuple[str, list[list[Record]]]:
    """Return the profile, and for each word the records of its row, those of the lowest seeds first.

    A word is the name of a pretraining, or `name @hash` where several recipes share it, as tables write it. Without
    `profile` it is the first of full, mini and smoke in which all have records. Raises BadInput for a row that is not
    there, with the nearest names, or ambiguous.
    """
    profiles = [profile] if profile else list(PROFILES)
    rows = {each: [_rows_named(word, each, records) for word in words] for each in profiles}
    whole = [each for each in profiles if all(rows[each])]
    if not whole:
        for i, word in enumerate(words):
            if not any(rows[each][i] for each in profiles):
                known = dict.fromkeys(name for record in records for name in (record.pretrain, label_of(record)))
                where = f" in profile {profile}" if profile else ""
                raise BadInput(
                    f"There is no measured row {word!r}{where}{nearest(word, known) or '; bench table shows all.'}"
                )
        raise BadInput(f"{' and '.join(words)} have records in different profiles alone; name rows of one profile.")
    for word, found in zip(words, rows[whole[0]], strict=True):
        if len(found) > 1:
            labels = ", ".join(sorted(label_of(row[0]) for row in found))
            raise BadInput(f"Row {word!r} is ambiguous in profile {whole[0]}; say one of {labels}.")
    return whole[0], [found[0] for found in rows[whole[0]]]


def _rows_named(word: str, profile: str, records: Sequence[Record]) -> list[list[Record]]:
    """The rows that a word may mean, each with its records."""
    rows: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda one: (one.seed, one.own_seed)):
        if record.profile == profile and word in {record.pretrain, label_of(record)}:
            rows.setdefault(record.fingerprints.recipe, []).append(record)
    return list(rows.values())
