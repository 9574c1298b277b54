"""The command that compares the code with its lock: `bench code`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from bench.cli_options import App
from bench.errors import BadInput

app = App()


@app.command("code")
def code_command(
    same: Annotated[
        str | None,
        typer.Option("--same", help="Say, with the reason, that what moved changes no result.", metavar="REASON"),
    ] = None,
    lock: Annotated[bool, typer.Option("--lock", help="Write the lock, after a version was raised.")] = False,
) -> None:
    """List the code of objectives, tasks and data sets that moved since the lock, or account for it."""
    from bench.code import lock as locks
    from bench.code import same as sames
    from bench.config.code_of import CodeOf
    from bench.execute.code_lock import entries_for, moved_units, units_of
    from bench.hashing import VIEW_VERSIONS

    if same is not None and lock:
        raise BadInput("--same and --lock are two ways to account for an edit; give one of them.")
    if same is not None and len(same.strip()) < 3:
        raise BadInput('--same takes the reason why no result changes; write it out: --same "only renamed".')
    code = CodeOf.cached()
    units, known = units_of(code), locks.read()
    if known is None and not lock:
        raise BadInput("There is no lock of the code; bench code --lock writes it.")
    moved = [] if known is None else moved_units(units, known)
    open_ = [each for each in moved if not each.accounted]
    if lock:
        if open_:
            raise BadInput(
                f"{open_[0].unit} moved and has no new version; {remedies(open_[0].unit)}, then give --lock again."
            )
        locks.write(locks.lock_of(units, VIEW_VERSIONS))
        print(f"{len(units)} units are locked in {locks.FILE}")
    elif same is not None:
        assert known is not None
        before = sames.entries()
        fresh = entries_for(code, known, units, same.strip(), before)
        sames.write([*before, *fresh])
        for entry in fresh:
            print(f"{entry.definition}: {entry.now} counts as {entry.was}")
        print(f"{len(fresh)} entries were added to {sames.FILE}" if fresh else "nothing has moved since the lock")
    else:
        print("\n".join(lines(moved)) or "nothing has moved since the lock")


def lines(moved: Sequence[object]) -> list[str]:
    """Return what moved, for people: by the definitions that changed, the units that reach them."""
    from bench.code.lock import Moved
    from bench.code.used import by_file

    groups: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for each in moved:
        assert isinstance(each, Moved)
        groups.setdefault((each.definitions, each.accounted), []).append(each.unit)
    found = []
    for (definitions, accounted), names in groups.items():
        found.append(f"{'; '.join(by_file(definitions)) or 'what they import'}")
        found.append(f"  moves {', '.join(names)}")
        found.append("  a version was raised: bench code --lock" if accounted else f"  {remedies(names[0])}")
    return found


def remedies(unit: str) -> str:
    """Return the two ways to account for an edit of a unit."""
    what, _, name = unit.partition(" ")
    version = {"objective": f"definition of {name}'s class", "data": f"definition of {name}'s class"}.get(what)
    version = version or f"version of the kind {unit}"
    return f'raise the {version}, or, if no result changes, run bench code --same "why"'
