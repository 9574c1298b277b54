"""Derive docs/commands.md, docs/configs.md and docs/protocols.md from the command line and the shipped configs.

    python docs/reference.py [--check] [--folder DIR]

Commands and options are those of the parser; configs are read as planning reads them, without torch.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.config.config_files import config_files, find, read
from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.hashing import protocol_hash, recorded_settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from reference_commands import DERIVED, commands, escaped, row, table  # noqa: E402

CONFIGS = """# Configs

{}

What `bench list` lists, with the source that each config names. `bench show NAME` prints one as it is after inheritance
and a profile, [recipes](recipes.md) has the source of every number of a pretraining, [protocols](protocols.md) the
settings of the tasks. Epochs and batches are those of the profile `full`; a dash stands where nothing is trained."""

PROTOCOLS = """# Protocols and their sources

{}

A protocol is all that decides how a trunk is measured: the task's settings, the version of its kind, and files that it
names. Two results stand in one column of a table only if the hashes of their protocols are equal. The hash here is that
of the profile `full` with a trunk of 50 layers; every `--set` of one of these settings gives another.

`precision = auto` stands for what the machine has; the record says what it was."""


# ----------------------------------------------------------------------------------------------------- configs


@cache
def recipes() -> dict[str, Recipe]:
    """Return {name: recipe} of the shipped pretraining configs."""
    return {name: load_recipe(name) for name in _shipped("pretrain_configs")}


@cache
def tasks() -> dict[str, Task]:
    """Return {name: task} of the shipped downstream configs."""
    return {name: load_task(name) for name in _shipped("downstream_configs")}


def _shipped(folder: str) -> list[str]:
    place = (ROOT / folder).resolve()  # not what lies in some working directory
    return sorted(name for name, file in config_files(folder).items() if file.resolve().parent == place)


def said(folder: str, name: str) -> dict[str, str]:
    """Return {field: text} of a config's docstring: what stands behind `Source:` and so on, each on one line."""
    text = ast.get_docstring(ast.parse((ROOT / folder / f"{name}.py").read_text(encoding="utf-8"))) or ""
    fields: dict[str, list[str]] = {}
    field = ""
    for line in text.splitlines():
        if match := re.match(r"([A-Z][a-z]+):\s+(.*)$", line):
            field = match[1]
            fields[field] = [match[2]]
        elif not line.strip():
            field = ""
        elif field:
            fields[field].append(line.strip())
    return {field: " ".join(lines) for field, lines in fields.items()}


def configs() -> str:
    """Return the page of configs: a table for each data set to pretrain on, one of tasks; below it what each is."""
    blocks = [CONFIGS.format(DERIVED.format("the configs")), "## Pretraining"]
    by_dataset: dict[str, list[Recipe]] = {}
    for recipe in recipes().values():
        by_dataset.setdefault("no images" if recipe.dataset == "none" else recipe.dataset, []).append(recipe)
    for dataset, members in sorted(by_dataset.items()):
        head = ["config", "objective", "network", "epochs", "batch", "profiles"]
        blocks += [f"### On {dataset}", table(head, map(_recipe_row, members))]
        blocks.append("\n".join(_what("pretrain_configs", recipe) for recipe in members))
    rows = [
        row(_link(folder := "downstream_configs", name), task.kind, task.dataset, _profiles(folder, name))
        for name, task in tasks().items()
    ]
    blocks += ["## Downstream", table(["config", "kind", "data set", "profiles"], rows)]
    blocks.append("\n".join(_what("downstream_configs", task) for task in tasks().values()))
    return "\n\n".join(blocks) + "\n"


def _recipe_row(recipe: Recipe) -> str:
    objective, trained = recipe.objective["name"], recipe.epochs > 0
    return row(
        _link("pretrain_configs", recipe.name),
        f"[{objective}](objectives.md#{objective})",
        recipe.arch,
        str(recipe.epochs) if trained else "–",
        str(recipe.batch_size) if trained else "–",
        _profiles("pretrain_configs", recipe.name),
    )


def _profiles(folder: str, name: str) -> str:
    """The schedules that a config has: the one that it says, and its overlays."""
    return ", ".join(["full", *read(find(folder, name))[0].get("profiles", {})])


def _link(folder: str, name: str) -> str:
    return f"[{name}](../{folder}/{name}.py)"


def _what(folder: str, config: Recipe | Task) -> str:
    source = said(folder, config.name)["Source"]
    return f"- `{config.name}`: {escaped(config.summary)} *Source:* {escaped(source)}"


# --------------------------------------------------------------------------------------------------- protocols


def protocols() -> str:
    """Return the page of protocols: a table of all tasks, then each with its source and settings."""
    blocks = [PROTOCOLS.format(DERIVED.format("the downstream configs"))]
    rows = [
        row(f"[{name}](#{name})", task.dataset, task.kind, ", ".join(task.metrics.values()), f"`{protocol_hash(task)}`")
        for name, task in tasks().items()
    ]
    blocks.append(table(["task", "data set", "kind", "what is measured", "protocol"], rows))
    for name, task in tasks().items():
        fields = said("downstream_configs", name)
        blocks += [f"## {name}", escaped(task.summary)]
        base = re.match(r"`_base_/(\w+)\.py`", fields.get("Source", ""))
        inherited = said("downstream_configs/_base_", base[1]) if base else {}
        shown = [
            ("Source", f"{fields.get('Source', '–')} {inherited.get('Source', '')}".strip()),
            *((field, text) for field, text in fields.items() if field in ("Protocol", "Expected", "Control", "Reads")),
        ]
        blocks += [f"**{field}:** {escaped(text)}" for field, text in shown]
        settings = {key: value for key, value in recorded_settings(task).items() if value is not None}
        written = ", ".join(
            f"{key} = {_shown(value)}" for key, value in settings.items() if key not in ("kind", "dataset")
        )
        blocks.append(f"**Settings:** `{written}`")
    return "\n\n".join(blocks) + "\n"


def _shown(value: Any) -> str:
    return f"({', '.join(map(_shown, value))})" if isinstance(value, list | tuple) else str(value)


PAGES = {"commands.md": commands, "configs.md": configs, "protocols.md": protocols}


def differing(folder: Path) -> Iterable[str]:
    """Yield the names of pages that differ from what is derived."""
    for name, page in PAGES.items():
        file = folder / name
        if not file.is_file() or file.read_bytes() != page().encode():
            yield name


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 when a page differs."""
    parser = argparse.ArgumentParser(description="Derive the pages of commands, configs and protocols.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page differs")
    parser.add_argument("--folder", type=Path, default=DOCS, metavar="DIR")
    options = parser.parse_args(arguments)
    if not options.check:
        for name, page in PAGES.items():
            (options.folder / name).write_bytes(page().encode())
            print(f"wrote {options.folder / name}")
        return 0
    differ = list(differing(options.folder))
    for name in differ:
        print(f"{options.folder / name} differs from what is derived\nRun make docs and commit it.", file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
