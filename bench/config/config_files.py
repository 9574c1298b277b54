"""Config files: finding them by name, and reading them in mmengine's dialect, or as plain data.

They are plain Python assignments with `_base_`, or the same in YAML or JSON. A name is looked for in
`./pretrain_configs` (`./downstream_configs`), then among the shipped ones; a path works, too, and in safe mode a URL.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from bench.config.plain_files import DATA_SUFFIXES, SUFFIXES, read_plain
from bench.config.remote_config import fetched, is_url, url_of
from bench.errors import BadInput, nearest, one_line
from bench.safe_mode import is_safe

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
            files |= _of_folder(place)
    return dict(sorted(files.items()))


def _of_folder(place: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in sorted(each for each in place.iterdir() if each.suffix in SUFFIXES and not each.stem.startswith("_")):
        if (other := files.setdefault(file.stem, file)) != file:
            raise BadInput(f"{other} and {file.name} beside it are two configs of one name; rename one of them.")
    return files


@cache
def mmseg_configs() -> Path | None:
    """Return the folder of the configs that mmseg ships, without importing mmseg."""
    spec = importlib.util.find_spec("mmseg")
    folder = Path(spec.origin).parent / ".mim" / "configs" if spec and spec.origin else None
    return folder if folder is not None and folder.is_dir() else None


def mmseg_config(name: str) -> Path | None:
    """Return the file of the mmseg config `name` (a path, or a stem such as pspnet_r50-d8_4xb2-40k_…)."""
    path = Path(name)
    if path.suffix in SUFFIXES and _is_file(path):
        return path
    folder = mmseg_configs()
    stem = path.name.removesuffix(".py")
    if folder is None or not stem:
        return None
    return next((file for file in sorted(folder.glob("*/*.py")) if file.stem == stem), None)


def _is_file(path: Path) -> bool:
    """Whether there is a file; there is none of a name that is too long for one."""
    try:
        return path.is_file()
    except OSError:
        return False


def find_mmseg(name: str) -> Path:
    """Return the file of an mmseg config; BadInput when there is none."""
    file = mmseg_config(name)
    if file is None:
        raise BadInput(
            f"No mmseg config {name!r}; give a path, or a name below {mmseg_configs() or 'mmseg/.mim/configs'}."
        )
    return file


def read(file: Path) -> tuple[dict[str, Any], str]:
    """Return (values, docstring) of one config file; each version of a file is read once.

    It is run, as mmengine does; YAML and JSON, and in safe mode all, are read as plain data instead.
    Raises BadInput when the file cannot be read as a config.
    """
    return copy.deepcopy(_read(file, file.absolute(), file.stat().st_mtime_ns, reads_plainly(file)))


def reads_plainly(file: Path) -> bool:
    """Whether a config is read as plain data, and nothing of it is run."""
    return is_safe() or file.suffix in DATA_SUFFIXES


@cache
def _read(file: Path, _place: Path, _changed: int, plainly: bool) -> tuple[dict[str, Any], str]:
    if plainly:
        return read_plain(file, _base_file)
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
    """Return mmengine's `Config`, whose `_base_` may also name a config of ours, or one of mmseg's.

    What is YAML or JSON there is read as plain data.
    """
    from mmengine.config import Config, ConfigDict  # 0.2 s, hence not at the top

    by_path, run = Config._get_cfg_path, Config._file2dict

    def by_name_or_path(base: str, file: str) -> tuple[str, str | None]:
        return (str(_base(base, Path(file))), None) if _is_name(base) else by_path(base, file)

    def run_or_read(filename: str, *options: Any, **more: Any) -> tuple[Any, str, Any]:
        if not str(filename).endswith(DATA_SUFFIXES):
            return run(filename, *options, **more)
        return ConfigDict(read_plain(Path(filename), _base_file)[0]), "", {}

    Config._get_cfg_path = staticmethod(by_name_or_path)
    Config._file2dict = staticmethod(run_or_read)
    return Config


def _is_name(base: str) -> bool:
    return re.fullmatch(r"[\w.-]+", base) is not None and not base.endswith(SUFFIXES)


def _base_file(base: str, file: Path) -> Path:
    """The file that a word in `_base_` of a config means that is read as plain data."""
    if _is_name(base):
        try:
            return _base(base, file)
        except BadInput as error:
            raise BadInput(f"{file}: {error}") from error
    if is_url(base) or "::" in base:
        raise BadInput(f"_base_ in {file} is {base!r}, which plain data cannot inherit; give a path or a name.")
    if (url := url_of(file)) is not None:
        raise BadInput(f"_base_ in {url} is the path {base!r}, but what is fetched inherits by name alone; correct it.")
    return file.parent / base


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
    if is_url(name):
        return fetched(name)
    path = Path(name)
    if path.suffix in SUFFIXES and _is_file(path):
        return path
    files = config_files(folder)
    if name in files:
        return files[name]
    if folder == "downstream_configs" and (file := mmseg_config(name)) is not None:
        return file
    what = "pretraining" if folder == "pretrain_configs" else "downstream"
    raise BadInput(f"No {what} config {name!r}{nearest(name, files) or '; bench list shows them.'}")
