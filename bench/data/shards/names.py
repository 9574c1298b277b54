"""Which files of a folder are shards, and of which split: told by their names alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from bench.errors import BadInput

SHARD = re.compile(r"(?:(?P<name>.+)-)?(?P<number>\d+)\.tar")
COMPRESSED = re.compile(r"(?:.+-)?\d+\.(?:tar\.\w+|tgz|tbz2?|txz)")
PARTIAL = ".partial"  # ends the hidden name of a shard that is being written
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}

Shards = Mapping[str, Sequence[str]]  # split -> shards, relative to the root, in the order of their numbers


def find_shards(root: Path) -> Shards:
    """Return the shards of `train` and `val` in a folder; {} where it holds none.

    They lie in train/ and val/, or in the folder itself and say their split: `train-000000.tar`,
    `imagenet1k-validation-00.tar`. Where none says it, they are all of `train`.

    Raises BadInput for shards that are compressed or not finished, for a number that is missing between others, for a
    split in two places, and where names do not say what belongs together; and OSError.
    """
    found = {split: [f"{split}/{name}" for name in _shards_in(root / split)] for split in ("train", "val")}
    here = _shards_in(root)
    by_split: dict[str | None, list[str]] = {}
    for name in here:
        by_split.setdefault(_split_of(name), []).append(name)
    for split, names in found.items():
        more = by_split.get(split, [])
        if names and more:
            raise BadInput(
                f"{root} has shards of {split} in two places ({names[0]} and {more[0]}); move them into one of these."
            )
        names += more
    unnamed = by_split.get(None, [])
    if unnamed and not any(found.values()):
        if len({_family(name) for name in unnamed}) > 1:
            raise BadInput(
                f"{root} holds shards of several names ({unnamed[0]}, {unnamed[-1]}) that do not say which split they "
                "are; rename them to train-000000.tar and so on, and val-000000.tar."
            )
        found["train"] = unnamed
    for split, names in found.items():
        _check_numbers(root, names)
        found[split] = sorted(names, key=lambda name: (_family(name), _number(name)))
    return {split: tuple(names) for split, names in found.items() if names}


def holds_shards(root: Path) -> bool:
    """Whether a folder has a file that is named as a shard, compressed or not. Raises OSError."""
    return any(_named_as_shards(folder) for folder in (root, root / "train", root / "val"))


def _named_as_shards(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if ".t" in entry.name and not entry.name.startswith(".")]
    return sorted(name for name in names if SHARD.fullmatch(name) or COMPRESSED.fullmatch(name))


def _shards_in(folder: Path) -> list[str]:
    names = _named_as_shards(folder)
    packed = next((name for name in names if not SHARD.fullmatch(name)), None)
    if packed is not None:
        raise BadInput(
            f"{folder / packed} is compressed, so that no image in it can be read without those before it; uncompress "
            "it (gunzip for .gz): images are compressed already, and it grows by little."
        )
    if names and (unfinished := sorted(folder.glob(f".*.tar{PARTIAL}"))):
        raise BadInput(f"{unfinished[0]} is of shards that were not finished; remove all of them, and write them anew.")
    return names


def _family(shard: str) -> str:
    found = SHARD.fullmatch(shard.rpartition("/")[2])
    return (found and found["name"]) or ""


def _pattern(family: str) -> str:
    return f"{family}-*.tar" if family else "*.tar"


def _number(shard: str) -> int:
    found = SHARD.fullmatch(shard.rpartition("/")[2])
    assert found is not None
    return int(found["number"])


def _split_of(shard: str) -> str | None:
    return SPLIT_WORDS.get(re.split(r"[-_.]", _family(shard).lower())[-1])


def _check_numbers(root: Path, shards: Sequence[str]) -> None:
    """Refuse a shard that is missing before or between others, or is there twice: nothing else would notice."""
    by_family: dict[str, list[int]] = {}
    for shard in shards:
        by_family.setdefault(_family(shard), []).append(_number(shard))
    for family, numbers in by_family.items():
        numbers.sort()
        if numbers[0] > 1:
            raise BadInput(
                f"{root} has the shards {_pattern(family)} from number {numbers[0]} on; put back those before it, or "
                "number them from 0 or 1 on."
            )
        for before, after in pairwise(numbers):
            if after != before + 1:
                what = f"number {before} twice" if after == before else f"number {before} and {after}, and none between"
                raise BadInput(
                    f"{root} has, of the shards {_pattern(family)}, {what}; put back what is "
                    "missing, remove what is double, or number them anew."
                )
