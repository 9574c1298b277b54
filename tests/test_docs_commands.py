"""Every command of the README and the pages is one that the parser takes, of configs that exist; and what a page shows
of output is what comes out. The commands of docs/tutorial.md run in tests/test_journey.py.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import typer
from docs_pages import FENCE, PAGES, ROOT, Command, agrees, commands, files, session

from bench.cli import app
from bench.config.objective_source import objectives
from bench.config.remote_config import is_url
from bench.errors import BadInput
from bench.execute.inventory import inventory
from bench.execute.request import Request
from bench.execute.resolve import resolve

Run = Callable[..., "CompletedProcess[str]"]

CONVERT = "bench/stages/convert.py"
ALL = [command for page in PAGES for command in commands(page)]
# What has these words is done in a moment, on no data or on the committed records: it also runs. Without --baseline,
# since these records have several rows of one name.
QUICK_WORDS = [{"list"}, {"show"}, {"doctor"}, {"plan", "--smoke"}, {"table"}, {"compare"}]


def parsed(words: list[str]) -> tuple[str, Any]:
    """Return (the command's name, its context), as the parser makes them; it raises what a user would be told."""
    command, name = typer.main.get_command(app), "bench"
    context = None
    while getattr(command, "commands", None):
        word, *words = words
        if word not in command.commands:
            raise BadInput(f"No command {name} {word}; bench --help shows them.")
        command, name = command.commands[word], f"{name} {word}"
    context = command.make_context(name, list(words))
    return name, context


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return beside(page): go to an empty folder in which the files lie that the page shows."""

    def go(page: Path) -> None:
        monkeypatch.chdir(tmp_path)
        for name, content in files(page).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content, encoding="utf-8")

    return go


def test_the_pages_have_commands() -> None:
    assert len(ALL) > 60
    assert len({command.page for command in ALL}) > 12


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_command_is_one_that_the_parser_takes(command: Command, beside: Callable[[Path], None]) -> None:
    beside(command.page)
    name, context = parsed(command.given)
    values = context.params
    known = inventory()
    if name in {"bench run", "bench plan"}:
        request = {key: values[key] for key in Request.__dataclass_fields__ if key in values}
        request = {key: tuple(value) if isinstance(value, list) else value for key, value in request.items()}
        pretrain = [each for word in request["pretrain"] for each in _configs(word, command.page)]
        downstream = [each for word in request["downstream"] for each in _configs(word, command.page)]
        if pretrain:  # all names, keys and values are then looked at as they are when it runs
            resolve(Request(**request | {"pretrain": tuple(pretrain), "downstream": tuple(downstream)}))
    elif name == "bench show":
        assert values["name"] in {*known["pretrain"], *known["downstream"], *known["objectives"]}
    elif name == "bench canary":
        assert set(values["names"]) <= {*objectives()}
    elif name == "bench reproduce":
        from bench.cli import STUDIES

        assert values["study"] in STUDIES
    elif name == "bench compare":
        assert {values["ours"], values["theirs"]} <= {*known["pretrain"], "A", "B"}


def _configs(word: str, page: Path) -> list[str]:
    """What a word after --pretrain or --downstream names: a config, files of the repository, or what the page shows."""
    if is_url(word) or (word, page.name) == ("theirs.py", "safe_configs.md"):  # somebody else's, and not shown
        return []
    if "*" in word:
        found = [str(file) for file in sorted(ROOT.glob(word))]
        assert found, word
        return found[:1]
    return [word]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu", "--pretrain", "coco"], "No command bench rnu"),
        (["data", "chek", "coco"], "No command bench data chek"),
        (["run", "--pretain", "coco"], "No such option: --pretain"),
        (["stage", "FOLDER", "--gpus", "many"], "integer"),
    ],
)
def test_a_wrong_command_would_be_noticed(words: list[str], message: str) -> None:
    with pytest.raises(Exception, match=message) as error:
        parsed(words)
    assert type(error.value).__name__ in {"BadInput", "NoSuchOption", "BadParameter", "UsageError"}


@pytest.mark.parametrize(
    "text",
    [
        "bench run --pretrain coco_to_loss",
        "bench run --pretrain coco --set epoch=2",
        "bench run --pretrain imagenet_simclr --set objective.temprature=0.1",
        "bench run --pretrain mine/absent.py …",
        "bench run --pretrain benchmarks/peer_configs/none*.py",
    ],
)
def test_a_wrong_name_or_key_would_be_noticed(text: str, beside: Callable[[Path], None]) -> None:
    with pytest.raises((BadInput, AssertionError)):
        test_a_command_is_one_that_the_parser_takes(Command(ROOT / "docs" / "concepts.md", 1, text), beside)


QUICK = {
    " ".join(command.words): command
    for command in ALL
    if command.is_whole
    and not command.in_session
    and "--baseline" not in command.words
    and any(w <= {*command.words} for w in QUICK_WORDS)
}


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the results of this repository, in which tables may be written."""
    folder = tmp_path_factory.mktemp("committed") / "results"
    for name in ("records", "reference", "tables"):
        shutil.copytree(ROOT / "results" / name, folder / name)
    return folder


@pytest.mark.parametrize("command", QUICK.values(), ids=str)
def test_what_takes_a_moment_runs(command: Command, bench_here: Run, committed: Path, tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(committed)
    done = bench_here(*command.words)
    assert done.returncode == 0, done.stderr
    words = [*command.words]
    assert (tmp_path / words[words.index("--to") + 1]).stat().st_size if "--to" in words else done.stdout


def test_the_quick_ones_are_some() -> None:
    assert {command.words[0] for command in QUICK.values()} == {"list", "show", "doctor", "plan", "table", "compare"}


# --------------------------------------------------------------------------------------- output that is shown


def test_pages_with_a_session_show_what_comes_out(
    bench_here: Run, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page is one session in an empty folder; commands of a shell run, too."""
    for page in PAGES:
        if page.name in {"tutorial.md", "bring_your_weights.md"}:  # the journey's, and the next test's
            continue
        steps = session(page)
        if any(command.startswith("bench data render") for command, _ in steps):  # which leaves what is there
            shutil.copytree(rendered, tmp_path / page.stem / "tiny")
        (tmp_path / page.stem).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / page.stem)
        for command, shown in steps:
            word, *words = shlex.split(command)
            if word == "bench":
                done = bench_here(*words)
                said = done.stdout + done.stderr
                assert done.returncode == (2 if "\nbench: " in f"\n{shown}" else 0), said
            else:
                said = subprocess.run(["bash", "-ec", command], check=True, capture_output=True, text=True).stdout
            assert agrees(shown, said) if shown else not said, f"{page.name}: {command}\n{said}"


def test_weights_from_elsewhere_are_taken_as_the_page_says(beside: Callable[[Path], None]) -> None:
    import torch
    import torchvision

    from bench.config.load import load_recipe
    from bench.stages.pretrain import _words, start

    page = ROOT / "docs" / "bring_your_weights.md"
    beside(page)
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({"state_dict": {f"module.encoder_q.{k}": v for k, v in state.items()}}, "mine/theirs.pth")
    ((_, shown),) = session(page)
    recipe = load_recipe("mine/theirs.py", "smoke")
    objective, report = start(recipe, 0, recipe.initial_checkpoint)
    assert agrees(f"…\n{_words(recipe, report)}\n…", shown)
    assert torch.equal(objective.encoder.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    exports = re.findall(r"^\| `(trunk[\w.]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    written = re.findall(r"trunk[\w.]+\w", ast.get_docstring(ast.parse((ROOT / CONVERT).read_text())) or "")
    assert sorted(exports) == sorted(written)


def test_agreement_is_of_lines_and_pieces() -> None:
    assert agrees("a\n…\nd …f\n", "a\nb\nc\nd e f\n")
    assert agrees("a\n…\nd\n", "a\nd\n")
    assert not agrees("a\n…\nd\n", "a\nb\n")
    assert not agrees("a\n", "a\nb\n")
    assert not agrees("took 3 s\n", "took 4 s\n")
    assert agrees("took 3 s, x 1.5e-06\n", "took 12.5 s, x 0\n", numbers=False)
    assert not agrees("took 3 s\n", "wasted 3 s\n", numbers=False)
    assert agrees("| a |   1.2 ± 3 |\n|---|-----|\n", "| a | 10.25 ± 0 |\n|---|--------|\n", numbers=False)


# ---------------------------------------------------------------------------------- sentences that are quoted


@cache
def templates() -> tuple[tuple[str, ...], ...]:
    """The strings of each file of the package, with a NUL for each value that is put into one."""
    by_file = []
    for file in sorted((ROOT / "bench").rglob("*.py")):
        found: dict[str, None] = {}
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                pieces = (str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values)
                found["".join(pieces)] = None
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[node.value] = None
        by_file.append(tuple(text for text in found if len(text) > 8))
    return tuple(by_file)


def is_said(quote: str) -> bool:
    """Whether messages of one file of the package have the pieces of a quote; … stands for values.

    A message may be made of several strings: each run of pieces that is in one of them has eight letters at least.
    """
    pieces = [piece for piece in quote.split("…") if re.search(r"\w", piece)]
    return bool(pieces) and any(_covered(pieces, texts) for texts in templates())


def _covered(pieces: list[str], texts: tuple[str, ...]) -> bool:
    for end in range(len(pieces), 0, -1):
        first = pieces[:end]
        if sum(len(re.findall(r"\w", piece)) for piece in first) < 8:
            return False
        pattern = re.compile(".*".join(map(re.escape, first)), re.DOTALL)
        if any(pattern.search(text) for text in texts) and (end == len(pieces) or _covered(pieces[end:], texts)):
            return True
    return False


def quotes(page: Path) -> Iterator[str]:
    """Yield the sentences in the `text` blocks of a page, and in the code of lists where these have a …."""
    text = page.read_text(encoding="utf-8")
    for language, block in FENCE.findall(text):
        if language == "text":
            yield from block.splitlines()
    yield from re.findall(r"^- [^`\n]*: `(….*?)`$", text, re.MULTILINE)


QUOTES = {page: list(quotes(page)) for page in PAGES if page.stem in {"troubleshooting", "bring_your_weights"}}


def test_every_quoted_sentence_is_one_of_the_package() -> None:
    assert len(QUOTES[ROOT / "docs" / "troubleshooting.md"]) >= 25
    assert len(QUOTES[ROOT / "docs" / "bring_your_weights.md"]) >= 5
    missing = [f"{page.name}: {quote}" for page, said in QUOTES.items() for quote in said if not is_said(quote)]
    assert missing == []


def test_a_sentence_that_is_not_the_packages_would_be_noticed() -> None:
    assert is_said("Memory ran out (…), with … images at a time")
    assert not is_said("Memory ran short (…), with … images at a time")
    assert not is_said("Memory ran out (…). Try …, with …")  # another order
    assert not is_said("… …")
