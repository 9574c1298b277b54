"""The command that makes a recorded row anew, checked by planning it: does the code here plan this very row for it?"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench.config.load import load_recipe, load_task
from bench.config.objective_settings import later, settings_of
from bench.config.objective_source import objectives
from bench.config.recipe import LATER, Recipe
from bench.config.tasks import Task
from bench.data.packs.manifest import PackUse
from bench.data.sets import short_name
from bench.errors import BadInput
from bench.execute.recording import changed_words
from bench.execute.request import Request
from bench.execute.resolve import resolve
from bench.hashing import Hashed, hashed_as_set, hashed_settings, recorded_settings
from bench.plan import Planner
from bench.record import Record
from bench.results.definitions import older_definition
from bench.safe_mode import FROM_RECORD, NotSafe, safe_mode

_OTHER = "\0"  # that no setting is
UPSTREAM = " (upstream)"  # after the name of a data set that an ancestor read in another form


@dataclass(frozen=True)
class Anew:
    """A command, and what planning it here shows.

    `same` says whether the code and the configs here plan this very row for it; `note` says so in a sentence.
    """

    command: str
    same: bool
    note: str


class _OfRecord(Planner):
    """A planner for which the data are those that a record names, wherever they lie."""

    def __init__(self, record: Record, recipes: Mapping[str, Recipe], hashed: Hashed) -> None:
        super().__init__(str, recipes, hashed=hashed)
        self.of_record = record.data

    def _data(self, config: Recipe | Task) -> tuple[dict[str, str], tuple[PackUse, ...]]:
        if config.dataset == "none":
            return {}, ()
        name = short_name(config.dataset)
        upstream = self.of_record.get(name + UPSTREAM) if isinstance(config, Recipe) else None
        return {config.dataset: upstream or self.of_record.get(name, "")}, ()


def anew(record: Record, safe: bool = True) -> Anew:
    """Return the one command that makes a record's row anew: configs, --set, --gpus, and data roots by name.

    It is worked out from the record's settings and the configs as they are here. Where that is no longer this row, it
    is the command that was recorded, which was worked out from the configs of then. With `safe`, as for a record of
    whoever, configs that it names are read as plain data, and no code that it or they name is run.
    """
    with safe_mode(FROM_RECORD) if safe else nullcontext():
        return _anew(record)


def _anew(record: Record) -> Anew:
    recorded = _recorded(record)
    reason = ""
    note = "Planned here, it gives this very row: configs, settings and data have its fingerprint."
    for words in _candidates(record, recorded):
        try:
            if _plans(words, record):
                return Anew(_whole(words, record), True, note)
            note = "Planned here, it gives this very row; the settings that the record holds would give another."
        except NotSafe as error:
            return Anew(_whole(recorded, record), False, f"It was not planned here: {error}")
        except BadInput as error:
            reason = f" ({str(error).rstrip('.')})"
    reason = f" ({older})" if (older := older_definition(record)) else reason
    start = f"Planned here, it does not give this row{reason}: a config, or what is hashed of it, changed since."
    remedy = " The record names no commit to go back to."
    if record.git.commit is not None:
        remedy = f" Go back to the code of then first: git checkout {record.git.commit}"
        remedy += "; it had changes that were not committed." if record.git.dirty else "."
    return Anew(_whole(recorded, record), False, start + remedy)


def _candidates(record: Record, recorded: Sequence[str]) -> Iterator[list[str]]:
    """The words of commands that may give the row: from the settings of the record, then as recorded."""
    with contextlib.suppress(BadInput):  # of a config that is no longer here, or that safe mode does not read
        yield _from_settings(record, recorded)
    yield list(recorded)


def _recorded(record: Record) -> list[str]:
    """The words of the recorded command; of its names, where it is none of a single pretraining and a single task."""
    words: list[str] = []
    with contextlib.suppress(ValueError):  # an open quotation
        words = shlex.split(record.command or "")[2:]
    told = _options(words)
    single = all(len(told.get(option, ())) == 1 for option in ("--pretrain", "--downstream"))
    return words if single else _plain(record)


def _plain(record: Record) -> list[str]:
    """Words for a record without a command: configs by the names of its pretraining and task."""
    words = ["--pretrain", record.pretrain.partition("[")[0], "--downstream", record.task, "--seeds", str(record.seed)]
    words += [] if record.task_seed is None else ["--task-seeds", str(record.task_seed)]
    return [*words, "--profile", record.profile]


def _from_settings(record: Record, recorded: Sequence[str]) -> list[str]:
    """The configs of the recorded command, with all that the record has otherwise than they have here.

    What the name of a swept pretraining has in brackets is given to --sweep, so that the row gets its name.
    """
    told = _options(recorded)
    (pretrain,), (downstream,) = told["--pretrain"], told["--downstream"]
    upstream, below = dict(record.settings.get("pretrain", {})), dict(record.settings.get("downstream", {}))
    recipe = load_recipe(pretrain, record.profile)
    shipped = recorded_settings(recipe)
    if shipped["init"] is not None:  # a record has the names of files without their folders
        shipped["init"] |= {key: Path(v).name for key in ("recipe", "checkpoint") if (v := shipped["init"][key])}
    task = load_task(downstream, record.profile)
    shipped_task = recorded_settings(task)
    shipped_task |= {key: Path(shipped_task[key]).name for key in task.file_contents()}
    # A kind or an objective from outside is told by its file, whose hash is recorded besides.
    for values, key in ((below, "kind_source"), (upstream.get("objective", {}), "source")):
        values.pop(key, None)
    swept = dict(_swept(record.pretrain, upstream))
    assigned = [
        word
        for word in changed_words("pretrain", upstream, shipped)
        if word.partition("=")[0].removeprefix("pretrain.") not in swept
    ]
    assigned += [*_added_later("pretrain", recipe, upstream), *changed_words("downstream", below, shipped_task)]
    assigned += _added_later("downstream", task, below)
    named = [option for option in ("--pretrain", "--downstream", "--seeds", "--task-seeds") if option in told]
    words = [word for option in named for word in (option, *told[option])]
    words += ["--safe"] if "--safe" in told else []
    words += ["--smoke"] if "--smoke" in told else ["--profile", record.profile]
    words += ["--set", *assigned] if assigned else []
    return words + (["--sweep", *(f"{key}={value}" for key, value in swept.items())] if swept else [])


def _added_later(key: str, config: BaseModel, recorded: Mapping[str, Any]) -> Iterator[str]:
    """`key=value` of each setting that a record is too old to have, where a config has it otherwise than by default.

    The default means what was done before there was such a setting.
    """
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel) and isinstance(recorded.get(name), Mapping):
            yield from _added_later(f"{key}.{name}", value, recorded[name])
        elif field.json_schema_extra == LATER and name not in recorded and value != field.default:
            yield from changed_words(f"{key}.{name}", field.default, _OTHER)
    if isinstance(config, Recipe):
        objective, known = str(config.objective["name"]), recorded.get("objective", {})
        settings = settings_of(objective) if objective in objectives() else {}
        for name in later(objective) if settings else ():
            if name not in known and config.objective.get(name) != settings[name].default:
                yield from changed_words(f"{key}.objective.{name}", settings[name].default, _OTHER)


def _swept(name: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of what stands in brackets in a pretraining's name: `imagenet[temperature=0.1,lr=0.2]`."""
    inside = re.fullmatch(r"[^\[]*\[(.*)\]", name)
    paths = list(_paths(settings))
    for end, text in re.findall(r"([\w.]+)=([^=]*?)(?:,(?=[\w.]+=)|$)", inside[1] if inside else ""):
        fitting = [path for path in paths if path == end or path.endswith(f".{end}")]
        yield (min(fitting, key=len) if fitting else end), text


def _paths(settings: Mapping[str, Any], start: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield start + key
        if isinstance(value, Mapping):
            yield from _paths(value, f"{start}{key}.")


def _plans(words: Sequence[str], record: Record) -> bool:
    """Whether the code here plans the record's stage for a command, under a fingerprint of now or of earlier versions.

    Raises BadInput where it cannot be planned.
    """
    told = _options(words)
    request = Request(
        pretrain=told["--pretrain"],
        downstream=told["--downstream"],
        seeds=[record.seed],
        profile=record.profile,
        assignments=told.get("--set", []),
        sweep=told.get("--sweep", []),
    )
    configs = resolve(request)
    for hashed in (hashed_settings, hashed_as_set):
        planner = _OfRecord(record, configs.by_name, hashed)
        stages = planner.grid(configs.recipes, configs.tasks, [record.seed], [record.own_seed])
        if any(stage.fingerprint == record.fingerprints.stage for stage in stages):
            return True
    return False


def _whole(words: Sequence[str], record: Record) -> str:
    """The command with what it needs besides its configs: processes, what was done about unreadable files, data."""
    words = ["bench", "run", *words]
    parts = [part for made in record.chain.values() for part in made.parts]
    processes = max((part.processes for part in parts), default=1)
    if processes > 1 and "--gpus" not in words:
        words += ["--gpus", str(processes)]
    if record.images_skipped or any(part.unreadable == "skip" for part in parts):
        words += ["--unreadable", "skip"]
    names = sorted({name.removesuffix(UPSTREAM).rpartition(":")[2] for name in record.data})
    if names and "--smoke" not in words:
        words += ["--data-root", *(f"{name}=DIR" for name in names)]
    return shlex.join(words)


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    """{option: its values} of the words of a command line."""
    told: dict[str, list[str]] = {}
    option = ""
    for word in words:
        if word.startswith("--"):
            option = word
            told[option] = []
        elif option:
            told[option].append(word)
    return told
