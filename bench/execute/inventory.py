"""What there is to run: configs and objectives, with their first lines, one config resolved, and one objective."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.config.assignments import parse_assignments
from bench.config.config_files import config_files, find, mmseg_config, read
from bench.config.load import load_recipe, load_task, nest, route, with_search
from bench.config.objective_settings import Setting, settings_of
from bench.config.objective_source import GROUP, classes_of, objectives
from bench.config.plain_files import SUFFIXES
from bench.config.recipe import Profile
from bench.config.remote_config import is_url
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
    is_path = is_url(name) or (Path(name).suffix in SUFFIXES and Path(name).is_file())
    if name in pretrain or (is_path and "objective" in read(find("pretrain_configs", name))[0]):
        extra = route(values)[0] if any("pretrain." in key for key in values) else nest(values)
        return read(find("pretrain_configs", name))[1], load_recipe(name, profile, extra).model_dump(mode="json")
    if name in downstream or is_path or mmseg_config(name) is not None:
        extra = route(values)[1] if any("downstream." in key for key in values) else nest(values)
        task = with_search(load_task(name, profile, extra), values)
        return read(find("downstream_configs", name))[1], task.model_dump(mode="json")
    known = [*pretrain, *downstream, *objectives(), *entries(GROUP)]
    raise BadInput(f"No config or objective {name!r}{nearest(name, known) or '; bench list shows them.'}")


def described(name: str) -> list[str] | None:
    """Return what there is to say of the objective `name`, in lines; None where no objective has that name.

    The first paragraph of its docstring, its settings with defaults, and the pretraining configs that use it. A name
    that a config has, too, means the config.
    """
    configs = config_files("pretrain_configs")
    is_config = name in configs or name in config_files("downstream_configs")
    if is_config or not (name in objectives() or name in entries(GROUP)):
        return None
    paragraph = (ast.get_docstring(classes_of(name)[0][0]) or "").split("\n\n")[0]
    rows = [(key, f"{setting.default!r}", _admits(setting)) for key, setting in settings_of(name).items()]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = [paragraph, "", "Settings of objective=dict(" + f"name={name!r}, …), with their defaults:"]
    lines += [f"  {key:<{widths[0]}}  {default:<{widths[1]}}  {admits}".rstrip() for key, default, admits in rows]
    users = [config for config, file in configs.items() if _uses(file, name)]
    return [*(lines if rows else [paragraph, "", "It has no settings."]), "", f"Configs: {', '.join(users) or 'none'}"]


def _admits(setting: Setting) -> str:
    """Say what a setting may be: its type and range, or its choices."""
    if setting.choices:
        return " | ".join(map(repr, setting.choices))
    return ", ".join(filter(None, (setting.type_name, setting.range.removeprefix("to "))))


def _uses(file: Path, objective: str) -> bool:
    try:
        return read(file)[0].get("objective", {}).get("name") == objective
    except BadInput:
        return False


def _first_line(file: Path) -> str:
    """The first line of a module's docstring, without running the module."""
    try:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    except (SyntaxError, ValueError, OSError):
        return "(not readable)"
    return docstring.split("\n")[0]
