"""Config files: finding them by name, and reading them in mmengine's dialect.

They are plain Python assignments with `_base_`. A name is looked for in `./pretrain_configs` (`./downstream_configs`),
then among the shipped ones; a path works, too.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import re
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
    config = dialect()
    try:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        values = config.fromfile(str(file), import_custom_modules=False).to_dict()
    except BadInput as error:  # of a name in `_base_`
        raise BadInput(f"{file}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a user's Python raises, the remedy is the same
        reason = f"it calls exit({error})" if isinstance(error, SystemExit) else one_line(error)
        raise BadInput(f"{file} is not a readable config: {reason}; correct the file.") from error
    return values, docstring


@cache
def dialect() -> Any:
    """Return mmengine's `Config`, whose `_base_` may also name a config of ours, or one of mmseg's."""
    from mmengine.config import Config  # 0.2 s, hence not at the top

    by_path = Config._get_cfg_path

    def by_name_or_path(base: str, file: str) -> tuple[str, str | None]:
        if re.fullmatch(r"[\w.-]+", base) and not base.endswith((".py", ".json", ".yaml", ".yml")):
            return str(_base(base, Path(file))), None
        return by_path(base, file)

    Config._get_cfg_path = staticmethod(by_name_or_path)
    return Config


def _base(name: str, file: Path) -> Path:
    """The file of the config `name` that `file` inherits; one of the same name is the shipped one, not itself."""
    folders = ("pretrain_configs", "downstream_configs")
    for folder in folders:
        for found in (config_files(folder).get(name), shipped(folder) / f"{name}.py"):
            if found is not None and found.is_file() and found.resolve() != file.resolve():
                return found
    if (found := mmseg_config(name)) is not None and found.resolve() != file.resolve():
        return found
    known = [known for folder in folders for known in config_files(folder)]
    raise BadInput(f"_base_ names {name!r}, which is no config{nearest(name, known) or '; bench list shows them.'}")


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
