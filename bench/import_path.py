"""Where Python looks for modules: the working directory is the last of these places, in every process of ours.

A plug-in may be a module there. But `python -m` looks there first, and a `random.py` of somebody's own would be taken
for the standard library's.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]  # where this package lies


def working_directory_last() -> None:
    """Have modules of the working directory found, after all others."""
    try:
        here = str(Path.cwd())
    except OSError:  # it was removed
        return
    if sys.path[:1] in ([""], [here]):
        del sys.path[0]
    if here not in sys.path:
        sys.path.append(here)


def python_options() -> list[str]:
    """Return the options with which a Python that we start does not look for modules in the working directory first.

    There are none where this package itself may be found there alone: in a checkout that is not installed.
    """
    return [] if Path.cwd() == ROOT else ["-P"]


def command(*words: str, module: str = "bench") -> list[str]:
    """Return what starts another process of ours: `python -m bench WORDS`."""
    return [sys.executable, *python_options(), "-m", module, *words]
