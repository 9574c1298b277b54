"""Where the data sets lie: the command line's words, then the environment, then a config file.

In each of these a data set is named (`coco=DIR`), or a common parent is given that holds `coco/`, `imagenet/`,
`cifar10/` and so on, each by the data set's name (or `coco_mini/` and so on).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_config_path

from bench.data.sets import DATA_SETS, find, known_names, mistaken
from bench.data.sets.sharded import laid_out
from bench.errors import BadInput, nearest, one_line

VARIABLE = "BENCH_DATA_ROOT"
FILE, TABLE = "bench.toml", "data_roots"


@dataclass(frozen=True)
class Source:
    """One place where folders are given, and those that it gives."""

    name: str  # for people
    named: Mapping[str, Path] = field(default_factory=dict)
    parents: tuple[Path, ...] = ()

    def find(self, dataset: str) -> Path | None:
        """Return the folder that is named for a data set, else the one that a parent holds, else None."""
        if dataset in self.named:
            return self.named[dataset]
        places = (parent / name for parent in self.parents for name in (dataset, f"{dataset}_mini"))
        return next((place for place in places if place.is_dir()), None)


@dataclass(frozen=True)
class Roots:
    """The folders that were given, best source first."""

    given: tuple[Source, ...]

    def find(self, dataset: str) -> Path:
        """Return the folder of a data set; BadInput with the remedy when there is none.

        ImageNet-100 is read from `imagenet` where it has no folder.
        """
        data_set = find(dataset)
        if data_set is not None:
            dataset = data_set.name
        place, source = self._locate(dataset, data_set.serves_from if data_set is not None else ())
        if place is None:
            names = known_names()
            others = sorted({name for source in self.given for name in source.named} - {*names})
            parents = [str(parent) for source in self.given for parent in source.parents]
            looked = f" (looked into {', '.join(parents)})" if parents else ""
            looked += f" (only given: {', '.join(others)})" if others and data_set is not None else ""
            hint = "" if data_set is not None else nearest(dataset, [*names, *others])
            raise BadInput(
                f"No data root for {dataset}{looked}{hint + ' Give' if hint else '; give'} --data-root {dataset}=DIR, "
                f"or a common parent that holds {dataset}/, or set {VARIABLE} or [data_roots] in {FILE} to the same."
            )
        if not place.is_dir():
            raise BadInput(f"{place}, given for {dataset} by {source}, is no folder; correct it or leave it out.")
        return place

    def sources(self) -> list[tuple[str, Path | None, str]]:
        """Return (data set, its folder or None, where that came from) of each data set that is known or given by
        name.

        Where a folder was given and is none, or holds another data set or not all of this one, the last says so.
        """
        rows = []
        given = sorted({name for source in self.given for name in source.named} - {*known_names()})
        for dataset in [*known_names(), *given]:
            place, source = self._locate(dataset, DATA_SETS[dataset].serves_from if dataset in DATA_SETS else ())
            if place is not None and not place.is_dir():
                place, source = None, f"{source}: {place} is no folder"
            elif place is not None and (doubt := _doubt(dataset, place)):
                place, source = None, f"{place} {doubt}"
            rows.append((dataset, place, source))
        return rows

    def _locate(self, dataset: str, others: Sequence[str]) -> tuple[Path | None, str]:
        """The folder given for a data set, else for one of the others that hold it, and where that was given."""
        for name in (dataset, *others):
            for source in self.given:
                place = source.find(name)
                if place is not None:
                    return place, source.name
        return None, ""


def resolve_roots(
    options: Sequence[str] = (), *, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Roots:
    """Collect the data roots: the words of --data-root, the environment, `bench.toml` here, then the user's config.

    Args:
        options: `coco=DIR`, or `DIR` for a common parent.
        environ: instead of os.environ. `BENCH_DATA_ROOT` holds such words, separated by os.pathsep;
            `BENCH_DATA_ROOT_COCO` the folder of one data set.
        cwd: instead of the working directory. Relative folders are relative to it, in a file to the file.

    Raises BadInput for words and files that cannot be understood; that a folder is missing is said when it is needed.
    """
    from bench.data.decode import most_pixels  # which loads Pillow

    most_pixels()  # refuses what its variable should not be, before a stage finds out
    environ = os.environ if environ is None else environ
    cwd = (cwd or Path.cwd()).absolute()
    prefix = VARIABLE + "_"
    given = [_words("--data-root", options, cwd)]
    for key in sorted(environ):
        if key.startswith(prefix) and environ[key]:
            given.append(Source(key, {key.removeprefix(prefix).lower(): _absolute(environ[key], cwd)}))
    given.append(_words(VARIABLE, environ.get(VARIABLE, "").split(os.pathsep), cwd))
    given += [_file(file) for file in (cwd / FILE, user_config_path("bench") / "config.toml") if file.is_file()]
    return Roots(tuple(given))


def _words(source: str, words: Iterable[str], cwd: Path) -> Source:
    named: dict[str, Path] = {}
    parents: list[Path] = []
    for word in filter(None, words):
        name, equals, folder = word.partition("=")
        # A folder's name may hold an equals sign.
        if not equals or not name.replace("_", "").isalnum():
            parents.append(_absolute(word, cwd))
        elif not folder:
            raise BadInput(f"{source} has {word!r} without a folder; write {name}=DIR.")
        else:
            named[name.lower()] = _absolute(folder, cwd)
    return Source(source, named, tuple(parents))


def _doubt(dataset: str, place: Path) -> str:
    """Why a folder is not the data set that it was given for, after its path; "" where it may be."""
    data_set = DATA_SETS.get(dataset)
    if data_set is None:
        return ""
    try:
        other = mistaken(data_set, place)
        return f"looks like {other}" if other is not None else laid_out(data_set, place).lacks(place)
    except BadInput as error:  # of shards that are compressed, or not all there
        return f"cannot be used: {str(error).rstrip('.')}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _file(file: Path) -> Source:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{file} is not readable TOML: {one_line(error)}; correct the file.") from error
    unknown = next((key for key in content if key != TABLE), None)
    if unknown is not None:
        what = f"[{unknown}]" if isinstance(content[unknown], dict) else f"{unknown} outside of a table"
        raise BadInput(f'{file} has {what}, which bench does not read; write lines like coco = "DIR" below [{TABLE}].')
    table = content.get(TABLE, {})
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise BadInput(f'{file}: [data_roots] takes lines like coco = "DIR" and parent = "DIR"; correct it.')
    folders = {name.lower(): _absolute(value, file.parent) for name, value in table.items()}
    parents = (folders.pop("parent"),) if "parent" in folders else ()
    return Source(str(file), folders, parents)


def _absolute(folder: str, base: Path) -> Path:
    return base / Path(folder).expanduser()
