"""The checksums of what a stage left, which `done.json` lists and the stages after it compare."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.config.recipe import epoch_file
from bench.errors import BadInput
from bench.execute.stage_file import DONE, StageFile, finished, read_stage
from bench.files import sha256_of

WEIGHTS = ("*.ckpt", "*.safetensors", "*.pth")
BEFORE = ("previous.ckpt", "previous.safetensors")  # the checkpoint before the newest one


def sums_of(folder: Path, outputs: Iterable[str]) -> dict[str, str]:
    """Return {name: sha256} of the files that a stage's kind must leave, and of all weights beside them."""
    names = {*outputs} | {file.name for pattern in WEIGHTS for file in folder.glob(pattern)}
    return {name: sha256_of(folder / name) for name in sorted(names.difference(BEFORE)) if (folder / name).is_file()}


def check_parent(stage: StageFile, role: str, folder: Path) -> None:
    """Check that the parent in `folder` is finished, and that the files which are read of it are those that it left.

    Stages of older versions listed no checksums: nothing is compared. A file that is missing is refused by what reads
    it. Raises BadInput, which names the file.
    """
    done = finished(folder)
    names = set(read_stage(folder).stage_kind.outputs)
    if role == "init" and stage.recipe.init is not None and stage.recipe.init.epoch is not None:
        names = {epoch_file(stage.recipe.init.epoch)}
    for name in sorted(names & done.files.keys()):
        file = folder / name
        if file.is_file() and sha256_of(file) != done.files[name]:
            anew = "it is made anew"
            if name == "last.ckpt" and (folder / BEFORE[0]).is_file():
                anew, folder = "training goes on from the checkpoint before it", folder / DONE
            raise BadInput(
                f"{file} was changed after it was written (its sha256 is not that in {DONE}); remove {folder}, then "
                f"bench run: {anew}."
            )


def forget_before(folder: Path) -> None:
    """Remove the checkpoint before the newest one, of a stage that is done."""
    for name in BEFORE:
        (folder / name).unlink(missing_ok=True)
