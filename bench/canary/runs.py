"""Runs many canaries in several processes: to check them, to record them, or with mistakes planted.

What is being done is printed from the start on: a line when a run starts, and one now and then while none ends.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from bench.canary.cases import CONDITIONS, Canary, Conditions, canaries, canary
from bench.canary.image_set import render_images
from bench.canary.verdict import (
    Expected,
    Measurements,
    complaints,
    digest,
    expect,
    read_expected,
    write_expected,
)
from bench.errors import BadInput, Interrupted, nearest, one_line

Report = Callable[[str, Measurements, list[str]], None]
QUIET_SECONDS = 30.0  # after which a line says what is still running


def check(names: Sequence[str], root: Path, jobs: int, report: Report) -> list[str]:
    """Run canaries, report (name, measurements, complaints) of each as it ends, and return the names with complaints.

    Raises BadInput for an unknown name, and for one whose ranges were not recorded as it is trained now.
    """
    cases = _cases(names)
    expected = _recorded(cases)
    failed = []
    for case, _, measured in _each([(case, "") for case in cases.values()], _images(root), jobs, Conditions()):
        wrong = complaints(measured, expected[case.name])
        failed += [case.name] if wrong else []
        report(case.name, measured, wrong)
    return failed


def record(names: Sequence[str], root: Path, jobs: int, report: Report) -> None:
    """Run canaries under each of CONDITIONS and replace their expected ranges; report as `check` does."""
    cases = _cases(names)
    measurements: dict[str, list[Measurements]] = {name: [] for name in cases}
    for number, conditions in enumerate(CONDITIONS, start=1):
        _say(f"conditions {number} of {len(CONDITIONS)}")
        for case, _, measured in _each([(case, "") for case in cases.values()], _images(root), jobs, conditions):
            measurements[case.name].append(measured)
            report(case.name, measured, [])
            if conditions is CONDITIONS[-1]:
                write_expected({**read_expected(), case.name: expect(case, measurements[case.name])})


def plant(names: Sequence[str], root: Path, jobs: int, report: Callable[[str, str, list[str]], None]) -> list[str]:
    """Plant every mistake in every objective where it can be made; report (name, mistake, complaints) of each.

    Returns "mistake in name" of those that were not noticed. Raises BadInput as `check` does.
    """
    from bench.canary.mistakes import MISTAKES, applies
    from bench.canary.training import CLASSES, IMAGES, CanaryEncoder
    from bench.objectives import build

    cases, wanted, missed = _cases(names), [], []
    expected = _recorded(cases)
    _say("looking up which mistakes can be made in which objective")
    for name, case in cases.items():
        objective = build({"name": name, **case.settings}, CanaryEncoder(0), CLASSES, IMAGES)
        wanted += [(case, mistake) for mistake in MISTAKES if applies(objective, mistake)]
    for case, mistake, measured in _each(wanted, _images(root), jobs, Conditions()):
        wrong = complaints(measured, expected[case.name])
        report(case.name, mistake, wrong)
        missed += [] if wrong else [f"{mistake} in {case.name}"]
    return missed


def _cases(names: Sequence[str]) -> dict[str, Canary]:
    """Return the canaries of these names, all if there are none."""
    known = canaries()
    for name in names:
        if name not in known:
            raise BadInput(f"No canary {name!r}{nearest(name, known) or '; bench list shows the objectives.'}")
    return {name: canary(name) for name in names} if names else known


def _recorded(cases: Mapping[str, Canary]) -> dict[str, Expected]:
    """Return what is expected; BadInput for a canary that was not recorded as it is trained now."""
    expected = read_expected()
    for name, case in cases.items():
        if name not in expected or expected[name].case != digest(case):
            why = "was not recorded" if name not in expected else "is trained in another way than when it was recorded"
            raise BadInput(f"The canary {name} {why}; run bench canary {name} --record, and look at the difference.")
    return expected


def _say(words: str) -> None:
    print(f"canary: {words}", flush=True)


def _images(root: Path) -> Path:
    """Return the folder of the images, which are painted where it is missing."""
    if not root.is_dir():
        _say(f"painting its images and clips below {root}, once")
    return render_images(root)


def _each(
    wanted: Sequence[tuple[Canary, str]], root: Path, jobs: int, conditions: Conditions
) -> Iterator[tuple[Canary, str, Measurements]]:
    """Yield (case, mistake or "", measurements) as the runs end, in processes started under these conditions."""
    processes = min(max(1, jobs // conditions.threads), len(wanted))
    waiting, running = deque(wanted), dict[Future[Measurements], tuple[Canary, str, float]]()
    _say(f"{len(wanted)} to train, {processes} at a time")
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_set_environment, initargs=(conditions,)
    ) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    case, mistake = waiting.popleft()
                    _say(f"{len(wanted) - len(waiting)} of {len(wanted)}, {_called(case, mistake)}: {case.steps} steps")
                    running[pool.submit(_run, case, root, conditions, mistake)] = case, mistake, time.monotonic()
                ended, _ = wait(running, QUIET_SECONDS, FIRST_COMPLETED)
                for future in ended:
                    case, mistake, _ = running.pop(future)
                    yield case, mistake, future.result()
                if not ended:
                    now = time.monotonic()
                    some = (
                        f"{_called(case, mistake)} for {now - since:.0f} s" for case, mistake, since in running.values()
                    )
                    _say(f"still training {', '.join(some)}")
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)  # or leaving would wait for all that are still to come
            if isinstance(error, KeyboardInterrupt):  # which the parser would turn into an exit without a word
                raise Interrupted("Interrupted; what was reported or recorded until now stays.") from error
            raise


def _called(case: Canary, mistake: str) -> str:
    return f"{case.name} with {mistake}" if mistake else case.name


def _set_environment(conditions: Conditions) -> None:
    os.environ.update(conditions.kernels, OMP_NUM_THREADS=str(conditions.threads))  # read when torch is imported


def _run(case: Canary, root: Path, conditions: Conditions, mistake: str) -> Measurements:
    """Return the measurements of one run, in whatever process.

    A planted mistake that shows in the first eighth spares the rest of the run. If it makes the objective raise, the
    error is all that is measured.
    """
    from bench.canary.mistakes import MISTAKES
    from bench.canary.training import run, shake

    if not mistake:
        return run(case, root, shake(conditions.shake), threads=conditions.threads)
    try:
        start = run(case, root, MISTAKES[mistake], parts=1)
        if complaints(start, read_expected()[case.name]):
            return start
        return run(case, root, MISTAKES[mistake])
    except RuntimeError as error:  # such as shapes that no longer fit; a fault of the planting itself is not one
        return Measurements((), raised=one_line(error, kind=True))
