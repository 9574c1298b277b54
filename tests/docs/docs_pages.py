"""What the pages hold: their commands, files and shown output, and how output agrees with what is shown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Usage lines of docs/commands.md are derived from the parser, and are no commands.
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "commands.md")]

# Words in capitals that stand for a value, where the parser wants one of a kind; any other is a value as it stands.
STANDS_FOR = {"HOST:PORT": "node0:29500", "N": "2", "T": "30", "STUDY": "deck-small"}
# What a command whose rest is left out (…) lacks.
LEFT_OUT = {"run": ["--pretrain", "random_init"], "plan": ["--pretrain", "random_init"], "reproduce": ["deck-small"]}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[−+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")


@dataclass(frozen=True)
class Command:
    """A command of a page: the words after `bench`, as they stand there, and where."""

    page: Path
    line: int
    text: str
    in_session: bool = False  # after "$ ": `session` has it with its output

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def words(self) -> list[str]:
        """The words, without comment, with brackets of what may be left out taken away, … left out."""
        words = [word.strip("[]") for word in shlex.split(self.text, comments=True)[1:]]
        return [word for word in words if word not in ("…", "...", "")]

    @property
    def given(self) -> list[str]:
        """The words that the parser gets: placeholders filled in, and what … stands for."""
        words = [STANDS_FOR.get(word, word) for word in self.words]
        rest = LEFT_OUT.get(words[0], []) if "…" in self.text.partition("  #")[0] else []
        return words if not rest or rest[0] in words else words + rest

    @property
    def is_whole(self) -> bool:
        """Whether nothing in it stands for something else."""
        code = self.text.partition("  #")[0]
        return "…" not in code and "[" not in code and not re.search(r"(?<![\w_])[A-Z]{2,}(?![\w_])|\b[ABNT]\b", code)


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands in the indented and fenced blocks of a page; lines that end in a backslash go on."""
    text = page.read_text(encoding="utf-8")
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        start, line = number, lines[number]
        while lines[number].rstrip().endswith("\\") and number + 1 < len(lines):
            number += 1
            line = line.rstrip().removesuffix("\\") + " " + lines[number].strip()
        number += 1
        if match := re.match(r"( {4,}|\$ )(bench [a-z].*)$", line):
            for text in re.split(r" && | \|\|? |; ", match[2]):
                if text.startswith("bench "):
                    yield Command(page, start + 1, text, match[1] == "$ ")


def files(page: Path) -> dict[str, str]:
    """Return {path: content} of the files that a page shows: fenced blocks of Python whose first line says the path."""
    shown = {}
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        first, _, rest = block.partition("\n")
        if language == "python" and (named := re.match(r"# (\w[\w/]*\.py)$", first)):
            shown[named[1]] = rest
    return shown


def session(page: Path) -> list[tuple[str, str]]:
    """Return [(command, output that is shown)] of the blocks of a page that are of a console, in their order."""
    steps = []
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "console":
            for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, shown = step.partition("\n")
                steps.append((command, shown))
    return steps


def agrees(shown: str, real: str, *, numbers: bool = True) -> bool:
    """Whether output is as it is shown: … stands for anything, on a line of its own for lines.

    Without `numbers`, a number that is shown stands for any, and so do hashes: times and results are the machine's.
    """
    pattern = ""
    for line in shown.rstrip("\n").split("\n"):
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
            continue
        pieces = [_literal(piece, numbers) for piece in line.rstrip().split("…")]
        pattern += ".*?".join(pieces) + r"[ ]*\n"
    said = "\n".join(line.rstrip() for line in real.rstrip("\n").split("\n")) + "\n"
    return re.fullmatch(pattern, said) is not None


def _literal(text: str, numbers: bool) -> str:
    if numbers:
        return re.escape(text)
    pieces, end = [], 0
    for match in re.finditer(rf"\b[0-9a-f]{{8,16}}\b|{NUMBER.pattern}", text):
        pieces += [_spaces(text[end : match.start()]), r"[−+-]?[\w.,+-]+"]
        end = match.end()
    return "".join([*pieces, _spaces(text[end:])])


def _spaces(text: str) -> str:
    """Columns are as wide as their numbers: where there is a space, there may be several, and lines of a table."""
    return re.sub(r"(?:\\ )+", " +", re.sub(r"-{3,}", "-+", re.escape(text).replace(r"\-", "-")))
