"""Derive docs/mutants.md from results/mutants.json and mutation/equal.json. It is never edited.

python mutation/survivors.py [--check]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from campaign import FOLDERS, ROOT, STATE, equal

PAGE = ROOT / "docs" / "mutants.md"
GOAL = 95  # percent that shall die
INTRO = """# Mutants

Derived from `results/mutants.json` and `mutation/equal.json` by `mutation/survivors.py`; never edited.

A mutant is a line with a mistake that people make: a sign or a comparison changed, a constant, an axis, a keyword left
out, two arguments swapped, a `detach` taken away, a statement removed; in a config a number doubled or divided by ten,
a flag, a word, a setting left out. They are drawn by a seed, equally many of each file and lines at random. Each is
tried against the tests that belong to its file (`mutation/belonging.py` has the rule), and then against those of what
imports it. It dies when a test fails that passes without it. Not counted as a test: the frozen fingerprints of configs,
which any change moves, and the canary. Not changed: messages, annotations, imports, what only a GPU knows (`device`),
and the `profiles` of configs.

    make mutants ARGS="--minutes 10"    # goes on where the last sitting ended
    make mutants ARGS="--again"         # what has not died, with the tests as they are now
    make mutants-page                   # this page
"""


def render(entries: Sequence[dict[str, Any]], reasons: dict[tuple[str, str, str, int], str], seed: int) -> str:
    """Return the page."""
    for one in entries:
        one["equal"] = reasons.get((one["file"], one["before"], one["after"], one["nth"]))
    rows = [_row(folder, [one for one in entries if one["file"].startswith(folder)]) for folder in FOLDERS]
    rows.append(_row("all", entries))
    heads = (
        "| files | tried | died | by tests of its own | of what imports it | equal | not died | died of the unequal |"
    )
    parts = [INTRO, f"Seed {seed}.\n", f"{heads}\n| :--- |{' ---: |' * 7}\n" + "\n".join(rows) + "\n"]
    if any(one["outcome"] == "survived the quick tests" for one in entries):
        parts.append("Some have met the quick tests alone, not those that are marked as slow; the lists say which.\n")
    alive = [one for one in entries if one["outcome"] != "died" and not one["equal"]]
    same = [one for one in entries if one["outcome"] != "died" and one["equal"]]
    parts.append("## Not died\n\n" + (_list(alive, "outcome") if alive else "None.\n"))
    parts.append(
        "## Equal\n\nWhat they change is seen in no result.\n\n" + (_list(same, "equal") if same else "None.\n")
    )
    return "\n".join(parts)


def _row(name: str, entries: Sequence[dict[str, Any]]) -> str:
    counts = Counter(one["outcome"] for one in entries)
    whose = Counter(one.get("whose", "own") for one in entries if one["outcome"] == "died")
    same = sum(one["outcome"] != "died" and bool(one["equal"]) for one in entries)
    share = f"{100 * counts['died'] / (len(entries) - same):.1f} %" if len(entries) > same else "–"
    alive = len(entries) - counts["died"] - same
    label = f"`{name}`" if name in FOLDERS else name
    cells = (len(entries), counts["died"], whose["own"], whose["of users"], same, alive, share)
    return f"| {label} | " + " | ".join(map(str, cells)) + " |"


def _list(entries: Iterable[dict[str, Any]], why: str) -> str:
    lines = [
        f"- `{one['file']}`, {one[why]}\n\n      {one['before']}\n      {one['after']}\n"
        for one in sorted(entries, key=lambda one: (one["file"], one["line"]))
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or say whether the committed one is what the results give."""
    state = json.loads(STATE.read_text())
    text = render(state["mutants"], equal(ROOT), state["seed"])
    if "--check" in sys.argv[1:]:
        if text != PAGE.read_text():
            sys.exit("docs/mutants.md is not what results/mutants.json gives; run `make mutants-page`.")
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
