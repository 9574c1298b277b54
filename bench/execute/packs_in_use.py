"""Which packs of its data sets each stage of a grid reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.data.packs.manifest import PackUse, StoredPack, evaluation_packs, find_packs, training_pack


class Packs:
    """Which packs a config's stage reads, given the folders and fingerprints of the data sets.

    - Evaluations read a pack only where it gives the very bits that the originals give; no fingerprint knows of it.
    - Training views of the back ends `fast` and `device` read a pack that is there, and its identity becomes part of
      the fingerprint of the stage's data. Those of `reference` always read the originals.
    """

    def __init__(self, roots: Mapping[str, str], fingerprints: Mapping[str, str]) -> None:
        self.roots, self.fingerprints = roots, fingerprints
        self.notes: list[str] = []  # on packs that lie there and are not used
        self._packs: dict[str, list[StoredPack]] = {}

    def __call__(self, config: Recipe | Task) -> tuple[PackUse, ...]:
        """Return the packs that a pretraining or a task reads."""
        settings = dict(config)
        if settings.get("pack", "off") == "off" or config.dataset not in self.roots:
            return ()
        uses: list[PackUse] = []
        packs = self._of(config.dataset)
        if packs and settings.get("view_backend") in {"fast", "device"}:
            chosen = training_pack(packs, config.view_size if isinstance(config, Recipe) else settings["size"])
            uses += [] if chosen is None else [chosen.use("training")]
        if packs and "resize" in settings:
            uses += [pack.use("evaluation") for pack in evaluation_packs(packs, settings["resize"])]
        return tuple(uses)

    def _of(self, dataset: str) -> list[StoredPack]:
        if dataset not in self._packs:
            packs, refused = find_packs(dataset, Path(self.roots[dataset]), self.fingerprints[dataset])
            self._packs[dataset] = packs
            self.notes += refused
        return self._packs[dataset]
