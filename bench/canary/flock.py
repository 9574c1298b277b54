"""Several canaries at once, one process each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.canary.cases import Canary, canaries, canary
from bench.canary.images import VERSION, render_images
from bench.canary.verdict import Expected, complaints, digest, expect, read_expected, write_expected
from bench.errors import BadInput, Interrupted, nearest

__all__ = ["VERSION", "check", "chosen", "one", "plant", "record"]

RECORDINGS = 3


def one(case: Canary, root: Path, what: int | str = 0) -> dict[str, Any]:
    """Return the values of one song, in whatever process.

    `what` is the number of slightly different initial weights, or the name of a mistake to plant. Of a mistake that
    makes the objective raise, which everybody would notice, the song is {"raised": the error}.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    from bench.canary.mistakes import MISTAKES
    from bench.canary.training import shaken, sing

    if isinstance(what, int):
        return sing(case, root, sabotage=[shaken(what)] if what else []).values()
    try:
        start = sing(case, root, sabotage=[MISTAKES[what]], parts=1).values()
        if complaints(start, read_expected()[case.name]):  # heard at once: most are, and the rest of the run is spared
            return start
        return sing(case, root, sabotage=[MISTAKES[what]]).values()
    except RuntimeError as error:  # such as shapes that no longer fit; a fault of the planting itself is not one
        return {"raised": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}


def chosen(names: Sequence[str]) -> dict[str, Canary]:
    """Return the canaries of these names, all if there are none. Raises BadInput for a name that has none."""
    known = canaries()
    for name in names:
        if name not in known:
            raise BadInput(f"No canary {name!r}{nearest(name, known) or '; bench list shows the objectives.'}")
    return {name: canary(name) for name in names} if names else known


def check(
    names: Sequence[str], root: Path, jobs: int, tell: Callable[[str, dict[str, Any], list[str]], None]
) -> list[str]:
    """Let canaries sing and tell (name, song, complaints) of each as it ends; return the names with complaints.

    Raises BadInput for one that was never recorded, or recorded when it was trained in another way.
    """
    cases = chosen(names)
    expected = _recorded(cases)
    failed = []
    for name, song in _songs([(case, 0) for case in cases.values()], render_images(root), jobs):
        found = complaints(song, expected[name])
        failed += [name] if found else []
        tell(name, song, found)
    return failed


def _recorded(cases: Mapping[str, Canary]) -> dict[str, Expected]:
    """Return what was recorded; BadInput for a canary that was not, or when it was trained in another way."""
    expected = read_expected()
    for name, case in cases.items():
        if name not in expected or expected[name].case != digest(case):
            why = "was not recorded" if name not in expected else "is trained in another way than when it was recorded"
            raise BadInput(f"The canary {name} {why}; run bench canary {name} --record, and look at the difference.")
    return expected


def record(
    names: Sequence[str], root: Path, jobs: int, tell: Callable[[str, dict[str, Any], list[str]], None]
) -> dict[str, Expected]:
    """Let canaries sing three times each and keep how that went, in the place of what was kept."""
    cases = chosen(names)
    songs: dict[str, list[dict[str, Any]]] = {}
    wanted: list[tuple[Canary, int | str]] = [(case, shake) for case in cases.values() for shake in range(RECORDINGS)]
    for name, song in _songs(wanted, render_images(root), jobs):
        songs.setdefault(name, []).append(song)
        tell(name, song, [])
        if len(songs[name]) == RECORDINGS:
            write_expected({**read_expected(), name: expect(cases[name], songs[name])})
    return read_expected()


def plant(names: Sequence[str], root: Path, jobs: int, tell: Callable[[str, str, list[str]], None]) -> list[str]:
    """Plant every mistake in every objective where it can be made; tell (name, mistake, complaints) of each.

    Returns "mistake in name" of those that were not heard. Raises BadInput as `check` does.
    """
    from bench.canary.mistakes import MISTAKES, applies
    from bench.canary.training import COUNT, KINDS, CanaryEncoder
    from bench.objectives import build

    cases, wanted, deaf = chosen(names), [], []
    expected = _recorded(cases)
    for name, case in cases.items():
        objective = build({"name": name, **case.settings}, CanaryEncoder(0), KINDS, COUNT)
        wanted += [(case, mistake) for mistake in MISTAKES if applies(objective, mistake)]
    for (case, mistake), song in _each(wanted, render_images(root), jobs):
        found = [f"raises {song['raised']}"] if "raised" in song else complaints(song, expected[case.name])
        tell(case.name, str(mistake), found)
        deaf += [] if found else [f"{mistake} in {case.name}"]
    return deaf


def _songs(wanted: Sequence[tuple[Canary, int | str]], root: Path, jobs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for (case, _), song in _each(wanted, root, jobs):
        yield case.name, song


def _each(
    wanted: Sequence[tuple[Canary, int | str]], root: Path, jobs: int
) -> Iterator[tuple[tuple[Canary, int | str], dict[str, Any]]]:
    with ProcessPoolExecutor(min(jobs, len(wanted)), mp_context=get_context("spawn")) as pool:
        running: dict[Future[dict[str, Any]], tuple[Canary, int | str]] = {
            pool.submit(one, case, root, what): (case, what) for case, what in wanted
        }
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)  # or leaving would wait for all that are still to come
            if isinstance(error, KeyboardInterrupt):  # which the parser would turn into an exit without a word
                raise Interrupted("Interrupted; what was told or recorded until now stays.") from error
            raise
