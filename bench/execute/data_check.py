"""Data that a stage was planned with, and whether they are still the same when it starts, which may be days later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.data.sets import find, identity
from bench.data.sets.kept import kept_file
from bench.errors import BadInput


def check_data(data: Mapping[str, str], roots: Mapping[str, str], work_dir: Path) -> None:
    """Raise BadInput where a data set is another than planned, or not as its manifest has it; say what else changed.

    Only what the plan kept in the work folder is compared: a folder that was moved to another machine knows nothing of
    the data there.

    Args:
        data: data set -> fingerprint, with the identity of a pack after a plus sign.
        roots: data set -> folder.
    """
    cache = work_dir / "data.json"
    for name, planned in data.items():
        known = find(name)
        root = Path(roots[name]) if name in roots else None
        if root is None or not kept_file(cache, name if known is None else known.name, root).is_file():
            continue
        found = identity(name, root, cache, keep=False)
        if found.fingerprint != planned.partition("+")[0]:
            said = f" ({found.notes[0].rstrip('.')})" if found.notes else ""
            raise BadInput(f"{name} at {root} changed since this was planned{said}; run bench run again.")
        for note in found.notes:
            print(f"note: {note}", flush=True)
