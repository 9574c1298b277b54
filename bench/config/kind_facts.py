"""The check of what a kind of task from outside of this package says of itself, while a run is planned.

What would break hours later is refused. The function that `run` names in another module is looked for in its source,
without importing it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Annotated

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from bench.config.kinds import StageKind, TaskKind
from bench.errors import BadInput
from bench.plugins import Source, module_file, running

_Text = Annotated[StrictStr, Field(min_length=1)]


class Facts(BaseModel):
    """The facts that a kind declares, with the values that each may have and these in words."""

    version: StrictInt = Field(ge=1, description="a whole number of 1 or more")
    outputs: tuple[_Text, ...] | list[_Text] = Field(description="a tuple of file names, such as ('spectrum.json',)")
    several_gpus: StrictBool = Field(description="True or False")
    auto_precision: StrictBool = Field(description="True or False")
    reads_training_state: StrictBool = Field(description="True or False")
    metrics: Mapping[_Text, StrictStr] = Field(description="a dictionary {metric: header of its column} of text")
    evaluates_from: tuple[_Text, ...] | list[_Text] | None = Field(
        description="a tuple of file names, such as ('heads.safetensors',), or None"
    )
    seeded_by: tuple[_Text, ...] | list[_Text] | None = Field(
        description="a tuple of names of settings, such as ('subset',), or None"
    )
    run: _Text = Field(description="the name of a function in the same file, or 'package.module:function'")


def check_facts(kind: type[TaskKind], source: Source) -> None:
    """Refuse a kind whose facts have other types, whose settings cannot be read, or whose `run` is nowhere.

    Args:
        kind: the class, which is a pydantic model.
        source: where it is.

    Raises BadInput.
    """
    where = f"{source.attribute} in {source.file}"
    try:
        Facts.model_validate({name: getattr(kind, name) for name in Facts.model_fields})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        wanted = Facts.model_fields[name].description
        raise BadInput(f"{where} has {name} = {getattr(kind, name)!r}, but it should be {wanted}.") from error
    assert issubclass(kind, BaseModel)
    try:
        kind.model_rebuild()
    except (PydanticUndefinedAnnotation, PydanticUserError, NameError) as error:
        raise BadInput(
            f"{where} has an annotation that cannot be resolved: {_first_line(error)}; import it."
        ) from error
    if "dataset" not in kind.model_fields:
        raise BadInput(f"{where} has no field 'dataset'; derive it from bench.config.tasks.TrunkTask.")
    if wrong := [name for name in kind.seeded_by or () if name not in kind.model_fields]:
        raise BadInput(f"{where} has seeded_by = {kind.seeded_by!r}, but no setting {wrong[0]!r}; correct it.")
    _check_run(kind, source, where)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _check_run(kind: type[TaskKind], source: Source, where: str) -> None:
    module, colon, name = kind.run.partition(":")
    if not colon:
        if not callable(getattr(sys.modules[kind.__module__], kind.run, None)):
            raise BadInput(f"{source.file} has no function {kind.run}(job), which runs {source.attribute}; add it.")
        return
    file = module_file(module)
    if file is None:
        raise BadInput(f"{where} has run = {kind.run!r}, but there is no module {module}; correct it.")
    try:
        names = set(_defined(ast.parse(file.read_text(encoding="utf-8")).body))
    except (SyntaxError, ValueError) as error:
        raise BadInput(
            f"{file}, which runs {source.attribute}, is no readable Python ({error}); correct it."
        ) from error
    if name not in names and "*" not in names:
        raise BadInput(f"{where} has run = {kind.run!r}, but {file} has no function {name}; correct it.")


def _defined(statements: list[ast.stmt]) -> Iterator[str]:
    """The names that the top of a module defines, also below `if` and `try`; "*" where it imports them all."""
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        else:
            yield from (each.id for each in ast.walk(node) if isinstance(each, ast.Name))
            for part in ("body", "orelse", "finalbody", "handlers"):
                for inner in getattr(node, part, []):
                    yield from _defined(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def asking(kind: type[TaskKind], method: str) -> AbstractContextManager[None]:
    """Raise BadInput where a kind's own method raises something else while the block runs."""
    return running(f"{kind.__name__}.{method} in {file_of(kind)}")


def file_of(kind: type[StageKind]) -> str:
    """Return the file that defines a kind, for messages."""
    return str(getattr(sys.modules[kind.__module__], "__file__", kind.__module__))
