"""What a stage is given: its config, its seed, its folder, its parents' folders, the data roots, packs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.data.packs.manifest import PackUse, Purpose
from bench.data.packs.reading import Pack, open_pack
from bench.errors import BadInput


@dataclass(frozen=True)
class Job:
    """One stage to run. Everything that it writes lies in `folder`; it reads `inputs`, `data_roots`, `packs` only.

    `features` is a cache that stages share; no result depends on what is in it.
    """

    config: Recipe | Task
    seed: int  # that the stage draws by
    folder: Path
    inputs: Mapping[str, Path] = field(default_factory=dict)  # role ("init", "pretrain", "convert") -> parent's folder
    data_roots: Mapping[str, Path] = field(default_factory=dict)
    unreadable: Literal["fail", "skip"] = "fail"
    packs: tuple[PackUse, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)  # data set -> fingerprint
    trunk_seed: int | None = None  # of the pretraining, where a task has another
    recipe: Recipe | None = None  # of the pretraining that the stage belongs to
    evaluation_only: bool = False  # of what a finished stage left, which lies in `folder`; nothing may be trained
    features: Path | None = None  # where features of frozen trunks are kept for other stages; None: nowhere

    @property
    def pretraining_seed(self) -> int:
        """The seed that the pretraining of the stage drew by."""
        return self.seed if self.trunk_seed is None else self.trunk_seed

    def data_root(self, dataset: str) -> Path:
        """Return the folder of a data set; BadInput if the job was planned without it."""
        if dataset not in self.data_roots:
            raise BadInput(f"No data root for {dataset}; give --data-root {dataset}=DIR.")
        return self.data_roots[dataset]

    def pack(self, dataset: str, split: str, purpose: Purpose) -> Pack | None:
        """Open the pack that planning chose for this, or return None; BadInput if it is no longer that one."""
        wanted = (dataset, split, purpose)
        use = next((use for use in self.packs if (use.dataset, use.split, use.purpose) == wanted), None)
        return open_pack(Path(use.folder), use.identity) if use else None
