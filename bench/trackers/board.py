"""TensorBoard's files of a stage. Where they cannot be written that is said once, and the stage goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import one_line

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"  # in a stage's folder


class Board:
    """Writes scalars for TensorBoard.

    Args:
        folder: of the stage.
        first_step: TensorBoard shows nothing from there on that an earlier sitting wrote.
        say: says what cannot be written, where that is not printed here.
    """

    def __init__(self, folder: Path, first_step: int, say: Callable[[OSError], None] | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._folder, self._tell = folder, say or self._print
        self._hook_before, threading.excepthook = threading.excepthook, self._thread_failed
        self._writer: SummaryWriter | None = None
        try:
            self._writer = SummaryWriter(str(folder / FOLDER), purge_step=first_step)
        except OSError as error:
            self._tell(error)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values after so many steps."""
        try:
            if self._writer is not None:
                for name, value in values.items():
                    self._writer.add_scalar(name, value, step)
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Put on the disk what was logged."""
        try:
            if self._writer is not None:
                self._writer.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Write what is left; nothing may be logged after that."""
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as error:
            self._give_up(error)
        threading.excepthook = self._hook_before

    def _give_up(self, error: OSError) -> None:
        """Write no more: the thread that does has ended."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):
                writer.close()
        self._tell(error)

    def _print(self, error: OSError) -> None:
        reason = error.strerror or one_line(error)
        with suppress(OSError):
            print(f"TensorBoard's files in {self._folder} cannot be written ({reason}); the stage goes on.", flush=True)

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """Keep the traceback of TensorBoard's thread from the screen: its next use says what went wrong."""
        ours = type(failure.thread).__module__.startswith("tensorboard.")
        if not (ours and isinstance(failure.exc_value, OSError)):
            self._hook_before(failure)
