"""What a stage is given: its config, its seed, its own folder, its parents' folders, the data roots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.errors import BadInput
from bench.recipe import Recipe, Task


@dataclass(frozen=True)
class Job:
    """One stage to run. Everything that it writes lies in `folder`; it reads `inputs` and `data_roots` only.

    `features` is a cache that stages share; no result depends on what is in it.
    """

    config: Recipe | Task
    seed: int
    folder: Path
    inputs: Mapping[str, Path] = field(default_factory=dict)  # role ("init", "pretrain", "convert") -> parent's folder
    data_roots: Mapping[str, Path] = field(default_factory=dict)
    unreadable: Literal["fail", "skip"] = "fail"
    data: Mapping[str, str] = field(default_factory=dict)  # data set -> fingerprint
    features: Path | None = None  # where features of frozen trunks are kept for other stages; None: nowhere

    def data_root(self, dataset: str) -> Path:
        """Return the folder of a data set; BadInput if the job was planned without it."""
        if dataset not in self.data_roots:
            raise BadInput(f"No data root for {dataset}; give --data-root {dataset}=DIR.")
        return self.data_roots[dataset]
