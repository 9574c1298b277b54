"""Checkpoints that are written while training goes on: a copy of the state on the host, and a thread that writes it;
and what a run with several ranks does when one cannot be written.

A thread, not a process: it ends with its process, so that nothing writes on into a folder that the next run has taken
up, and its copy may lie in pinned memory.
"""

from __future__ import annotations

import copy
import errno
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from bench.errors import StageFailed, remedy_of, system_error
from bench.train.checkpoint import write
from bench.train.distributed import Ranks


def unwritten(error: StageFailed, folder: Path, stays: str) -> str:
    """Return the message on a checkpoint that could not be written into a run's folder, where `stays` says what stays.

    Where the folder is gone, nothing does.
    """
    said, words = system_error(error), str(error).rstrip(".")
    if said is not None and said.errno in {errno.ENOENT, errno.ENOTDIR} and not folder.is_dir():
        return f"{words}; the folder is gone, and its checkpoints with it: put it back, or run it again to start anew."
    remedy = remedy_of(error)
    return f"{words}{stays} {remedy[0].upper()}{remedy[1:]}, then run it again to go on."


class HostCopy:
    """Buffers on the host that a state is copied into. They are allocated once, pinned where a tensor is on CUDA."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], Tensor] = {}  # by the place in the state

    def take(self, state: Any) -> Any:
        """Return the state with each tensor replaced by a copy of this moment, in its own strides.

        Tensors that share memory go on to do so. The copy is whole when this returns (it waits for the device), and
        holds until the next one is taken.
        """
        shared: dict[tuple[Any, ...], Tensor] = {}
        taken = self._walk(state, (), shared)
        if any(buffer.is_pinned() for buffer in shared.values()):
            torch.cuda.current_stream().synchronize()
        return taken

    def _walk(self, value: Any, place: tuple[Any, ...], shared: dict[tuple[Any, ...], Tensor]) -> Any:
        if isinstance(value, Tensor):
            key = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
            if key not in shared:
                shared[key] = self._buffer(place, value).copy_(value.detach(), non_blocking=True)
            return shared[key]
        if isinstance(value, dict):
            taken = copy.copy(value)  # keeps its class, and the _metadata that state_dict() hangs on it
            for name, item in value.items():
                taken[name] = self._walk(item, (*place, name), shared)
            return taken
        if isinstance(value, list | tuple):
            return type(value)([self._walk(item, (*place, i), shared) for i, item in enumerate(value)])
        return value

    def _buffer(self, place: tuple[Any, ...], like: Tensor) -> Tensor:
        buffer = self._buffers.get(place)
        layout = (like.dtype, like.shape, like.stride())
        if buffer is None or (buffer.dtype, buffer.shape, buffer.stride()) != layout:
            buffer = torch.empty_like(like, device="cpu", requires_grad=False, pin_memory=like.is_cuda)
            self._buffers[place] = buffer
        return buffer


class Writer:
    """Writes checkpoints one at a time: a second one waits for the first."""

    def __init__(self) -> None:
        self._copy = HostCopy()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self, files: Mapping[Path, Mapping[str, Any]], *, background: bool = True) -> None:
        """Write each content to its file, in this order; after a file that cannot be written, no other is.

        In the background they are written as they are now. `wait` says how it went; call it before the next start.
        """
        assert self._thread is None
        assert self._failure is None
        if not background:
            self._write(files)
            return
        # A daemon: Python would wait for another kind at exit, even for a disk that never answers.
        copied = self._copy.take(dict(files))
        self._thread = threading.Thread(target=self._write, args=(copied,), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written; raises what the writing raised, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _write(self, files: Mapping[Path, Mapping[str, Any]]) -> None:
        try:
            for file, content in files.items():
                write(file, content)
        except BaseException as error:
            self._failure = error


class Saving:
    """Writes a run's checkpoints. Leaving the `with` block waits for the last one, and raises what went wrong with it.

    A subclass hands its files to `writer`, and words what follows from one that could not be written.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.writer = ranks, Writer()
        self._failure: Exception | None = None  # what went wrong with the writing, until it was raised

    def explain(self, error: StageFailed) -> str:
        """Return a message for a person: the error, which checkpoint stays, and the remedy."""
        raise NotImplementedError

    def finish_writing(self) -> None:
        """Wait until what was saved lies on the disk. All ranks call it, and none leaves it before all are here.

        Raises StageFailed on all ranks when it could not be written.
        """
        failure, self._failure = self.wait(), None
        if self.ranks.sums(int(failure is not None))[0]:
            raise failure or StageFailed("The first process could not write the checkpoint; its message says why.")

    def wait(self) -> Exception | None:
        """Wait for the writer, and return what went wrong and was not raised yet; other ranks need not ask."""
        try:
            self.writer.wait()
        except StageFailed as error:
            self._failure = StageFailed(self.explain(error))
            self._failure.__cause__ = error
        except Exception as error:
            self._failure = error
        return self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        failure = self.wait()
        if failure is not None:
            besides = f" Besides, {error}" if error is not None else ""
            raise StageFailed(f"{failure}{besides}") from (error or failure)
