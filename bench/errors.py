"""The ways a command can end other than done, each with its exit code, and how messages word errors and suggestions."""

from __future__ import annotations

import difflib
import errno
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


class CannotWrite(StageFailed, OSError):
    """A file could not be written; what it held before is still there, unless its folder is not.

    Made as an OSError is, of its number, the system's words and the file. The message names the remedy.
    """

    def __str__(self) -> str:
        """Return which file, why, and what to do."""
        return f"Cannot write {self.filename} ({self.strerror}); {remedy_of(self)}, then run it again to go on."


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
        remedy = "correct its permissions" if error.errno in _PERMISSIONS else remedy_of(error)
        raise BadInput(f"Cannot write to {folder} ({reason}); {remedy} or give another {option}.") from error


_PERMISSIONS = frozenset({None, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EEXIST, errno.ENOTDIR})
# What a person does about a file that could not be written, by the number of the error.
_REMEDIES = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there, or ask for a larger quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "mount that disk for writing",
    errno.EACCES: "correct its permissions",
    errno.EPERM: "correct its permissions",
    errno.ENOENT: "leave that folder in place while a stage runs",
    errno.ENOTDIR: "leave that folder in place while a stage runs",
    errno.ESTALE: "mount that share again",
    errno.EIO: "check that disk, or its server",
}


def remedy_of(error: BaseException | None) -> str:
    """Return what to do about a file that could not be written: "free space there", or what fits the system's error.

    That is looked for in the error, and in what it came from.
    """
    said = system_error(error)
    return _REMEDIES.get(said.errno or 0, "check that disk") if said is not None else _REMEDIES[errno.ENOSPC]


def system_error(error: BaseException | None) -> OSError | None:
    """Return the error of the system that another one came from, or is; None where there is none."""
    while error is not None and not (isinstance(error, OSError) and error.errno is not None):
        error = error.__cause__ or error.__context__
    return error


def one_line(error: BaseException, *, kind: bool = False) -> str:
    """Return what an error says on one line of at most 300 characters, with `kind` after the name of its class.

    Of an error that says nothing it is the name alone.
    """
    words = " ".join(str(error).split()).partition(" For further information visit ")[0]  # pydantic's
    name, words = type(error).__name__, words[:300].rstrip(".")
    return f"{name}: {words}" if kind and words else words or name


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the host; torch says so by a RuntimeError."""
    words = ("out of memory", "DefaultCPUAllocator", "ALLOC_FAILED")  # of CUDA, of the host, of cuBLAS and cuDNN
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in str(error) for w in words))


def shortened(value: object, most: int = 200) -> str:
    """Return a value as Python writes it, without its middle where that takes more than `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 4 :]}"


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
