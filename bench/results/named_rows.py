"""Which rows the words of a command line mean."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from bench.errors import BadInput, nearest
from bench.record import Record
from bench.results.frame import way_of

PROFILES = ("full", "mini", "smoke")
USUAL_STEM = "imagenet"


def label_with_hash(name: str, recipe: str) -> str:
    """Return `name @hash` of a pretraining's name and its recipe's fingerprint, which tells a row from all others."""
    return f"{name} @{recipe[:8]}"


def label_of(record: Record) -> str:
    """Return `name @hash` of a record's row."""
    return label_with_hash(record.pretrain, record.fingerprints.recipe)


def network_words(arch: str, stem: str) -> str:
    """Return a network, with its stem where that is not the usual one."""
    return arch if stem == USUAL_STEM else f"{arch} ({stem} stem)"


def rows_of(
    words: Sequence[str], records: Sequence[Record], profile: str | None = None
) -> tuple[str, list[list[Record]]]:
    """Return the profile, and for each word the records of its row, those of the lowest seeds first.

    A word is the name of a pretraining, or `name @hash` where several recipes share it, as tables write it; of several
    that share a name, the one that was measured in the way of another word's row is meant. Without `profile` it is the
    first of full, mini and smoke in which all have records. Raises BadInput for a row that is not there, with the
    nearest names, or ambiguous.
    """
    profiles = [profile] if profile else list(PROFILES)
    rows = {each: [_rows_named(word, each, records) for word in words] for each in profiles}
    whole = [each for each in profiles if all(rows[each])]
    if not whole:
        for i, word in enumerate(words):
            if not any(rows[each][i] for each in profiles):
                raise BadInput(_not_there(word, records, profile))
        raise BadInput(f"{' and '.join(words)} have records in different profiles alone; name rows of one profile.")
    found = rows[whole[0]]
    meant = [_meant(i, found) for i in range(len(words))]
    for word, of_word in zip(words, meant, strict=True):
        if len(of_word) > 1:
            labels = sorted(f"{shlex.quote(label_of(row[0]))} ({_network(row[0])})" for row in of_word)
            raise BadInput(f"Row {word!r} is ambiguous in profile {whole[0]}; say one of {', '.join(labels)}.")
    return whole[0], [of_word[0] for of_word in meant]


def _meant(place: int, found: Sequence[Sequence[list[Record]]]) -> Sequence[list[Record]]:
    """Of the rows that one word may mean, those that share a column with one that another word may mean; else all."""
    others = {way_of(record) for i, rows in enumerate(found) if i != place for row in rows for record in row}
    sharing = [row for row in found[place] if any(way_of(record) in others for record in row)]
    return sharing or found[place]


def _not_there(word: str, records: Sequence[Record], profile: str | None) -> str:
    if not records:
        return f"There is no measured row {word!r}: there are no records; give the --results-dir that they are in."
    where = f" in profile {profile}" if profile else ""
    elsewhere = [each for each in PROFILES if each != profile and _rows_named(word, each, records)]
    if elsewhere:
        return f"There is no measured row {word!r}{where}; it has records in profile {' and '.join(elsewhere)}."
    known = dict.fromkeys(
        name for record in records if profile in {None, record.profile} for name in (record.pretrain, label_of(record))
    )
    return f"There is no measured row {word!r}{where}{nearest(word, known) or '; bench table shows all.'}"


def _network(record: Record) -> str:
    """What the networks of two rows of one name may differ in."""
    stem = record.settings.get("pretrain", {}).get("stem", USUAL_STEM)
    return record.arch if stem == USUAL_STEM else f"{record.arch}, {stem} stem"  # it stands in brackets


def _rows_named(word: str, profile: str, records: Sequence[Record]) -> list[list[Record]]:
    """The rows that a word may mean, each with its records."""
    rows: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda one: (one.seed, one.own_seed)):
        if record.profile == profile and word in {record.pretrain, label_of(record)}:
            rows.setdefault(record.fingerprints.recipe, []).append(record)
    return list(rows.values())
