"""Checkpoints: written whole or not at all, never with a NaN in them, and read without running what they carry.

`last.ckpt` holds the whole state of a run after an optimizer step: {"format", "run", "step", "objective", "optimizer",
"meter", "skipped", "logged"}. `epoch_0079.ckpt` holds what another pretraining starts from: the first four and "epoch".

The checkpoint before `last.ckpt` stays as `previous.ckpt`: where the newest is damaged, a run goes on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.config.recipe import epoch_file as epoch_file
from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.checksums import ATTACHED, KEY, Damaged, save_archive
from bench.errors import BadInput, StageFailed, one_line, shortened, system_error
from bench.files import replacing, second_name
from bench.storage import when_there_is_room
from bench.train.divergence import REMEDY, Diverged

FORMAT = 1
LAST = "last.ckpt"
PREVIOUS = "previous"  # with the suffix of the newest

Content = TypeVar("Content")


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint so that `file` is always whole, even after a power cut; a `last.ckpt` before it is kept.

    Where the disk is full it waits for as long as `BENCH_WAIT_FOR_SPACE` says. Raises StageFailed when the disk does
    not take it; `file` then is as it was.
    """

    def once() -> None:
        with replacing(file, durable=True) as partial:
            with partial.open("wb") as stream:
                save_archive(stream, {"format": FORMAT, KEY: ATTACHED, **content})
            if file.name == LAST:  # when the new one is whole, and not before
                keep_as_before(file)

    try:
        when_there_is_room(file, once)
    except (OSError, RuntimeError) as error:  # torch's archive says RuntimeError where the stream said OSError
        raise StageFailed(f"Cannot write {file} ({_reason(error)})") from error


def read(file: Path) -> dict[str, Any]:
    """Read a training checkpoint of this project; tensors lie on the CPU, nothing in the file is run.

    Raises BadInput when it is missing, damaged, carries code, or is something else.
    """
    content = read_checkpoint(file)
    if not is_ours(content):
        raise BadInput(f"{file} is not a training checkpoint of this project; give one that a pretrain stage wrote.")
    if not isinstance(content["format"], int) or content["format"] != FORMAT:
        raise BadInput(
            f"{file} has format {shortened(content['format'])}, this version reads {FORMAT}; run its pretrain stage "
            "again."
        )
    return content


def keep_as_before(file: Path) -> None:
    """Let the newest checkpoint, which another is about to replace, stay as the one before. Raises OSError."""
    if file.is_file():
        second_name(file, before(file))
    else:
        before(file).unlink(missing_ok=True)  # of a run that was given up


def before(file: Path) -> Path:
    """Return where the checkpoint before the newest one, `file`, is kept."""
    return file.with_name(PREVIOUS + file.suffix)


def read_newest(file: Path, read: Callable[[Path], Content], *, say: bool = True) -> tuple[Content, Path]:
    """Return what `read` makes of a checkpoint, or, if that is damaged, of the one before it; and which one it was.

    The message of what happened is printed where `say`. Raises Damaged when neither can be read, and what `read` raises
    for a file that is whole.
    """
    try:
        return read(file), file
    except Damaged as error:
        older = before(file)
        if not older.is_file():
            raise
        words = str(error).partition(";")[0].rstrip(".")
        try:
            content = read(older)
        except Damaged as other:
            raise Damaged(f"{words}, and so is {older.name}, the one before; remove both to start anew.") from other
        if say:
            print(f"{words}: going on from {older.name}, the checkpoint before it", flush=True)
        return content, older


def put_back(file: Path, used: Path) -> None:
    """Let `file` hold a copy of the checkpoint that was gone on from, `used`, if it was the one before.

    So that there are two whole ones again, until the next is written. Raises OSError.
    """
    if used != file:
        with replacing(file, durable=True) as partial:
            shutil.copyfile(used, partial)


def is_ours(content: Any) -> bool:
    """Whether what a file holds is a training checkpoint of this project (of any format)."""
    return isinstance(content, dict) and "format" in content and isinstance(content.get("objective"), dict)


def _reason(error: BaseException) -> str:
    """Why writing failed, in a word: what the system said, if it said anything."""
    said = system_error(error)
    return (said is not None and said.strerror) or one_line(error)


def assert_finite(objective: nn.Module, optimizer: torch.optim.Optimizer, step: int, last_good: str) -> None:
    """Raise Diverged if the state after `step` holds a NaN or inf, naming the tensor: it must not be written."""
    named = [(name, tensor) for name, tensor in _tensors(objective, optimizer) if tensor.is_floating_point()]
    if not named:
        return
    # A sum is finite only if all that went into it was, and costs a sixth of looking at each element. It can overflow
    # where all were finite, so that it acquits and never convicts. Either way the device is waited for once.
    with torch.no_grad():
        sums = torch.stack([tensor.sum().double() for _, tensor in named])
    if bool(sums.isfinite().all()):
        return
    good = torch.stack([torch.isfinite(tensor).all() for _, tensor in named]).tolist()
    bad = [name for (name, _), fine in zip(named, good, strict=True) if not fine]
    if bad:
        more = f" and {len(bad) - 1} more tensors" if len(bad) > 1 else ""
        raise Diverged(f"After step {step} {bad[0]}{more} held nan or inf; nothing was written, {last_good}. {REMEDY}")


def _tensors(objective: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    yield from objective.state_dict().items()
    names: dict[Tensor, str] = {parameter: name for name, parameter in objective.named_parameters()}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                yield f"the optimizer's {key} of {names.get(parameter, '?')}", value
