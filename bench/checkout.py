"""Which code this is: the commit of its checkout, and a hash of what was changed in it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

SOURCES = (".py", ".toml", ".cfg", ".yaml", ".yml")  # of files that git does not track: those that may be code


class Git(BaseModel):
    """The code's commit; `dirty` when files other than results differ from it; None outside a checkout.

    `changes` is a sha256 over the paths and contents of the files that differ, and of source files that git does not
    track: two results of one commit with equal `changes` are of equal code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str | None = None
    dirty: bool | None = None
    changes: str | None = Field(default=None, exclude_if=lambda changes: changes is None)

    @property
    def words(self) -> str:
        """For people: `1bf13acb`, and what was changed in it by the first digits of its hash."""
        if self.commit is None:
            return "no commit known"
        changed = f" with changes {self.changes[:8]}" if self.changes else " with changes" if self.dirty else ""
        return self.commit[:8] + changed


@cache
def git() -> Git:
    """Return the commit of this code, not of whatever checkout the package happens to be installed below.

    A process asks once, so that an edit while it runs, after it has imported what it runs, is not taken for its code.
    """
    here = Path(__file__).resolve()
    if _run_git("ls-files", "--error-unmatch", here.name, folder=here.parent) is None:
        return Git()
    commit = _run_git("rev-parse", "HEAD", folder=here.parent)
    # Records and tables change with every run and say nothing about the code.
    code = ("--", ":/", ":(top,exclude)results")
    status = _run_git("status", "--porcelain", *code, folder=here.parent)
    if not status:
        return Git(commit=commit, dirty=None if status is None else False)
    return Git(commit=commit, dirty=True, changes=_changes(here.parent, code))


def _changes(folder: Path, code: Sequence[str]) -> str | None:
    """The hash of what differs from the commit. Of contents and not of a diff, whose form a user's settings decide."""
    top = _run_git("rev-parse", "--show-toplevel", folder=folder)
    tracked = _run_git("diff", "HEAD", "--name-only", "--no-renames", "-z", *code, folder=folder)
    others = _run_git("ls-files", "--others", "--exclude-standard", "--full-name", "-z", *code, folder=folder)
    if top is None or tracked is None or others is None:
        return None
    names = {*tracked.split("\0"), *(name for name in others.split("\0") if name.endswith(SOURCES))} - {""}
    total = hashlib.sha256()
    for name in sorted(names):
        file = Path(top) / name
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "deleted"
        total.update(f"{name}\0{content}\0".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _run_git(*words: str, folder: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
