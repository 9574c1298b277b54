"""A stage's folder: `stage.json`, which is all that a process needs to run it, `done.json`, which says it ran, a lock.

Both files are written whole or not at all. Paths of parents are relative to the work folder, so that it can be moved.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, Field

from bench.code.used import CodeUsed
from bench.config.kinds import STEPS, StageKind
from bench.config.objective_settings import portable
from bench.config.objective_source import definition_of
from bench.config.recipe import Frozen, Recipe
from bench.config.tasks import AnyTask, stage_kind
from bench.data.packs.manifest import PackUse
from bench.errors import BadInput, CannotWrite, writing_to
from bench.execute.half_written import remove_left
from bench.execute.jobs.holder import HOLDER, LOCK, holder_of, said_in, this_holder
from bench.execute.sources import sources_of
from bench.files import add_checksum, checked, process_number, with_checksum, without_checksum, write_text
from bench.made import Made
from bench.plan import Stage, protocol_hash
from bench.run_names import own_seeds, record_name
from bench.safe_mode import is_safe, safe_mode
from bench.storage import patience

STAGE, DONE = "stage.json", "done.json"
LOOK_SECONDS = 0.2  # that a lock is tried for: bench status holds it for some microseconds
RENDEZVOUS = "rendezvous"  # in a stage's folder: where the nodes that run it meet
TRIES = 20  # of half a second, to learn whether the holder is to be joined


class StageFile(Frozen):
    """The content of `stage.json`."""

    kind: str
    label: str
    seed: int
    # of the pretraining, where a task has another; None, as in older stages: the same
    trunk_seed: int | None = Field(default=None, exclude_if=lambda seed: seed is None)
    fingerprint: str
    recipe_fingerprint: str
    recipe: Recipe
    task: AnyTask | None = None
    protocol: str | None  # of a task
    inputs: dict[str, str]  # role -> folder, relative to the work folder
    data: dict[str, str]  # data set -> fingerprint
    lineage_data: dict[str, str]  # the same for this stage and all its ancestors
    data_roots: dict[str, str]
    results_dir: str
    unreadable: Literal["fail", "skip"]
    packs: tuple[PackUse, ...] = ()
    # objective -> its definition when this was planned, of this pretraining and those before it; {} in older stages
    definitions: dict[str, int] = {}
    sources: dict[str, str] = {}  # file of code that is not ours -> hash of its content; {} in older stages
    code: CodeUsed | None = None  # that it was planned with; None in older stages
    code_kept: tuple[str, ...] = ()  # digests of other code that it was begun with, which a person chose to keep
    safe: bool = Field(default=False, exclude_if=lambda safe: not safe)  # planned in safe mode, and so it is run

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.kind} {self.label}"

    def in_its_mode(self) -> AbstractContextManager[None]:
        """Be in safe mode, with the processes that this one starts, if it was planned so."""
        return safe_mode() if self.safe else nullcontext()

    @property
    def stage_kind(self) -> type[StageKind]:
        """What its kind says of itself."""
        return stage_kind(self.kind, self.task)

    @property
    def record_pattern(self) -> str:
        """What the file name of a task's record is like, whatever its pretraining and task are called."""
        seed, task_seed = own_seeds(self.seed, self.trunk_seed)
        return record_name("*", "*", seed, self.fingerprint, task_seed)


class Done(BaseModel, allow_inf_nan=False, extra="forbid"):
    """The content of `done.json`."""

    fingerprint: str
    metrics: dict[str, Any]
    wall_seconds: float
    precision: str | None = None  # that it computed in; None: nothing was computed, or it was not kept
    peak_memory_mib: dict[str, float] = {}  # "process", and "gpu" where there is one
    data_wait_share: float | None = None  # of its loops' time; None where it had none, or it was not kept
    # what `wall_seconds` does not hold, since an earlier process did it: "120 of 400 steps". Not there in older files
    untimed: list[str] = []
    code: tuple[CodeUsed, ...] = ()  # of each sitting that had another; () in older files
    finished: str  # UTC, ISO 8601
    # stage by its title -> what it was made of: all stages before this one, and this one. {} in older files
    chain: dict[str, Made] = {}
    files: dict[str, str] = {}  # what it left -> sha256; {} in older files
    # "C2" -> how far the map of the network that it used was from the pretraining encoder's; {} where it uses no trunk,
    # or proved none, and in older files
    load_proof: dict[str, float] = {}
    # scores on the way, [{"step": 500, "miou_percent": 8.1, …}, …]; [] where none are taken, and in older files
    curve: list[dict[str, float]] = []


def write_stage(
    stage: Stage,
    work_dir: Path,
    data_roots: dict[str, str],
    results_dir: Path,
    unreadable: Literal["fail", "skip"],
    code: CodeUsed | None = None,
    code_kept: tuple[str, ...] = (),
) -> Path:
    """Write a stage's `stage.json` into its folder below `work_dir` and return the folder.

    `code` is that of now, and `code_kept` has the digests of other code with which it was begun, and may go on.
    """
    task = None if isinstance(stage.config, Recipe) else stage.config
    content = StageFile(
        kind=stage.kind,
        label=stage.label,
        seed=stage.seed,
        trunk_seed=stage.trunk_seed,
        fingerprint=stage.known_as,
        recipe_fingerprint=stage.recipe_fingerprint,
        recipe=stage.recipe,
        task=task,
        protocol=protocol_hash(task) if task is not None else None,
        inputs={role: parent.folder for role, parent in stage.parents.items()},
        data=dict(stage.data),
        lineage_data=_lineage_data(stage),
        data_roots=data_roots,
        results_dir=str(results_dir.absolute()),
        unreadable=unreadable,
        packs=stage.packs,
        definitions=definitions_of(stage),
        sources=sources_of(stage.recipe, task),
        code=code,
        code_kept=code_kept,
        safe=is_safe(),
    )
    folder = work_dir / stage.folder
    make_folder(folder, "--work-dir")
    write_text(folder / STAGE, add_checksum(content.model_dump_json(indent=1)))
    return folder


def read_stage(folder: Path) -> StageFile:
    """Read a stage's folder (or the file in it); BadInput when it is none."""
    file = folder if folder.name == STAGE else folder / STAGE
    there = False
    with contextlib.suppress(OSError):  # of a name that is too long, too
        there = file.is_file()
    if not there:
        raise BadInput(f"{folder} holds no {STAGE}; give a folder that bench plan names, after bench run made it.")
    try:
        stage = StageFile.model_validate_json(without_checksum(file.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:  # pydantic's, too
        raise BadInput(f"{file} is not a stage of this version of bench; start it again with bench run.") from error
    wanted: set[str] = {"pretrain": set[str](), "convert": {"pretrain"}}.get(stage.kind, {"convert"})
    named = isinstance(stage.recipe.objective.get("name"), str) and "".join(stage.inputs.values()).isprintable()
    if (stage.task is None) != (stage.kind in STEPS) or not wanted <= stage.inputs.keys() or not named:
        raise BadInput(f"{file} lacks its kind, its parents or its objective; start it again with bench run.")
    return stage


def read_done(folder: Path, fingerprint: str, outputs: Iterable[str]) -> Done | None:
    """Return what a finished stage left; None if it has not finished, lacks an output, or is of another plan.

    A `done.json` that is not what was written says nothing: the stage is run again, and goes on where it was.
    """
    done = _done_in(folder)
    complete = all((folder / name).is_file() for name in outputs)
    return done if done is not None and complete and done.fingerprint == fingerprint else None


def finished(folder: Path) -> Done:
    """Return what a stage left in its folder; BadInput when it is not finished."""
    stage = read_stage(folder)
    done = read_done(folder, stage.fingerprint, stage.stage_kind.outputs)
    if done is None:
        raise BadInput(f"{folder} is not finished; run it first: bench stage {folder}")
    return done


def write_done(folder: Path, done: Done) -> None:
    """Mark a stage as finished; the last thing that it does."""
    write_text(folder / DONE, with_checksum(json.loads(done.model_dump_json())))


def known_memory_mib(work_dir: Path, kind: str, name: str) -> float:
    """Return the most memory that a process of such a stage held before in this work folder; 0.0 if none is known.

    `name` is that of its config.
    """
    most = 0.0
    place = work_dir / kind.replace(":", ".")
    for file in place.glob(f"*/{DONE}"):
        label = file.parent.name.rpartition("-s")[0]
        if label == name or label.endswith(f"--{name}"):
            done = _done_in(file.parent)
            most = max(most, 0.0 if done is None else done.peak_memory_mib.get("process", 0.0))
    return most


def _done_in(folder: Path) -> Done | None:
    """What `done.json` says; None where there is none, or where it is not what was written."""
    try:
        return Done.model_validate(checked((folder / DONE).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


@contextmanager
def held(folder: Path, stage: StageFile, wait: bool, rendezvous: str | None = None) -> Iterator[bool]:
    """Hold a stage's folder, so that one process at a time runs it; give whether this process holds it.

    Where another process holds it, wait for that one, or raise BadInput if `wait` is False. A holder whose processes
    are on several nodes names the `rendezvous` of these: who comes with the same joins it, and holds nothing. What a
    killed process left half written is removed. Raises CannotWrite where the folder takes no file.
    """
    patience()  # refuses a wrong BENCH_WAIT_FOR_SPACE before anything runs
    lock, place = FileLock(folder / LOCK), folder / RENDEZVOUS
    try:
        lock.acquire(timeout=LOOK_SECONDS, poll_interval=0.01)
    except Timeout:
        for _ in range(1 if rendezvous is None else TRIES):  # of one that holds it, and has yet to say so
            if rendezvous is not None and said_in(place) == rendezvous:
                yield False
                return
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0.5 if rendezvous is not None else 0)
                break
        if not lock.is_locked:
            name = holder_of(folder).words or "another process"
            if not wait:
                raise BadInput(f"{stage.label} is being run by {name}; wait for it, or leave out --no-wait.") from None
            print(f"{stage.title}: waiting for {name}, which runs it already", flush=True)
            lock.acquire()
    except OSError as error:
        raise CannotWrite(error.errno, error.strerror, lock.lock_file) from error
    try:
        place.unlink(missing_ok=True)
        remove_left(folder)
        with contextlib.suppress(OSError):  # it only informs those who wait
            write_text(folder / HOLDER, this_holder())
        if rendezvous is not None:
            write_text(place, f"{rendezvous}\n")
        yield True
    finally:
        if rendezvous is not None:
            place.unlink(missing_ok=True)
        lock.release()


def make_folder(folder: Path, option: str) -> None:
    """Make a folder and check that it can be written; BadInput names the option that chose it."""
    with writing_to(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{process_number()}"
        probe.touch()
        probe.unlink()


def definitions_of(stage: Stage) -> dict[str, int]:
    """Return {objective: its definition} of the pretraining that a stage belongs to, and of those that it continues."""
    objective = stage.recipe.objective
    definitions = {str(portable(objective)["name"]): definition_of(str(objective["name"]))}
    for parent in stage.parents.values():
        definitions |= definitions_of(parent)
    return definitions


def _lineage_data(stage: Stage) -> dict[str, str]:
    """The stage's own data under their names, those that an ancestor read in another form beside them."""
    data = dict(stage.data)
    for parent in stage.parents.values():
        for name, value in _lineage_data(parent).items():
            while data.setdefault(name, value) != value:
                name += " (upstream)"
    return data
