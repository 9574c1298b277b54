"""The ways a command can end other than done, each with its exit code, and how messages word errors and suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class BadInput(Exception):
    """The user can correct this. The message is one sentence that says what is wrong and the remedy.

    The command line prints the message alone.
    """

    exit_code = 2


class StageFailed(Exception):
    """A stage broke while it ran."""

    exit_code = 1


class PeerLost(StageFailed):
    """Another process of the same stage ended or does not answer; started again together, they may go on."""

    exit_code = 76  # EX_PROTOCOL: of its launcher alone


class Interrupted(Exception):
    """A signal asked the stage to stop; what was computed so far lies in its last checkpoint."""

    exit_code = 130


class MoreToDo(Exception):
    """The time that a command was given is over, and it stopped in good order."""

    exit_code = 75  # EX_TEMPFAIL: not failed, to be tried again


@contextmanager
def writing_to(folder: Path, option: str) -> Iterator[None]:
    """Turn an OSError into a BadInput that names the folder, and the option that chose it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(
            f"Cannot write to {folder} ({reason}); correct its permissions or give another {option}."
        ) from error


def one_line(error: BaseException, *, kind: bool = False) -> str:
    """Return what an error says on one line of at most 300 characters, with `kind` after the name of its class.

    Of an error that says nothing it is the name alone.
    """
    words = " ".join(str(error).split()).partition(" For further information visit ")[0]  # pydantic's
    name, words = type(error).__name__, words[:300].rstrip(".")
    return f"{name}: {words}" if kind and words else words or name


def nearest(word: str, known: Iterable[str], most: int = 3) -> str:
    """Return `"; did you mean a, b?"` for the known words nearest to `word`, or `""` if none is near.

    Near are those that are mostly alike, and those that `word` is a whole part of: `byol` of `cifar10_byol_loss1`.
    """
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(word, known, n=most, cutoff=0.6)
    parts = [each for each in known if word and f"_{word}_" in f"_{each}_" and each not in close]
    close = [*close, *parts][:most]
    return f"; did you mean {', '.join(close)}?" if close else ""


def nearest_or_all(word: str, known: Iterable[str]) -> str:
    """Return what `nearest` says, or `"; known: a, b."` if none is near."""
    return nearest(word, known := list(known)) or f"; known: {', '.join(known) or 'none'}."
