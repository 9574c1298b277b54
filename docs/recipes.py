"""Derive docs/recipes.md from the table of recipes in tests/recipes: where each number of a config comes from.

python docs/recipes.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "recipes.md"
sys.path.insert(0, str(ROOT / "tests" / "recipes"))

from recipe_table import ASPECTS, HOW, table  # noqa: E402

LEAD = """# Where the numbers of each recipe come from

Derived by `make docs` from the table in `tests/recipes`, to which tests hold every config in `pretrain_configs`; never
edited. The table is written from the sources: a repository at a commit with file and line (`:33` is a line of the file
that stands above), a paper, "from memory" where it was not at hand, or our own choice, in brackets what the source has.

How it reads: `sgd 0.03 at 256` is a rate for a batch of 256, scaled with the batch, and a rate alone is not scaled.
`decay … of all` counts biases and norms in, `of weights` does not; `trust`, LARS's coefficient, likewise. A schedule is
in shares of the peak. A view is a crop's pixels and its share of the image's area, then what happens to it with which
probability, in that order. A head's numbers are widths of linear layers, F as many as there are features."""


def page() -> str:
    """Return the page."""
    blocks = [LEAD]
    for name, entry in sorted(table().items()):
        rows = [
            f"| {aspect} | {_escaped(shown(value))} | {_escaped(source)} |"
            for aspect, (value, source) in ((aspect, entry[aspect]) for aspect in ASPECTS)
            if value not in ({}, [], "none") and (value, source) != HOW
        ]
        blocks += [f"## {name}", f"`{entry['objective']}`, after {_escaped(entry['code'])}"]
        blocks.append("\n".join(["| | here | source |", "|---|---|---|", *rows]))
    return "\n\n".join(blocks) + "\n"


def shown(value: Any) -> str:
    """Return an aspect in a line: views one after another, equal ones counted; settings as `key value`."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {each:.6g}" if type(each) is float else f"{key} {each}" for key, each in value.items())
    if isinstance(value, list):
        counted = {each: value.count(each) for each in value}
        return "; ".join(each if times == 1 else f"{times} times {each}" for each, times in counted.items())
    return str(value)


def _escaped(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*").replace("_", r"\_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 when the page differs."""
    parser = argparse.ArgumentParser(description="Derive docs/recipes.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the page differs")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    options = parser.parse_args(arguments)
    if not options.check:
        options.page.write_bytes(page().encode())
        print(f"wrote {options.page}")
        return 0
    same = options.page.is_file() and options.page.read_bytes() == page().encode()
    if not same:
        print(f"{options.page} differs from what tests/recipes gives\nRun make docs and commit it.", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
