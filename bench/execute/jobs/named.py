"""Which stage of a work folder somebody means."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bench.errors import BadInput, nearest
from bench.execute.jobs.status import STAGE, stage_files
from bench.files import read_json

MOST_NAMED = 4  # of several that fit, in a message


def folder_named(name: str, work_dir: Path) -> Path:
    """Return the folder of the stage that `name` means: a folder, a title or fingerprint, or how one of these begins.

    A label without its kind will do. Raises BadInput where none fits, or several.
    """
    for folder in (Path(name), work_dir / name) if name else ():
        with contextlib.suppress(OSError):  # of a name that is too long for a file
            if (folder / STAGE).is_file():
                return folder
    known = {file.parent: _names(file) for file in stage_files(work_dir)}
    fitting = [folder for folder, names in known.items() if name in names]
    if name and not fitting:
        fitting = [folder for folder, names in known.items() if any(each.startswith(name) for each in names)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        shown = ", ".join(str(folder.relative_to(work_dir)) for folder in fitting[:MOST_NAMED])
        more = f" and {len(fitting) - MOST_NAMED} more" if len(fitting) > MOST_NAMED else ""
        raise BadInput(f"{name!r} may be any of {len(fitting)} stages in {work_dir}: {shown}{more}; give one of these.")
    titles = [names[0] for names in known.values()]
    hint = nearest(name, titles) or "; bench status lists those that there are."
    raise BadInput(f"There is no stage {name!r} in {work_dir}{hint}")


def _names(file: Path) -> list[str]:
    """What the stage of a `stage.json` is called: its title, its label, its fingerprint, its folder."""
    stage, folder = read_json(file), file.parent
    kind, label, fingerprint = (stage.get(key) for key in ("kind", "label", "fingerprint"))
    names = [f"{kind} {label}", label, fingerprint, folder.name, f"{folder.parent.name}/{folder.name}"]
    return [name for name in names if isinstance(name, str)]
