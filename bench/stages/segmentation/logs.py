"""mmengine's logs in a stage's folder. No result depends on them: where they cannot be written, training goes on."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from mmengine.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend

from bench.trackers import track


def only_informs(_record: logging.LogRecord) -> None:
    """Do nothing about a line that the disk does not take; logging itself prints a traceback of each."""


@VISBACKENDS.register_module()
class ScoresOnDisk(LocalVisBackend):
    """mmengine's log of scalars, of which trackers get those of training; where it cannot be written is said once.

    mmengine's own back ends for trackers would run in this process, where they can end it, and write the steps of a run
    that goes on twice.
    """

    _said = False

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: str | None = None, **more: Any
    ) -> None:
        """Log values; the scores of validation, which have no loss, go to trackers as points of the curve."""
        super().add_scalars(scalar_dict, step, file_path, **more)
        if "loss" in scalar_dict:
            track(step, {name: value for name, value in scalar_dict.items() if name not in {"iter", "epoch"}})

    def _dump(self, value_dict: dict[str, Any], file_path: str, file_format: str) -> None:
        try:
            super()._dump(value_dict, file_path, file_format)
        except OSError as error:
            if not self._said:
                self._said = True
                with suppress(OSError):
                    print(f"{file_path} cannot be written ({error.strerror}); training goes on.", flush=True)
