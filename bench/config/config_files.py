"""Config files: finding them by name, and reading them in mmengine's dialect.

They are plain Python assignments with `_base_`. A name is looked for in `./pretrain_configs` (`./downstream_configs`),
then among the shipped ones; a path works, too.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import BadInput, nearest, one_line

PACKAGE = Path(__file__).parents[1]


def shipped(folder: str) -> Path:
    """Return the folder of shipped files (`results/reference`): inside the installed package, or in its checkout."""
    packed = PACKAGE / "shipped" / Path(folder).name
    return packed if packed.is_dir() else PACKAGE.parent / folder


def config_files(folder: str) -> dict[str, Path]:
    """Return {name: file} of one folder of configs; the working directory's win over the shipped ones."""
    files: dict[str, Path] = {}
    for place in (shipped(folder), Path.cwd() / folder):
        if place.is_dir():
            files |= {file.stem: file for file in sorted(place.glob("*.py")) if not file.stem.startswith("_")}
    return dict(sorted(files.items()))


@cache
def mmseg_configs() -> Path | None:
    """Return the folder of the configs that mmseg ships, without importing mmseg."""
    spec = importlib.util.find_spec("mmseg")
    folder = Path(spec.origin).parent / ".mim" / "configs" if spec and spec.origin else None
    return folder if folder is not None and folder.is_dir() else None


def mmseg_config(name: str) -> Path | None:
    """Return the file of the mmseg config `name` (a path, or a stem such as pspnet_r50-d8_4xb2-40k_…)."""
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    folder = mmseg_configs()
    stem = path.name.removesuffix(".py")
    if folder is None or not stem:
        return None
    return next((file for file in sorted(folder.glob("*/*.py")) if file.stem == stem), None)


def find_mmseg(name: str) -> Path:
    """Return the file of an mmseg config; BadInput when there is none."""
    file = mmseg_config(name)
    if file is None:
        raise BadInput(
            f"No mmseg config {name!r}; give a path, or a name below {mmseg_configs() or 'mmseg/.mim/configs'}."
        )
    return file


def read(file: Path) -> tuple[dict[str, Any], str]:
    """Return (values, docstring) of one config file in mmengine's dialect; each version of a file is read once.

    Raises BadInput when the file cannot be read as a config.
    """
    return copy.deepcopy(_read(file, file.absolute(), file.stat().st_mtime_ns))


@cache
def _read(file: Path, _place: Path, _changed: int) -> tuple[dict[str, Any], str]:
    from mmengine.config import Config  # 0.2 s, hence not at the top

    try:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        values = Config.fromfile(str(file), import_custom_modules=False).to_dict()
    except Exception as error:  # whatever a user's Python raises, the remedy is the same
        raise BadInput(f"{file} is not a readable config: {one_line(error)}; correct the file.") from error
    return values, docstring


def find(folder: str, name: str) -> Path:
    """Return the config file for a name or path; BadInput names the nearest when there is none."""
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    files = config_files(folder)
    if name in files:
        return files[name]
    if folder == "downstream_configs" and (file := mmseg_config(name)) is not None:
        return file
    what = "pretraining" if folder == "pretrain_configs" else "downstream"
    raise BadInput(f"No {what} config {name!r}{nearest(name, files) or '; bench list shows them.'}")
