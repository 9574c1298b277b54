"""`code.json` in a stage's folder: the code that each sitting of the stage ran with, and what its parents were then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.code.used import CodeUsed, Current
from bench.config.code_of import CodeOf
from bench.errors import BadInput
from bench.execute.stage_file import StageFile, read_done
from bench.files import write_text

CODE = "code.json"
UNKNOWN = CodeUsed(digest="0" * 16)  # of what an older version of this project began, which kept no code
CHOICES = "give --stale keep to take it as it is, or --stale redo to make it anew"


class CodeFile(BaseModel):
    """The content of `code.json`."""

    model_config = ConfigDict(extra="ignore")

    sittings: tuple[CodeUsed, ...]  # one for each code that took part, in order
    parents: dict[str, str] = {}  # role -> what that parent was when the last sitting began


def current_of(stage: StageFile) -> Current:
    """Return the code of now of a stage. Raises BadInput where code from outside is not there, or is no Python."""
    return Current(CodeOf.cached().of(stage.task or stage.recipe, stage.recipe, stage.kind))


def read_code(folder: Path) -> CodeFile | None:
    """Return what a stage's folder says of its code.

    None where it has not begun. What was begun by an older version of this project has UNKNOWN.
    """
    try:
        return CodeFile.model_validate_json((folder / CODE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        begun = any(folder.glob("*.ckpt")) or (folder / "done.json").is_file()
        return CodeFile(sittings=(UNKNOWN,)) if begun else None


def begin(folder: Path, stage: StageFile, current: Current, inputs: Mapping[str, Path]) -> CodeFile:
    """Note that a sitting begins, with the code of now, and return all that took part so far."""
    before, now = read_code(folder), current.used
    sittings = () if before is None else before.sittings
    if not sittings or not sittings[-1].same_as(now):
        sittings = (*sittings, now)
    parents = {role: identity for role, place in inputs.items() if (identity := identity_of(place))}
    content = CodeFile(sittings=sittings, parents=parents)
    current.write_table(folder.parent.parent)
    write_text(folder / CODE, content.model_dump_json(indent=1) + "\n")
    if len(sittings) > 1:
        digests = " and ".join("unknown code" if each == UNKNOWN else each.digest for each in sittings)
        print(f"{stage.title}: goes on under other code than it was begun with ({digests})", flush=True)
    return content


def identity_of(folder: Path) -> str:
    """Return what tells a finished stage from itself made anew: its trunk's hash, or when it ended; "" if neither."""
    from bench.execute.stage_file import read_stage

    try:
        stage = read_stage(folder)
        done = read_done(folder, stage.fingerprint, stage.stage_kind.outputs)
    except BadInput:
        return ""
    return "" if done is None else str(done.metrics.get("trunk_hash") or done.finished)


def check_planned(stage: StageFile, current: Current, work_dir: Path, keep: bool) -> None:
    """Raise BadInput where the code is another than the stage was planned with, unless it was said to be kept."""
    planned = stage.code
    if keep or planned is None or planned.digest == current.code.digest:
        return
    words = "; ".join(current.changes(planned.model_copy(update={"libraries": {}}), work_dir))
    raise BadInput(
        f"The code of {stage.title} changed since it was planned ({words}); run bench run again, or {CHOICES}."
    )


def check_begun(folder: Path, stage: StageFile, current: Current, keep: bool) -> None:
    """Raise BadInput where a stage that was begun, or is done, had other code, and nobody said what to do with it."""
    content, now = read_code(folder), current.used
    if keep or content is None:
        return
    for each in content.sittings:
        if each != UNKNOWN and not each.same_as(now) and each.digest not in stage.code_kept:
            words = "; ".join(current.changes(each, folder.parent.parent))
            raise BadInput(f"{stage.title} was begun or made by other code than that of now ({words}); {CHOICES}.")
