"""What there is to run: configs and objectives, with their first lines, and one config resolved."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.config.config_files import config_files, find, mmseg_config, read
from bench.config.load import load_recipe, load_task, nest, parse_assignments, route, with_search
from bench.config.objective_source import GROUP, classes_of, objectives
from bench.config.recipe import Profile
from bench.errors import BadInput, nearest
from bench.execute.resolve import PARENT
from bench.plugins import entries


def inventory() -> dict[str, dict[str, str]]:
    """Return {"pretrain" | "downstream" | "objectives": {name: first line of its docstring}}."""
    return {
        "pretrain": {name: _first_line(file) for name, file in config_files("pretrain_configs").items()},
        "downstream": {name: _first_line(file) for name, file in config_files("downstream_configs").items()},
        "objectives": {name: _objective(name) for name in [*objectives(), *entries(GROUP)]},
    }


def _objective(name: str) -> str:
    try:
        return (ast.get_docstring(classes_of(name)[0][0]) or "").split("\n")[0]
    except BadInput:
        return "(not readable)"


def resolved(name: str, profile: Profile, assignments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return (docstring, values) of a config by name or path, under a profile and --set values."""
    pretrain, downstream = config_files("pretrain_configs"), config_files("downstream_configs")
    values = {
        f"init.settings.{key.removeprefix(PARENT)}" if key.startswith(PARENT) else key: value
        for key, value in parse_assignments(assignments).items()
    }
    is_path = Path(name).suffix == ".py" and Path(name).is_file()
    if name in pretrain or (is_path and "objective" in read(Path(name))[0]):
        extra = route(values)[0] if any("pretrain." in key for key in values) else nest(values)
        return read(find("pretrain_configs", name))[1], load_recipe(name, profile, extra).model_dump(mode="json")
    if name in downstream or is_path or mmseg_config(name) is not None:
        extra = route(values)[1] if any("downstream." in key for key in values) else nest(values)
        task = with_search(load_task(name, profile, extra), values)
        return read(find("downstream_configs", name))[1], task.model_dump(mode="json")
    raise BadInput(f"No config {name!r}{nearest(name, [*pretrain, *downstream]) or '; bench list shows them.'}")


def _first_line(file: Path) -> str:
    """The first line of a module's docstring, without running the module."""
    try:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    except (SyntaxError, ValueError, OSError):
        return "(not readable)"
    return docstring.split("\n")[0]
