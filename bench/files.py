"""Files written whole or not at all: a reader, or a start after a crash, never sees half of one. And notes in JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.errors import CannotWrite, system_error

CHECKSUM = "checksum"  # of an object in JSON
_FIRST = re.compile(rf'\{{\n "{CHECKSUM}": "([0-9a-f]{{64}})",(?=\n)')


def process_number() -> str:
    """Return digits of this process alone, on this machine and others: in containers, processes often have one number.

    They are those of its number and of the machine's name.
    """
    return f"{os.getpid()}{zlib.crc32(socket.gethostname().encode()):010d}"


@contextmanager
def replacing(file: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `file`; what is written there takes the place of `file` when the block ends well.

    If the block raises, what was written is removed, and `file` stays as it was. Raises CannotWrite, an OSError which
    names `file`, when the temporary file cannot be written or cannot take its place.

    With `durable` the content lies on the disk before it takes the place of `file`, so that a power cut does not cost
    it. Only one process at a time may write such a file: what a killed one left is overwritten by the next.

    A device or a pipe, such as /dev/null or /dev/stdout, is never replaced: its own path is given.
    """
    if _only_written_to(file):
        yield file
        return
    temporary = file.with_name(f".{file.name}.{'partial' if durable else process_number()}")
    try:
        yield temporary
        if durable:
            sync(temporary)  # not tried again where it fails: the second time it may say that all is well
        _take_place(temporary, file)
        if durable:
            _sync_folder(file.parent)  # else the old name may outlive a power cut
    except BaseException as error:
        with suppress(OSError):  # of a disk that takes nothing any more: what went wrong before is what counts
            temporary.unlink(missing_ok=True)  # a full disk wants its space back
        # torch's archive says RuntimeError where its stream said OSError.
        said = system_error(error) if isinstance(error, OSError | RuntimeError) else None
        if said is not None and _concerns(said, temporary, file):
            raise CannotWrite(said.errno, said.strerror, str(file)) from error
        raise


def _only_written_to(file: Path) -> bool:
    """Whether a file is a device or a pipe, or the name of what a process has open, which may be any file."""
    if str(file.parent) in {"/dev", "/dev/fd"} or str(file).startswith("/proc/"):  # and not /dev/shm
        return file.exists() and not file.is_dir()
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):  # not there, or no path at all: whoever writes to it finds out
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _take_place(temporary: Path, file: Path) -> None:
    """Give `file` what the temporary one holds. Raises OSError.

    A server of NFS that answers late is asked again, and says the second time that the temporary file is not there:
    what counts is what `file` is then.
    """
    written = temporary.stat()
    try:
        temporary.replace(file)
    except OSError:
        with suppress(OSError):
            if os.path.samestat(written, file.stat()):
                return
        raise


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder lie on the disk, where its file system can say so. Raises OSError."""
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EACCES}:
            raise


def _concerns(error: OSError, temporary: Path, file: Path) -> bool:
    """Whether an error is about writing a file, and not about what a block reads to write it."""
    if error.errno is None or isinstance(error, CannotWrite):
        return False
    named = {os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)}
    return not named or bool(named & {str(temporary), str(file), str(file.parent)})


def write_text(file: Path, text: str) -> None:
    """Write text in UTF-8, with its line ends as they are. Raises CannotWrite, and leaves what was there."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; {} where there is none that can be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def with_checksum(content: Mapping[str, Any]) -> str:
    """Return an object, which must not be empty, as JSON with the checksum that `add_checksum` gives it."""
    return add_checksum(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def checked(text: str) -> dict[str, Any]:
    """Return the object in a JSON text without its checksum; what has none, of older versions, is not checked.

    Raises ValueError where the text is no object, or not to the letter the one that `with_checksum` gave, and for half
    a surrogate pair, which no file could hold again.
    """
    content = json.loads(without_checksum(text))
    if not isinstance(content, dict):
        raise ValueError("it holds no object")
    if "\\u" in text:
        json.dumps(content, ensure_ascii=False).encode()
    stated = content.pop(CHECKSUM, None)
    if stated is not None and _with_checksum_last(content) != text:
        raise ValueError("its checksum is not that of its content")
    return content


def _with_checksum_last(content: Mapping[str, Any]) -> str:
    """As earlier versions wrote it."""
    digest = hashlib.sha256(json.dumps(content, indent=1, ensure_ascii=False).encode()).hexdigest()
    return json.dumps({**content, CHECKSUM: digest}, indent=1, ensure_ascii=False) + "\n"


def add_checksum(text: str) -> str:
    """Return a JSON object, written with an indent of 1, with a first entry `checksum`: the sha256 of the text given.

    At the end, one cut could take it away together with what comes before it, and leave an object.
    """
    body = text.removesuffix("\n")
    return f'{{\n "{CHECKSUM}": "{hashlib.sha256(body.encode()).hexdigest()}",{body[1:]}\n'


def without_checksum(text: str) -> str:
    """Return the text that `add_checksum` was given, after comparing; one without a checksum as it is.

    Nothing is parsed, so that it costs little beside what reads the text. Raises ValueError where the text differs from
    what was written; an entry of that name elsewhere is for the reader to refuse.
    """
    found = _FIRST.match(text)
    if found is None:
        return text
    body = "{" + text[found.end() : -1]
    if text[-1] != "\n" or hashlib.sha256(body.encode()).hexdigest() != found[1]:
        raise ValueError("its checksum is not that of its content")
    return body


def sha256_of(file: Path) -> str:
    """Return the sha256 of a whole file, as `sha256sum` gives it. Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def second_name(file: Path, name: Path) -> None:
    """Let `name`, in the same folder, be another name of what `file` holds now, whatever it was before.

    A file that takes the place of `file` later leaves it alone. It takes no room, but where a file system has no hard
    links: there it is a copy. Raises OSError.
    """
    with replacing(name, durable=True) as temporary:
        temporary.unlink(missing_ok=True)  # of a process that was killed
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)


def sync(path: Path) -> None:
    """Wait until a file or folder lies on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_tree(folder: Path) -> None:
    """Take a folder away at once, then remove what is in it, as far as that can be. Raises OSError.

    On NFS a file that some process still has open leaves another in its place, so that its folder cannot be removed.
    """
    aside = folder.with_name(f".{folder.name}.removed.{os.getpid()}")
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
