"""What a record's number was made of, for people and for programs: `bench trace`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.config.tasks import metrics_of
from bench.errors import BadInput, nearest
from bench.execute.anew import anew
from bench.execute.words import duration
from bench.made import Made, Part
from bench.record import Record, read_file
from bench.results.definitions import older_definition
from bench.results.interventions import interventions_of
from bench.results.made_words import commit_words, machine_words, ran_as_words
from bench.results.mixtures import mixture_notes

LEAST_DIGITS = 4  # of a fingerprint that names a record


def find_record(word: str, results_dir: Path) -> tuple[Path, Record]:
    """Return the file and the record that a word means: a file, a record's name, or how its fingerprint begins.

    Raises BadInput where there is none, or more than one.
    """
    folder = results_dir / "records"
    for file in (Path(word), folder / word, folder / f"{word}.json"):
        if file.is_file():
            return file, read_file(file)
    files = sorted(folder.glob("*.json"))
    found = []
    if re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},64}}", word):
        found = [
            file
            for file in files
            if file.stem.rpartition("__")[2].startswith(word[:12])
            and read_file(file).fingerprints.stage.startswith(word)
        ]
    if len(found) == 1:
        return found[0], read_file(found[0])
    if found:
        names = ", ".join(file.stem for file in found)
        raise BadInput(f"{len(found)} records have a fingerprint that begins with {word}: {names}; give more digits.")
    hint = nearest(word, [file.stem for file in files]) or "; give a record's file, its name, or its fingerprint."
    raise BadInput(f"No record {word!r} in {folder}{hint}")


def content(file: Path, record: Record, safe: bool = True) -> dict[str, Any]:
    """Return what `bench trace --json` prints: the record, the command that makes it anew, and notes."""
    command = anew(record, safe)
    return {
        "file": str(file),
        "command": command.command,
        "same_row": command.same,
        "notes": [command.note, *notes(record)],
        "record": record.model_dump(mode="json", by_alias=True),
    }


def lines(file: Path, record: Record, safe: bool = True) -> Iterator[str]:
    """Yield the lines for people: the number, its chain from the first pretraining on, and the command."""
    shown = [name for name in (record.columns or metrics_of(record.kind)) if name in record.metrics]
    shown = shown or list(record.metrics)[:1]
    yield f"{record.pretrain} on {record.task}, {record.seeds}, profile {record.profile}"
    yield _line("result", ", ".join(f"{name} {record.metrics[name]}" for name in shown))
    yield _line("record", f"{file}, of {record.created}")
    prints = record.fingerprints
    yield _line("hashes", f"stage {prints.stage[:12]}, recipe {prints.recipe[:12]}, protocol {prints.protocol}")
    yield _line("data", ", ".join(f"{name} {value}" for name, value in record.data.items()) or "none")
    if record.weights is not None:
        yield _line(
            "weights", f"{record.weights}, in the work folder" + (f", hash {record.trunk}" if record.trunk else "")
        )
    if record.chain:
        before: Part | None = None
        for title, made in record.chain.items():
            yield ""
            yield title
            yield from _stage(made, before)
            before = made.parts[-1] if made.parts else before
    else:
        yield ""
        yield from _older(record)
    command = anew(record, safe)
    yield ""
    yield from (f"note: {note}" for note in notes(record))
    yield "To make this row anew:"
    yield f"  {command.command}"
    yield f"  {command.note}"


def notes(record: Record) -> list[str]:
    """Return what is to be known before the number is believed."""
    found = mixture_notes([record])
    if older := older_definition(record):
        found.append(f"Pretrained by an older definition of the objective: {older}.")
    if acts := interventions_of(record):
        found.append(f"What its recipe lets a training do by itself: {'; '.join(acts)}.")
    automatic = [side for side, settings in record.settings.items() if settings.get("precision") == "auto"]
    kinds = {"pretrain": "pretrain", "downstream": record.kind}
    chosen = [f"{side} {record.precision[kinds[side]]}" for side in automatic if kinds[side] in record.precision]
    if chosen:
        found.append(
            f"The precision was left to the machine, which took: {', '.join(chosen)}; one that takes another gives "
            "another number."
        )
    return found


def _stage(made: Made, before: Part | None) -> Iterator[str]:
    """The lines of one stage; versions and machine only where they are others than before."""
    if not made.parts:
        yield _line("made of", "not kept by the version that ran it")
    elif not made.whole:
        yield _line("made of", "an earlier sitting, of which nothing was kept, and this:")
    for part in made.parts:
        if len(made.parts) > 1 or part.sittings > 1:
            count = f"{part.sittings} sittings" if part.sittings > 1 else "one sitting"
            yield _line("part", f"{count}, from {part.started} on")
        yield _line("code", commit_words(part.git))
        same = before is not None and before.versions == part.versions
        versions = ", ".join(f"{name} {version}" for name, version in part.versions.items())
        yield _line("versions", "as above" if same else versions)
        yield _line("machine", machine_words(part))
        yield _line("ran as", ran_as_words(part))
        before = part
    yield _line("files", f"{made.images_skipped} unreadable images were skipped")
    if made.wall_seconds is not None:
        memory = ", ".join(f"{name} {value:.0f} MiB" for name, value in made.peak_memory_mib.items())
        untimed = f"; not in that time: {', '.join(made.untimed)}" if made.untimed else ""
        yield _line("took", f"{duration(made.wall_seconds)}, at most {memory or 'unknown memory'}{untimed}")
    if made.finished is not None:
        yield _line("finished", made.finished)


def _older(record: Record) -> Iterator[str]:
    """What a record knows that is older than chains: its last stage, and times."""
    yield f"{record.kind} (the last stage; of those before it this record knows times alone)"
    yield _line("code", commit_words(record.git))
    known = {name: version for name, version in record.versions.items() if version is not None}
    yield _line("versions", ", ".join(f"{name} {version}" for name, version in known.items()) or "not known")
    if record.hardware is not None:
        hardware = record.hardware
        words = [f"{hardware.cpu}, {hardware.cores} cores, {hardware.memory_gib} GiB", *hardware.gpus]
        yield _line("machine", "; ".join(words))
    for stage, seconds in record.wall_seconds.items():
        memory = record.peak_memory_mib.get(stage)
        most = f", at most {memory:.0f} MiB" if memory is not None else ""
        yield _line("took", f"{stage} {duration(seconds)}{most}")
    yield _line("files", f"{record.images_skipped} unreadable images were skipped")


def _line(key: str, text: str) -> str:
    return f"  {key:<9} {text}"
