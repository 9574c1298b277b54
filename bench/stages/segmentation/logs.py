"""mmengine's logs in a stage's folder. No result depends on them: where they cannot be written, training goes on."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from mmengine.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend


def only_informs(_record: logging.LogRecord) -> None:
    """Do nothing about a line that the disk does not take; logging itself prints a traceback of each."""


@VISBACKENDS.register_module()
class ScoresOnDisk(LocalVisBackend):
    """mmengine's log of scalars; where it cannot be written, that is said once."""

    _said = False

    def _dump(self, value_dict: dict[str, Any], file_path: str, file_format: str) -> None:
        try:
            super()._dump(value_dict, file_path, file_format)
        except OSError as error:
            if not self._said:
                self._said = True
                with suppress(OSError):
                    print(f"{file_path} cannot be written ({error.strerror}); training goes on.", flush=True)
