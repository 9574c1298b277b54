"""The page of made-up results, and that the committed one is derived from what is committed."""

from __future__ import annotations

import json

from campaign import FOLDERS, ROOT, STATE, equal
from mutants import Mutant
from survivors import PAGE, render


def entry(number: int, outcome: str, file: str = "bench/nn/norm.py", **more: str) -> dict[str, object]:
    line = {"file": file, "line": number, "operator": "constant", "before": f"x = {number}", "after": "x = 9", "nth": 0}
    return line | {"outcome": outcome} | more


def test_shares_are_of_what_is_not_equal_and_survivors_are_listed():
    entries = [
        entry(1, "died", whose="own"),
        entry(2, "died", whose="of users"),
        entry(3, "survived"),
        entry(4, "survived"),
        entry(5, "died", "pretrain_configs/coco.py", whose="own"),
    ]
    page = render(entries, {("bench/nn/norm.py", "x = 3", "x = 9", 0): "x is not read."}, seed=7)
    assert "| `bench/nn` | 4 | 2 | 1 | 1 | 1 | 1 | 66.7 % |" in page
    assert "| `bench/losses` | 0 | 0 | 0 | 0 | 0 | 0 | – |" in page
    assert "| all | 5 | 3 | 2 | 1 | 1 | 1 | 75.0 % |" in page
    alive, same = page.partition("## Not died")[2].split("## Equal")
    assert "x = 4" in alive
    assert "x = 3" not in alive
    assert "x = 3" in same
    assert "x is not read." in same
    assert "x = 1" not in page
    assert "Seed 7" in page
    assert "quick" not in page
    assert "quick" in render([entry(1, "survived the quick tests")], {}, seed=7)


def test_the_committed_page_is_that_of_the_committed_results():
    state = json.loads(STATE.read_text())
    assert PAGE.read_text() == render(state["mutants"], equal(ROOT), state["seed"])


def test_what_is_said_to_be_equal_was_tried():
    """A reason beside a line that was never a mutant would be a slip of the pen."""
    fields = Mutant.__dataclass_fields__
    tried = {Mutant(**{key: one[key] for key in fields}).key for one in json.loads(STATE.read_text())["mutants"]}
    assert set(equal(ROOT)) <= tried
    assert all(key[0].startswith(FOLDERS) for key in tried)
