"""Which stages of a grid were made by other code than that of now, or from parents that were made anew since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from bench.code.used import CodeUsed, Current
from bench.config.code_of import CodeOf
from bench.errors import BadInput
from bench.execute.code_file import UNKNOWN, current_of, identity_of, read_code
from bench.execute.stage_file import STAGE, StageFile, read_done
from bench.files import write_text
from bench.plan import Stage
from bench.record import beside
from bench.record import read_file as read_record

StaleChoice = Literal["refuse", "keep", "redo"]


@dataclass(frozen=True)
class Stale:
    """What a stage, or its record, was made by that is no longer so."""

    reasons: tuple[str, ...]  # in words
    digests: tuple[str, ...]  # of the code that it was made by


@dataclass
class Staleness:
    """The code of a grid's stages, and how what is there differs from it."""

    current: dict[str, Current] = field(default_factory=dict)  # fingerprint of a stage -> its code of now
    stale: dict[str, Stale] = field(default_factory=dict)  # fingerprint of a stage
    unknown: list[str] = field(default_factory=list)  # titles of what was made before code was kept

    def used(self, stage: Stage) -> CodeUsed | None:
        """Return what a stage that starts now keeps of its code."""
        current = self.current.get(stage.fingerprint)
        return None if current is None else current.used

    def kept(self, stage: Stage) -> tuple[str, ...]:
        """Return the digests of other code that a stage was begun with."""
        return self.stale[stage.fingerprint].digests if stage.fingerprint in self.stale else ()

    def write_tables(self, stages: Iterable[Stage], work_dir: Path) -> None:
        """Write what stages consist of into the work folder, so that it can be said what changes later."""
        some = [self.current[stage.fingerprint] for stage in stages if stage.fingerprint in self.current]
        for current in {each.code.digest: each for each in some}.values():
            current.write_table(work_dir)

    def reasons(self, stage: Stage) -> tuple[str, ...]:
        """Return why a stage is stale, () where it is not."""
        return self.stale[stage.fingerprint].reasons if stage.fingerprint in self.stale else ()

    def notes(self) -> list[str]:
        """Return what a plan says of results whose code was not kept."""
        if not self.unknown:
            return []
        more = f" and {len(self.unknown) - 1} more" if len(self.unknown) > 1 else ""
        return [f"note: code not known, as it was not kept when they were made: {self.unknown[0]}{more}"]

    def refusal(self, stages: Iterable[Stage]) -> BadInput:
        """Return why nothing runs as long as nobody has said what to do with what is stale."""
        titles = {stage.fingerprint: stage.title for stage in stages if stage.fingerprint in self.stale}
        first, *others = titles
        why, more = "; ".join(self.stale[first].reasons), f", and {len(others)} more" if others else ""
        return BadInput(
            f"Made by other code than that of now: {titles[first]} ({why}){more}; give --stale keep to take it as it "
            "is, or --stale redo to make it anew and keep the old beside it."
        )


def staleness_of(stages: Iterable[Stage], states: Mapping[str, str], work_dir: Path, records: Path) -> Staleness:
    """Return the code of stages, and which of those that are there, finished or not, differ from it.

    Args:
        stages: of a grid, parents first.
        states: {fingerprint: state} of each.
        work_dir: where their folders are.
        records: the folder of records.
    """
    code, found = CodeOf.cached(), Staleness()
    for stage in stages:
        found.current[stage.fingerprint] = Current(code.of(stage.config, stage.recipe, stage.kind))
    for stage in stages:
        state = states[stage.fingerprint]
        if state == "not needed":
            continue
        reasons: list[str] = []
        digests: list[str] = []
        folder = work_dir / stage.folder
        if state == "recorded":
            used = _of_record(stage, records / stage.record_name)
        else:
            content = read_code(folder)
            used = [] if content is None else [(stage, each) for each in content.sittings]
        if (not used and state == "recorded") or any(each == UNKNOWN for _, each in used):
            found.unknown.append(stage.title)
        for made, each in used:
            if each == UNKNOWN:
                continue
            words = found.current[made.fingerprint].changes(each, work_dir)
            reasons += words if made is stage else [f"{made.title}: {word}" for word in words]
            digests += [each.digest] if words else []
        if (anew := _made_anew(stage, work_dir)) is not None:
            reasons.append(f"{anew.title} was made anew since")
        if reasons:
            found.stale[stage.fingerprint] = Stale(tuple(dict.fromkeys(reasons)), tuple(dict.fromkeys(digests)))
    return found


def _of_record(stage: Stage, file: Path) -> list[tuple[Stage, CodeUsed]]:
    """What code the record of a task says of each stage of its chain."""
    try:
        record = read_record(file)
    except BadInput:  # said where records are read
        return []
    of_name = {stage.kind: stage}
    for number, each in enumerate(_chain(stage)):
        of_name[each.kind if number < 2 else each.title] = each
    return [(of_name[name], each) for name, some in record.code.items() if name in of_name for each in some]


def _chain(stage: Stage) -> Iterator[Stage]:
    """The conversion of a task's trunk, its pretraining, and those that this one continues."""
    above: Stage | None = stage.parents.get("convert")
    while above is not None:
        yield above
        above = above.parents.get("pretrain") or above.parents.get("init")


def _made_anew(stage: Stage, work_dir: Path) -> Stage | None:
    """The parent that is another by now than the one that a finished stage was made from."""
    folder = work_dir / stage.folder
    if read_done(folder, stage.known_as, stage.outputs) is None:
        return None
    content = read_code(folder)
    for role, parent in stage.parents.items():
        was = "" if content is None else content.parents.get(role, "")
        if was and (now := identity_of(work_dir / parent.folder)) and now != was:
            return parent
    return None


def dealt_with(stages: Iterable[Stage], code: Staleness, choice: StaleChoice, work_dir: Path, records: Path) -> bool:
    """Do with stale stages what was chosen, and return whether anything was renamed.

    Raises BadInput where there are some and nothing was chosen, and for a folder that another process works in.
    """
    if not code.stale or choice == "keep":
        return False
    if choice == "refuse":
        raise code.refusal(stages)
    put_aside(stages, code.stale, work_dir, records)
    return True


def put_aside(stages: Iterable[Stage], stale: Mapping[str, Stale], work_dir: Path, records: Path) -> None:
    """Rename the folders and records of stale stages, and of all that hangs on them; nothing is deleted.

    Raises BadInput for a folder that another process works in.
    """
    gone: set[str] = set()
    for stage in stages:
        below = any(parent.fingerprint in gone for parent in stage.parents.values())
        if stage.fingerprint not in stale and not below:
            continue
        gone.add(stage.fingerprint)
        made = stale.get(stage.fingerprint)
        end = f"replaced-{made.digests[0][:8] if made is not None and made.digests else 'parent'}"
        folder, record = work_dir / stage.folder, records / stage.record_name
        if folder.is_dir():
            _aside(folder, end)
        if stage.is_task and record.is_file():
            _record_aside(record, end)


def started_anew(folder: Path, stage: StageFile) -> StageFile:
    """Rename a stage's folder and record where other code began or made it, and return its file in a new folder."""
    current, content = current_of(stage), read_code(folder)
    others = [] if content is None else [each for each in content.sittings if not each.same_as(current.used)]
    if not others:
        return stage
    end = f"replaced-{others[0].digest[:8]}"
    records = Path(stage.results_dir) / "records"
    _aside(folder, end)
    for record in records.glob(stage.record_pattern):
        _record_aside(record, end)
    fresh = stage.model_copy(update={"code": current.used, "code_kept": ()})
    folder.mkdir()
    write_text(folder / STAGE, fresh.model_dump_json(indent=1) + "\n")
    return fresh


def _aside(folder: Path, end: str) -> None:
    """Rename a folder in which no process works."""
    try:
        lock = FileLock(folder / "lock")
        with lock.acquire(blocking=False):
            place = _free(folder.with_name(f"{folder.name}.{end}"))
            folder.rename(place)
    except Timeout:
        raise BadInput(f"{folder} is being worked in; wait until that has ended.") from None
    print(f"kept     {place}", flush=True)


def _record_aside(record: Path, end: str) -> None:
    (record.parent / "replaced").mkdir(exist_ok=True)
    place = _free(record.parent / "replaced" / f"{record.stem}.{end}.json")
    record.rename(place)
    print(f"kept     {place}", flush=True)
    if (outcomes := beside(record)).is_file():  # beside their record, also there
        outcomes.rename(beside(place))


def _free(place: Path) -> Path:
    """A name that nothing has yet, with a number where the plain one is taken."""
    number, free = 1, place
    while free.exists():
        number += 1
        free = place.with_name(f"{place.name.removesuffix('.json')}-{number}{'.json' * place.name.endswith('.json')}")
    return free
