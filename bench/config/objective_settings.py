"""The settings of an objective: names, types and defaults of its constructor's keywords, and the check of a value.

The constructor is the one place that names them and gives the paper's defaults. A plan needs them (to catch a mistyped
key or a wrong value, and to fingerprint the defaults), but must not wait for torch: it reads them from the source. An
objective that is being built has the same check of its values, by the same annotations (`bench.config.setting_types`).
A constructor with `**settings` takes what that of the class that it derives from takes, too.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from bench.config.objective_source import GROUP, class_literal, classes_of, locate, objectives, type_of
from bench.errors import BadInput, nearest_or_all, shortened
from bench.plugins import entries

# Arguments that every objective gets from the recipe, not from its settings.
GIVEN = frozenset({"self", "encoder", "num_classes", "num_images"})

# Settings that there were, and what took their place.
GONE = {
    "bn_splits": "the recipe's norm_images says how many images share a norm's statistics, on any number of processes; "
    "set norm_images to what batch_size / processes / bn_splits was, and sync_bn=False"
}

_TYPE_NAMES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "null": "None"}

Schema = dict[str, Any]  # a JSON schema


@dataclass(frozen=True)
class Setting:
    """One keyword of a constructor."""

    annotation: Any  # `Any` where it cannot be read
    default: Any  # a plain value

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        try:
            return TypeAdapter(self.annotation)
        except (PydanticUserError, PydanticUndefinedAnnotation, TypeError):  # a type that pydantic has no check for
            return TypeAdapter(Any)

    @cached_property
    def alternatives(self) -> tuple[Schema, ...]:
        """The JSON schemas of what it may be: `float | None` has two."""
        try:
            schema = self._adapter.json_schema()
        except PydanticUserError:
            return ({},)
        return tuple(schema.get("anyOf", [schema]))

    @property
    def choices(self) -> tuple[Any, ...]:
        """The only values of it, or of a tuple's elements; () where it is not one of several."""
        return tuple(choice for schema in self.alternatives for choice in _choices(schema))

    @property
    def has_word_none(self) -> bool:
        """Whether the word `none` is one of its values, and None is not."""
        return "none" in self.choices and {"type": "null"} not in self.alternatives

    @property
    def type_name(self) -> str:
        """Its type without ranges and choices, as one writes it: `float | None`, `tuple[int, int]`."""
        return " | ".join(map(_type_name, self.alternatives))

    @property
    def range(self) -> str:
        """The range of its numbers, after "set it": `above 0`, `to 1 or more`; "" where there is none."""
        return next(filter(None, map(_range, self.alternatives)), "")

    def check(self, key: str, value: Any, where: str = "") -> None:
        """Refuse a value that the annotation does not admit: no bool for an int, no text for a number.

        Lists and tuples are alike, as in JSON, and an int is a float. Raises BadInput, whose message calls the setting
        `key` and ends its subject with `where`: " in FILE", or nothing.
        """
        try:
            checked = self._adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
        except TypeError:  # no value of a config
            faults: Sequence[Mapping[str, Any]] = [{"type": "json", "input": value}]
        except ValidationError as error:
            faults = error.errors()
        except ValueError as error:  # json's
            raise BadInput(f"{key}{where} is {value}; set it to a finite number.") from error
        else:
            if not self.choices or isinstance(value, (list, tuple)) or type(checked) is type(value):
                return
            faults = [{"type": "literal_error", "input": value}]  # True and 1.0, which are equal to 1
        kinds = {fault["type"]: fault for fault in faults}
        if fault := kinds.get("literal_error"):
            wrong = fault["input"]
            hint = nearest_or_all(wrong if isinstance(wrong, str) else "", map(str, self.choices))
            raise BadInput(f"Unknown {key} {shortened(wrong)}{where}{hint}")
        if fault := kinds.get("value_error"):
            raise BadInput(f"{key}{where} is {value}; {fault['ctx']['error']}.")
        if any(kind.startswith(("greater_than", "less_than")) for kind in kinds):
            them, nothing = "each" if faults[0]["loc"] else "it", {"type": "null"} in self.alternatives
            raise BadInput(f"{key}{where} is {value}; set {them} {self.range}{', or to None' * nothing}.")
        raise BadInput(f"Key '{key}'{where} is {shortened(value)}, but should be {self.type_name}.")


def _choices(schema: Schema) -> list[Any]:
    if "items" in schema:
        return _choices(schema["items"])
    return schema.get("enum", [schema["const"]] if "const" in schema else [])


def _type_name(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"tuple[{', '.join(map(_type_name, schema['prefixItems']))}]"
    if "items" in schema:
        return f"tuple[{_type_name(schema['items'])}, ...]"
    return _TYPE_NAMES.get(schema.get("type", ""), "any")


def _range(schema: Schema) -> str:
    """The range of a number, or of a tuple's first."""
    if elements := schema.get("prefixItems"):
        return _range(elements[0])
    above, below = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f"within {low}{' (excluded)' * above} and {high}{' (excluded)' * below}"
    if low is not None:
        return f"above {low}" if above else f"to {low} or more"
    return "" if high is None else f"below {high}" if below else f"to {high} or less"


def check_values(values: Mapping[str, Any], settings: Mapping[str, Setting], where: str = "") -> None:
    """Refuse unknown settings and values that theirs do not admit. Raises BadInput, with the nearest name."""
    for key, value in values.items():
        if key not in settings and key in GONE:
            raise BadInput(f"objective.{key}{where} is no setting any more: {GONE[key]}.")
        if key not in settings:
            raise BadInput(f"Unknown key {shortened(f'objective.{key}')}{where}{nearest_or_all(key, settings)}")
        settings[key].check(f"objective.{key}", value, where)


def settings_of(objective: str, config: Path | None = None) -> dict[str, Setting]:
    """Return {setting: what it is} of an objective, in order.

    Raises BadInput for an unknown objective, and for a default that is no literal.
    """
    return _our_settings(objective) if objective in objectives() else _settings(objective, config)


def _settings(objective: str, config: Path | None = None) -> dict[str, Setting]:
    constructors = []
    for node, file in classes_of(objective, config):
        init = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
        if init is None:
            continue
        try:
            constructors.append(_keywords(init.args, file))
        except ValueError as error:
            raise BadInput(f"A default of {node.name}.__init__ is no literal; write its value out.") from error
        if init.args.kwarg is None:
            break
    return _inherited(constructors)


_our_settings = cache(_settings)  # of files that don't change while we run


def _keywords(arguments: ast.arguments, file: Path) -> dict[str, Setting]:
    defaults: list[ast.expr | None] = [None] * (len(arguments.args) - len(arguments.defaults))
    defaults += [*arguments.defaults, *arguments.kw_defaults]
    return {
        argument.arg: Setting(type_of(argument.annotation, file), ast.literal_eval(default))
        for argument, default in zip([*arguments.args, *arguments.kwonlyargs], defaults, strict=True)
        if argument.arg not in GIVEN and default is not None
    }


def _inherited(constructors: Sequence[Mapping[str, Setting]]) -> dict[str, Setting]:
    """The settings of a constructor and of those that it hands `**settings` to, in order.

    What a class adds stands before what it takes over; a default that it changes stays in its place.
    """
    settings: dict[str, Setting] = {}
    for keywords in reversed(constructors):
        settings = {key: one for key, one in keywords.items() if key not in settings} | settings | dict(keywords)
    return settings


def constructors(kind: type) -> list[tuple[Callable[..., None], dict[str, inspect.Parameter]]]:
    """Return the constructors of an imported class that get its settings, with their parameters, its own first."""
    taken: list[tuple[Callable[..., None], dict[str, inspect.Parameter]]] = []
    for base in kind.__mro__:
        if (init := vars(base).get("__init__")) is not None:
            taken.append((init, dict(inspect.signature(init).parameters)))
            if not any(each.kind is each.VAR_KEYWORD for each in taken[-1][1].values()):
                break
    return taken


@cache
def settings_of_class(kind: type) -> dict[str, Setting]:
    """Return {setting: what it is} of an imported class, as `settings_of` reads it from the source."""
    return _inherited(
        [
            {
                key: Setting(_imported_type(each.annotation, init.__globals__), each.default)
                for key, each in parameters.items()
                if key not in GIVEN and each.default is not each.empty
            }
            for init, parameters in constructors(kind)
        ]
    )


def _imported_type(annotation: Any, names: dict[str, Any]) -> Any:
    try:
        return eval(annotation, names) if isinstance(annotation, str) else annotation
    except Exception:  # a name that is imported for type checkers alone
        return Any


def check_arguments(
    objective: Mapping[str, Any], source: Path, given: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the objective's settings with its constructor's defaults filled in.

    `source` is the config; `given` says, for messages, what else gave a setting: {setting: "--set for coco"}.

    Raises BadInput for an unknown objective, an unknown setting (with the nearest), and a value that its annotation
    does not admit.
    """
    name, given = objective.get("name"), given or {}
    if not isinstance(name, str):
        raise BadInput(
            f"Unknown objective {shortened(name)} in {given.get('name', source)}; known: {', '.join(objectives())}."
        )
    place = locate(name, source, given.get("name"))
    settings = settings_of(name, source)
    # On the command line `none` means None, unless the setting has the word.
    values = {
        key: "none" if value is None and key in settings and settings[key].has_word_none else value
        for key, value in objective.items()
        if key != "name"
    }
    for key, value in values.items():
        check_values({key: value}, settings, f" in {given.get(key, source)}")
    if place.module is None:  # a process in another folder must find it, too
        name = str(place)
    return {"name": name} | {key: setting.default for key, setting in settings.items()} | values


def portable(objective: Mapping[str, Any]) -> dict[str, Any]:
    """Return an objective's settings as they are fingerprinted and recorded.

    One that is not ours has no path of this machine in its name, and says what its source file holds: an edit of that
    file (not of what it imports) makes another pretraining.
    """
    name = str(objective["name"])
    if name in objectives() or (":" not in name and name not in entries(GROUP)):
        return dict(objective)
    source = locate(name)
    return {**objective, "name": source.portable, "source": source.hash}


@cache
def later(objective: str) -> tuple[str, ...]:
    """Return the settings that its class says were added later: at their defaults they are in no fingerprint."""
    return tuple(class_literal(objective, "later") or ())


def without_later(objective: Mapping[str, Any]) -> dict[str, Any]:
    """Return an objective's settings without those that were added later and are at their defaults."""
    name = str(objective["name"])
    if name not in objectives():  # the source of one that is not ours is in its fingerprint as a whole
        return dict(objective)
    settings = settings_of(name)
    defaults = {key: settings[key].default for key in later(name)}
    return {k: v for k, v in objective.items() if k not in defaults or _plain(v) != _plain(defaults[k])}


def _plain(value: Any) -> Any:
    """A setting as it compares whether it was written as a tuple or as a list."""
    return list(value) if isinstance(value, tuple) else value
