"""Mutation testing: one-line mistakes in the sources, and whether the tests that belong to the file notice.

    make mutants                                        # goes on until all are done
    make mutants ARGS="--minutes 10 --count 400 --only bench/losses bench/nn"
    make mutants ARGS="--again"                         # those that survived, with the tests as they are now
    make mutants ARGS="--list"                          # what it would do

A driver of our own: mutmut 3 changes only what is in functions, which configs and fields of classes are not; cosmic-ray
has one command of tests for all files, and starts it anew for each mutant, which imports torch. Here the tests of a
mutant run in a fork of a process that has done so. What came of each is kept in results/mutants.json.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from itertools import islice, product
from pathlib import Path
from typing import Any

from belonging import Belonging, Project
from mutants import Mutant, mutants
from trial import Outcome, Tree, import_heavy

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / "results" / "mutants.json"
FOLDERS = ("bench/losses", "bench/nn", "bench/data/views", "bench/train", "bench/objectives", "pretrain_configs")


def words_of_settings(root: Path) -> dict[str, set[str]]:
    """setting -> the words that it takes, from `Literal` annotations of recipes and objectives."""
    words: dict[str, set[str]] = {}
    for file in [root / "bench/config/recipe.py", *sorted((root / "bench/objectives").glob("*.py"))]:
        for name, choices in re.findall(r"(\w+): Literal\[([^\]]+)\]", file.read_text()):
            words.setdefault(name, set()).update(re.findall(r'"(\w+)"', choices))
    words["optimizer.name"] = {"sgd", "lars", "adam", "adamw"}
    words["schedule.name"] = {"cosine", "step", "constant"}
    words.pop("name", None)
    return words


def sequence(root: Path, file: str, seed: int) -> list[Mutant]:
    """A file's mutants in the order in which they are tried: one of each line, lines at random, then another round."""
    draw = random.Random(f"{seed} {file}")
    config = words_of_settings(root) if file.startswith("pretrain_configs") else None
    lines: dict[int, list[Mutant]] = {}
    for one in mutants(file, (root / file).read_text(), config):
        lines.setdefault(one.line, []).append(one)
    order: list[Mutant] = []
    while lines:
        numbers = list(lines)
        draw.shuffle(numbers)
        for number in numbers:
            order.append(lines[number].pop(draw.randrange(len(lines[number]))))
            if not lines[number]:
                del lines[number]
    return order


def sample(
    root: Path, seed: int, count: int, folders: Sequence[str], done: Collection[tuple[str, str, str, int]]
) -> list[Mutant]:
    """Return what is to be tried yet, folder by folder: of each file as many as make `count`, less those done."""
    files = {
        folder: sorted(str(file.relative_to(root)) for file in (root / folder).rglob("*.py")) for folder in FOLDERS
    }
    each = -(-count // sum(map(len, files.values())))
    chosen: list[Mutant] = []
    for folder in FOLDERS:
        for file in files[folder] if folder in folders else []:
            text, tried = (root / file).read_text(), {key for key in done if key[0] == file}
            rest = (one for one in sequence(root, file, seed) if one.key not in tried and one.applied(text) is not None)
            chosen += islice(rest, max(0, each - len(tried)))
    random.Random(seed).shuffle(chosen)
    return sorted(chosen, key=lambda one: next(n for n, folder in enumerate(folders) if one.file.startswith(folder)))


def equal(root: Path) -> dict[tuple[str, str, str, int], str]:
    """The mutants that compute the same as the original, or differ in nothing that matters, and why: judged by hand."""
    judged = json.loads((root / "mutation/equal.json").read_text()) if (root / "mutation/equal.json").exists() else []
    return {(one["file"], one["before"], one["after"], one.get("nth", 0)): one["why"] for one in judged}


class Campaign:
    """Mutants and what became of them, kept in a file."""

    def __init__(self, root: Path, state: Path, seed: int) -> None:
        self.root, self.state = root, state
        self.known: dict[str, float] = {}
        self.broken: set[str] = set()
        self.entries: list[dict[str, Any]] = json.loads(state.read_text())["mutants"] if state.exists() else []
        self.seed = seed

    def done(self) -> dict[tuple[str, str, str, int], dict[str, Any]]:
        """What has been tried, by the mutant's key."""
        return {(one["file"], one["before"], one["after"], one["nth"]): one for one in self.entries}

    def save(self) -> None:
        """Write the state, sorted by file and line."""
        self.entries.sort(key=lambda one: (one["file"], one["line"], one["operator"], one["after"]))
        rows = ",\n".join(json.dumps(one, ensure_ascii=False) for one in self.entries)
        self.state.parent.mkdir(parents=True, exist_ok=True)
        self.state.write_text(f'{{"seed": {self.seed}, "mutants": [\n{rows}\n]}}\n')

    def judge(self, one: Mutant, tree: Tree, project: Project, limit: float, quick: bool) -> dict[str, Any]:
        """Try a mutant, and return its entry: it died, survived, or is open, which is that time ran out.

        First its own tests, then those of the files that import it; of each first the quick ones.
        """
        start, ran, text = time.monotonic(), 0, one.applied((tree.copy / one.file).read_text())
        assert text is not None
        groups = {"own": project.belonging(one.file), "of users": project.of_users(one.file)}
        outcome, whose = Outcome(False), "own"
        for slow, whose in product((False,) if quick else (False, True), groups):
            if not groups[whose].files:
                continue
            while True:
                left = limit - (time.monotonic() - start)
                with tree.changed(one.file, text):
                    outcome = self._run(tree, groups[whose], left, slow)
                self.known |= outcome.passed
                ran += len(outcome.passed)
                # A test that fails without the mistake, too, says nothing about it.
                if not outcome.died or outcome.by is None or outcome.by in self.known or self._passes(outcome.by, tree):
                    break
            if outcome.died is not False:
                break
        found = {True: "died", False: "survived", None: "open"}[outcome.died]
        if found == "survived" and quick:
            found = "survived the quick tests"
        entry = asdict(one) | {"outcome": found, "tests": ran, "seconds": round(time.monotonic() - start, 1)}
        return entry | ({"by": outcome.by, "whose": whose, "message": outcome.why} if outcome.died else {})

    def _run(self, tree: Tree, belonging: Belonging, left: float, slow: bool) -> Outcome:
        files = [file for file in belonging.files if file not in self.broken]
        return tree.run(files, left, belonging.counts, slow, self.known, self.broken) if files else Outcome(False)

    def _passes(self, test: str, tree: Tree) -> bool:
        if "::" in test:  # a slow one or not
            outcome = tree.run([test], 300)
            outcome = tree.run([test], 300, slow=True) if outcome.died is False and not outcome.passed else outcome
        else:
            outcome = tree.run([test], 300, counts=lambda _: False)
        if outcome.died is not False:
            self.broken.add(test)
            print(f"left out, for it fails without a mistake, too: {test}: {outcome.why}", flush=True)
            return False
        self.known.setdefault(test, 0.3)
        return True

    def run(self, todo: Sequence[Mutant], minutes: float, limit: float, quick: bool) -> Iterator[dict[str, Any]]:
        """Try mutants in turn, saving after each, until the time is over."""
        end = time.monotonic() + 60 * minutes
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            tree = Tree(self.root, Path(folder) / "tree")
            project = Project(tree.copy)
            for one in todo:
                if time.monotonic() > end:
                    return
                entry = self.judge(one, tree, project, limit, quick)
                before = self.done().get(one.key)
                if before is not None:
                    self.entries.remove(before)
                self.entries.append(entry)
                self.save()
                yield entry


def main() -> None:
    """Read the command line, and go on from where the last sitting ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1e6, help="end after the mutant during which this is over")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=400, help="mutants in all, spread over the files")
    parser.add_argument("--only", nargs="+", default=FOLDERS, metavar="FOLDER", help="in this order")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each mutant")
    parser.add_argument("--quick", action="store_true", help="without the tests that are marked as slow")
    parser.add_argument("--again", action="store_true", help="those that have not died, instead of new ones")
    parser.add_argument("--list", action="store_true", help="say what would be done")
    given = parser.parse_args()
    campaign = Campaign(ROOT, STATE, given.seed)
    if given.again:
        fields = Mutant.__dataclass_fields__
        alive = [one for one in campaign.entries if one["outcome"] != "died"]
        todo = [Mutant(**{key: one[key] for key in fields}) for one in alive]
        todo = [one for one in todo if one.key not in equal(ROOT) and one.file.startswith(tuple(given.only))]
        todo = [one for one in todo if one.applied((ROOT / one.file).read_text()) is not None]
    else:
        todo = sample(ROOT, given.seed, given.count, given.only, set(campaign.done()))
    if given.list:
        project = Project(ROOT)
        for one in todo:
            print(f"{one.file}:{one.line}  {one.operator}\n    {one.before}\n    {one.after}")
            print("    " + " ".join(project.belonging(one.file).files))
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the tests that run end, too
    import_heavy()
    for number, entry in enumerate(campaign.run(todo, given.minutes, given.limit, given.quick), 1):
        end = entry.get("by") or ""
        print(
            f"{number}/{len(todo)} {entry['outcome']}: {entry['file']}:{entry['line']} {entry['after']}  {end}",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # what was done is kept
