"""Changes of what a file holds: of its bytes, a value in JSON, a text. Each is a function of a `random.Random`."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

LONGEST = 1 << 16  # bytes that are put in or doubled at once
_NUMBERS = (0, 1, -1, 255, 256, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e-300, 1e308)
_WORDS = ("", "x", "x" * 1000, "../..", "/dev/null", "a.b", "\x00", "ü", "\ud800", "nan", "true", "[", "{'a': 1}")


def of_bytes(draw: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return other bytes: one to three changes of one place each, so that most of a file stays as it was."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = _changed(draw, data, others)
    return data


def _changed(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    size = max(1, len(data))
    # Half of the places lie in the first bytes or the last: headers and directories.
    near = draw.randrange(min(size, 512))
    place = draw.choice((draw.randrange(size), draw.randrange(size), near, size - 1 - near))
    some = min(size - place, draw.choice((1, 2, 4, 8, 64, LONGEST)))
    match draw.randrange(9):
        case 0 | 1 | 2:
            byte = data[place] ^ 1 << draw.randrange(8) if data else 0
            return data[:place] + bytes([byte]) + data[place + 1 :]
        case 3:
            return data[:place] + bytes([draw.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))]) * some + data[place + some :]
        case 4:
            return data[:place] + draw.randbytes(draw.choice((1, 2, 4, 8, 64))) + data[place:]
        case 5:
            return data[:place] + data[place + some :]
        case 6:
            return data[:place]
        case 7:
            return data[: place + some] + data[place : place + some] + data[place + some :]
        case _:
            other = draw.choice([data, *others])
            return data[:place] + other[draw.randrange(max(1, len(other))) :][:LONGEST]


def of_value(draw: random.Random, value: Any) -> Any:
    """Return a copy of a value of JSON with one to three of its parts changed, taken away, or more of them."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 2, 3))):
        holders = [each for each in _holders(value) if each]
        if not holders:
            return value
        holder = draw.choice(holders)
        key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        match draw.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[draw.choice((*_WORDS[:4], "extra", "checksum"))] = any_value(draw)
            case 1:
                holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
            case 2:
                other = draw.choice(holders)
                other_key = draw.choice(list(other) if isinstance(other, dict) else range(len(other)))
                holder[key] = copy.deepcopy(other[other_key])
            case 3 if isinstance(holder[key], str) and holder[key]:
                place = draw.randrange(len(holder[key]))
                holder[key] = holder[key][:place] + draw.choice(("", "0", "é", "/", "\n")) + holder[key][place + 1 :]
            case 3 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = holder[key] + draw.choice((1, -1, 0.5, -(10**6)))
            case _:
                holder[key] = any_value(draw)
    return value


def _holders(value: Any) -> list[Any]:
    """All objects and lists in a value, itself included."""
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            found.append(one)
            waiting += one.values() if isinstance(one, dict) else one
    return found


def any_value(draw: random.Random) -> Any:
    """Return a value that is seldom the right one."""
    match draw.randrange(7):
        case 0:
            return draw.choice(_NUMBERS)
        case 1:
            return draw.choice(_WORDS)
        case 2:
            return draw.choice((None, True, False))
        case 3:
            return draw.choice(([], {}, [[]], [None], {"": {}}, [1, 2, 3], {"a": [1]}))
        case 4:
            return draw.choice((float("nan"), float("inf"), -float("inf")))
        case 5:
            value: Any = draw.choice(_NUMBERS)
            for _ in range(draw.choice((3, 30, 150))):
                value = draw.choice(([value], {"a": value}))
            return value
        case _:
            return draw.randrange(-10, 10)


def as_json(draw: random.Random, value: Any) -> bytes:
    """Return a value as JSON, now and then with a change of its bytes, or nested until a reader has to give up."""
    data = json.dumps(value, indent=draw.choice((None, 1))).encode("utf-8", "surrogatepass")
    match draw.randrange(12):
        case 0:
            return of_bytes(draw, data)
        case 1:
            depth = draw.choice((500, 5000, 100_000))
            return data[: draw.randrange(len(data) + 1)] + draw.choice((b"[", b'{"a":')) * depth
        case _:
            return data


def literal(draw: random.Random, depth: int = 0) -> str:
    """Return what stands after the equals sign of a setting: mostly a literal of Python, at times what is none."""
    match draw.randrange(14 if depth < 3 else 8):
        case 0:
            return repr(draw.choice(_NUMBERS))
        case 1:
            return repr(draw.choice(_WORDS))
        case 2:
            return draw.choice(("true", "False", "none", "None", "nan", "inf", "1e999", "-1e999", "0x1f", "1_0"))
        case 3:
            return draw.choice(("-", "+", "not ", "~")) * draw.choice((1, 50, 3000, 100_000)) + "1"
        case 4:
            return draw.choice(("[", "(", "{", "{1:")) * draw.choice((1, 50, 150, 5000))
        case 5:
            return "".join(chr(draw.choice((draw.randrange(32, 127), draw.randrange(0x3000)))) for _ in range(12))
        case 6:
            return "9" * draw.choice((1, 10, 400, 5000)) + draw.choice(("", ".", "e5", "**9"))
        case 7:
            return str(draw.randrange(-3, 300))
        case 8:
            return "[" * (nested := draw.choice((2, 60, 90))) + literal(draw, 3) + "]" * nested
        case 9 | 10:
            opening, closing = draw.choice(("[]", "()"))
            return opening + ", ".join(literal(draw, depth + 1) for _ in range(draw.randrange(4))) + closing
        case 11 | 12:
            pairs = (f"{literal(draw, 3)}: {literal(draw, depth + 1)}" for _ in range(draw.randrange(3)))
            return "{" + ", ".join(pairs) + "}"
        case _:
            return "1" + "+1" * draw.choice((1, 1000, 20_000))
