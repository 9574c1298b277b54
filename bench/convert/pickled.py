"""What a pickle would import and build, from its instructions, without following them.

torch's `weights_only` imports nothing that is not torch's. It still builds what it is told: tuples in tuples, of which
Python's hash of a key follows each path and ends the process where they are too deep, or a buffer of any size.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PICKLES = 5  # that a file in the old format begins with; tensors follow
DEEPEST = 100  # tuples in tuples; torch.save writes four
_INTEGERS = frozenset({"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4"})
_TUPLES = frozenset({"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_GETS, _PUTS = frozenset({"GET", "BINGET", "LONG_BINGET"}), frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of a value on the stack: of a tuple, how deep it is, and how many values it holds, counted again
    where one stands twice; of a number, or of a tuple the largest number right in it.
    """

    depth: int = 0
    count: int = 1
    number: int = 0


_PLAIN = _Value()
_Instruction = tuple[Any, Any, int | None]


def instructions(stream: Any) -> Iterator[_Instruction]:
    """Yield those of the pickles that a file begins with, up to what is none; `stream` has read, readline and tell."""
    try:
        for _ in range(PICKLES):
            yield from pickletools.genops(stream)
    except (ValueError, IndexError, OverflowError, MemoryError, RecursionError, pickle.PickleError):
        return  # no pickle, or the raw tensors after the last one


def imports(stream: Any) -> list[str]:
    """List the names that a pickle imports, with a blank after the module."""
    names: list[str] = []
    words: list[str] = []  # the last strings, which STACK_GLOBAL takes its module and name from
    for opcode, argument, _ in instructions(stream):
        if opcode.name in {"GLOBAL", "INST"}:
            names.append(str(argument))
        elif opcode.name == "STACK_GLOBAL" and len(words) >= 2:
            names.append(" ".join(words[-2:]))
        elif isinstance(argument, str):
            words.append(argument)
    return names


def excess(stream: Any, size: int) -> str:
    """Say what a pickle in a file of `size` bytes builds that is out of proportion; "" where there is nothing.

    That are tuples too deep, tuples of more values than the file has bytes, and a function that is given a larger
    number than that, as a size.
    """
    stack: list[_Value | None] = []  # None: a mark
    memo: dict[int, _Value] = {}
    for opcode, argument, _ in instructions(stream):
        name = opcode.name
        if name == "MARK":
            stack.append(None)
            continue
        if name in _GETS:
            stack.append(memo.get(int(argument), _PLAIN))
            continue
        if name in _PUTS or name == "MEMOIZE":
            if stack and (top := stack[-1]) is not None:
                memo[len(memo) if name == "MEMOIZE" else int(argument)] = top
            continue
        taken = _taken(stack, opcode)
        if name in _TUPLES:
            made = _tuple_of(taken)
            if made.depth > DEEPEST:
                return f"tuples nested more than {DEEPEST} deep"
            if made.count > size:
                return "a tuple of more values than it has bytes"
            stack.append(made)
            continue
        if name == "REDUCE" and taken and taken[-1].number > size:
            return f"{taken[-1].number:,} values by one call"
        number = int(argument) if name in _INTEGERS else 0
        stack += [_Value(number=number) if number else _PLAIN] * len(opcode.stack_after)
    return ""


def _taken(stack: list[_Value | None], opcode: Any) -> list[_Value]:
    """Take from the stack what an instruction does; what a damaged pickle lacks there is left out."""
    before = opcode.stack_before
    taken: list[_Value] = []
    single = len(before)
    if pickletools.markobject in before:
        while stack and (top := stack.pop()) is not None:
            taken.append(top)
        single = before.index(pickletools.markobject)
    for _ in range(single):
        if stack and (top := stack.pop()) is not None:
            taken.append(top)
    return taken[::-1]


def _tuple_of(values: list[_Value]) -> _Value:
    return _Value(
        depth=1 + max((value.depth for value in values), default=0),
        count=1 + sum(value.count for value in values),
        number=max((value.number for value in values if value.depth == 0), default=0),
    )
