"""The table of recipes: for every config, what its source says, each number with where it is from.

Each file of `table/` has RECIPES = {config: entry}. An entry has `code`, the repository at a commit that its sources
are files of, `objective`, and for each of ASPECTS a pair: the aspect in the words of `recipe_text` (settings as a
dictionary, views as a list), and its source. That is a file and lines of the code, a paper ("from memory" where it was
not at hand), or "own choice", with what the source has in brackets. Nothing here imports torch.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

ASPECTS = ("length", "network", "optimizer", "schedule", "views", "heads", "settings", "how")
HOW = ("auto precision, channels last, reference views", "own choice: what a run has by default")
FOLDER = Path(__file__).parent


@cache
def table() -> dict[str, dict[str, Any]]:
    """Return {config: its entry} of all files of the table; `how` is HOW where an entry has none."""
    if str(FOLDER) not in sys.path:  # for `recipe_views`
        sys.path.insert(0, str(FOLDER))
    entries: dict[str, dict[str, Any]] = {}
    for file in sorted((FOLDER / "table").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"recipes_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert not set(entries) & set(module.RECIPES), file
        entries |= {name: {"how": HOW, **entry} for name, entry in module.RECIPES.items()}
    return entries
