"""Configs in YAML and JSON: lists, dictionaries, strings, numbers, booleans and null, and nothing else of either.

Of YAML that is without anchors, aliases, tags and merge keys. A word without quotes means what it does in YAML 1.2:
`1e-4` is a number, and `no`, `on` and `2020-01-01` are strings. Hexadecimal and octal numbers are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from bench.config.plain_limits import DEEPEST, Counter, NotPlain, checked_number

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_WHOLE = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# Numbers of YAML 1.2 that other readers take for strings.
_OTHER_NUMBER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# What a text is made of that is known to be JSON.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]|[^\s"{}\[\]:,]+')


def parse_json(text: str) -> tuple[dict[str, Any], str]:
    """Return (values, "") of a config in JSON. Raises NotPlain, with the line, for what is no data."""
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise NotPlain(f"it is no JSON ({error.msg})", error.lineno) from error
    except ValueError as error:  # more digits than Python reads
        raise NotPlain("a whole number has more than 63 bits") from error
    except RecursionError as error:
        raise NotPlain(f"it is nested more than {DEEPEST} levels deep") from error
    _check_json(text)
    return _whole(values), ""


def _no_constant(word: str) -> float:
    raise NotPlain(f"{word} is no JSON")


def _check_json(text: str) -> None:
    """Raise NotPlain for keys that are there twice, numbers that are too large, and what is too deep or too much.

    `text` is JSON.
    """
    counter, line = Counter(), 1
    inside: list[set[str]] = []  # the keys of each dictionary, or of a list none, around what is read
    word, word_line = "", 1
    for found in _JSON_TOKEN.finditer(text):
        token = found[0]
        if token == "\n":
            line += 1
        elif token in "{[":
            inside.append(set())
            counter.add(line, len(inside))
        elif token in "}]":
            inside = inside[:-1]
        elif token == ":":
            _add_key(word, inside, word_line)
        elif token != ",":
            counter.add(line, len(inside) + 1)
            word, word_line = token, line
            if _DECIMAL.fullmatch(token):
                _number(token, line)


def _add_key(word: str, inside: list[set[str]], line: int) -> None:
    key = json.loads(word)
    if key in inside[-1]:
        raise NotPlain(f"the key {key!r} is there twice", line)
    inside[-1].add(key)


def parse_yaml(text: str) -> tuple[dict[str, Any], str]:
    """Return (values, comment at the beginning) of a config in YAML.

    Raises NotPlain, with the line, for what is no data.
    """
    import yaml  # type: ignore[import-untyped]  # not at the top: most configs are Python

    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(type(event).__name__, event)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise NotPlain(f"it is no YAML ({error.problem})", line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a control character
        raise NotPlain(f"it is no YAML ({' '.join(str(error).split())[:100]})") from error
    comment = re.match(r"(?:#.*\n)*", text)
    return _whole(builder.top), "\n".join(each.lstrip("# ") for each in comment[0].splitlines()) if comment else ""


_NO_KEY = object()


class _Builder:
    """Builds values from what a YAML parser reads, one event after another."""

    def __init__(self) -> None:
        self.top: Any = {}
        self.counter = Counter()
        self.documents = 0
        self.inside: list[list[Any] | dict[str, Any]] = []
        self.keys: list[Any] = []  # of each of `inside`: the key whose value comes next

    def take(self, name: str, event: Any) -> None:
        """Take one event, by the name of its class."""
        line = event.start_mark.line + 1
        if name == "DocumentStartEvent":
            self.documents += 1
            if self.documents > 1:
                raise NotPlain("a second document begins", line)
        elif name == "AliasEvent" or getattr(event, "anchor", None) is not None:
            raise NotPlain("anchors and aliases (& and *) are no plain data", line)
        elif getattr(event, "tag", None) is not None:
            raise NotPlain(f"the tag {event.tag} is no plain data", line)
        elif name == "ScalarEvent":
            value = event.value if event.style is not None else _read_word(event.value, line)
            self._put(value, line)
        elif name in {"MappingStartEvent", "SequenceStartEvent"}:
            made: list[Any] | dict[str, Any] = {} if name == "MappingStartEvent" else []
            self._put(made, line)
            self.inside.append(made)
            self.keys.append(_NO_KEY)
        elif name in {"MappingEndEvent", "SequenceEndEvent"}:
            self.inside.pop()
            self.keys.pop()

    def _put(self, value: Any, line: int) -> None:
        self.counter.add(line, len(self.inside) + 1)
        if not self.inside:
            self.top = value
            return
        place = self.inside[-1]
        if isinstance(place, list):
            place.append(value)
        elif self.keys[-1] is not _NO_KEY:
            place[self.keys[-1]], self.keys[-1] = value, _NO_KEY
        elif not isinstance(value, str) or value == "<<":
            raise NotPlain(f"{value!r} is no key, which is a string (in quotes where it looks like a number)", line)
        elif value in place:
            raise NotPlain(f"the key {value!r} is there twice", line)
        else:
            self.keys[-1] = value


def _read_word(word: str, line: int) -> Any:
    """What a word without quotes means."""
    if word in _WORDS:
        return _WORDS[word]
    if _OTHER_NUMBER.fullmatch(word):
        raise NotPlain(f"{word} is no number in decimals, nor a string in quotes", line)
    return _number(word, line) if _DECIMAL.fullmatch(word) else word


def _number(word: str, line: int) -> int | float:
    read: Callable[[str], int | float] = int if _WHOLE.fullmatch(word) else float
    try:
        return checked_number(read(word), line)
    except ValueError as error:  # more digits than Python reads
        raise NotPlain("a whole number has more than 63 bits", line) from error


def _whole(values: Any) -> dict[str, Any]:
    """What a config says as a whole, which is a dictionary."""
    if not isinstance(values, dict):
        raise NotPlain("it holds no keys with values", 1)
    return values
