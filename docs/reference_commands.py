"""The page of commands, from the parser itself; and the text that the derived pages are made of."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

DERIVED = "Derived by `make docs` from {}; never edited."

COMMANDS = """# Commands

{}

Options that take several values take them one after another: `--seeds 0 1 2`, `--set epochs=2 batch_size=64`. An option
with an environment variable is taken from there where the command line does not give it. `bench COMMAND --help` prints
what stands here.

| exit code | it means |
|---|---|
| 0 | done |
| 1 | a stage failed, or a check found something |
| 2 | bad input: one sentence says what is wrong and the remedy |
| 75 | the time given by `--minutes` is over, and there is more to do |
| 130 | interrupted; the last checkpoint is kept |"""


def commands() -> str:
    """Return the page of commands: each with its usage, arguments and options."""
    import typer

    from bench.cli import app

    blocks = [COMMANDS.format(DERIVED.format("the command line itself"))]
    for name, command in _walk(typer.main.get_command(app), "bench"):
        # Metavars of arguments that may be left out have their brackets already.
        words = [parameter.metavar or parameter.name.upper() for parameter in command.params if _is_argument(parameter)]
        blocks += [f"## {name}", escaped(command.help or "")]
        needed = [
            f"{each.opts[0]} {_values(each)}" for each in command.params if not _is_argument(each) and each.required
        ]
        usage = " ".join([name, *words, *needed, *(["[OPTIONS]"] if len(command.params) > len(words + needed) else [])])
        blocks.append(f"    {usage}")
        rows = [_parameter(parameter) for parameter in command.params if not parameter.hidden]
        if rows:
            blocks.append(table(["option", "value", "default", "what it does"], rows))
    return "\n\n".join(blocks) + "\n"


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    for word, each in getattr(command, "commands", {}).items():
        if not each.hidden:
            yield from _walk(each, f"{name} {word}")
    if not getattr(command, "commands", {}):
        yield name, command


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _parameter(parameter: Any) -> str:
    names = [parameter.metavar or parameter.name.upper()] if _is_argument(parameter) else parameter.opts
    shown = ", ".join(f"`{name}`" for name in [*names, *parameter.secondary_opts])
    help_ = escaped(parameter.help or "")
    if parameter.envvar:
        help_ = f"{help_} Environment: `{parameter.envvar}`.".strip()
    values = "" if _is_argument(parameter) else _values(parameter)
    return row(shown, f"`{values}`" if values else "", _default(parameter), help_)


def _values(parameter: Any) -> str:
    """What stands behind an option: its choices, or a word for its kind; nothing behind a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    annotation = parameter.type_descriptor.annotation
    choices = [
        choice for part in _parts(annotation) if typing.get_origin(part) is typing.Literal for choice in part.__args__
    ]
    if choices:
        return "|".join(map(str, choices))
    if parameter.metavar:
        return str(parameter.metavar)
    kind = next(part for part in _parts(annotation) if part is not types.NoneType)
    return {"int": "N", "float": "NUMBER", "Path": "PATH"}.get(getattr(kind, "__name__", ""), "TEXT")


def _parts(annotation: Any) -> Sequence[Any]:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _default(parameter: Any) -> str:
    if isinstance(said := getattr(parameter, "show_default", None), str):
        return said
    if parameter.required:
        return "needed"
    default = parameter.default
    if getattr(parameter, "is_flag", False):
        return f"`{parameter.opts[0]}`" if default and parameter.secondary_opts else ""
    if default is None or default in ([], ()):
        return ""
    return "`" + " ".join(map(str, default if isinstance(default, list | tuple) else [default])) + "`"


def escaped(text: str) -> str:
    """Escape what Markdown would read as markup, outside of `code`."""
    pieces = text.split("`")
    return "`".join(
        re.sub(r"([*_<>\[\]])", r"\\\1", piece) if number % 2 == 0 else piece for number, piece in enumerate(pieces)
    )


def row(*cells: str) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table of such rows."""
    return "\n".join([row(*head), f"|{'---|' * len(head)}", *rows])
