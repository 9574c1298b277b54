"""Derive docs/objectives.md from the objectives' docstrings and constructors, their configs, and the names of tests.

    python docs/objectives.py [--check]

Nothing is imported that it describes, and torch neither. An objective that is in no group fails.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from bench.config.config_files import config_files, read
from bench.config.load import load_recipe
from bench.config.objective_settings import Setting, settings_of
from bench.config.objective_source import classes_of, locate, objectives
from bench.config.recipe import Recipe
from bench.errors import BadInput

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "objectives.md"
TESTS = ROOT / "tests" / "objectives"

# Heading -> objectives, in the order of the page. A name may stand here before its objective exists.
GROUPS: dict[str, tuple[str, ...]] = {
    "Controls": ("random_init", "supervised"),
    "Pretext tasks": ("rotation", "relative_patch", "jigsaw", "colorization"),
    "Generative": (
        *("denoising_autoencoder", "context_encoder", "split_brain", "vae", "pixel_cnn", "pixel_rnn"),
        "bigan",
    ),
    "Contrastive": (
        *("contrastive_2006", "triplet", "instance_discrimination", "cpc", "cmc", "amdim", "pirl"),
        *("moco", "moco_v2", "moco_v3", "simclr", "dcl", "dclw", "clsa", "cast", "align_uniform"),
        *("simple_contrastive", "hard_contrastive", "direct_clr"),
    ),
    "Clusters and distillation": ("swav", "dino"),
    "Without negatives": ("byol", "two_loss", "patch_byol", "simsiam", "barlow_twins", "vicreg"),
    "Dense": ("densecl", "pixpro", "detcon", "vicregl"),
    "Video": ("taco", "dsm"),
}
GENERIC = ("test_every_objective", "test_two_ranks", "test_configs", "test_outputs")  # of every objective
FIELDS = ("Claim", "Paper", "Papers", "Equation", "Reference", "Departs from it")
SHOWN = {"Departs from it": "Departs from the paper"}


# ------------------------------------------------------------------------------------------ what is read


def parsed(docstring: str) -> tuple[str, dict[str, str]]:
    """Return (the text before the first field, {field: its text, indented lines kept relative to each other})."""
    lead: list[str] = []
    fields: dict[str, list[str]] = {}
    current: list[str] = lead
    head = re.compile(rf"^({'|'.join(map(re.escape, FIELDS))}):\s*(.*)$")
    for line in docstring.splitlines():
        if match := head.match(line):
            current = fields.setdefault(match[1], [])
            current.append(match[2])
        else:
            current.append(line)
    return "\n".join(lead).strip(), {name: _dedented(lines) for name, lines in fields.items()}


def _dedented(lines: Sequence[str]) -> str:
    """A field's text: its first line, and the others without the indentation that they share."""
    rest = [line for line in lines[1:] if line.strip()]
    shared = min((len(line) - len(line.lstrip()) for line in rest), default=0)
    return "\n".join([lines[0], *(line[shared:].rstrip() for line in lines[1:])]).strip()


def terms(*classes: ast.ClassDef) -> str:
    """Return what `forward` returns, by its docstring's `Terms:`, or else by the dictionaries that it returns.

    The first that has it, of a class and those that it derives from.
    """
    body = [node for each in classes for node in each.body]
    forward = next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == "forward"), None)
    if forward is None:
        return ""
    said = re.search(r"Terms?:\s*(.+?)(?:\n\s*\n|$)", ast.get_docstring(forward) or "", re.DOTALL)
    if said:
        return " ".join(said[1].split()).rstrip(".")
    returned = [node.value for node in ast.walk(forward) if isinstance(node, ast.Return)]
    keys = [
        str(key.value)
        for value in returned
        for node in ([] if value is None else ast.walk(value))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]
    return ", ".join(dict.fromkeys(keys))


@cache
def recipes() -> dict[str, list[Recipe]]:
    """Return {objective: the recipes of the shipped configs}."""
    by_objective: dict[str, list[Recipe]] = {}
    shipped = ROOT / "pretrain_configs"
    for name, file in config_files("pretrain_configs").items():
        if file.resolve().parent == shipped:  # not what lies in some working directory
            recipe = load_recipe(name)
            by_objective.setdefault(str(recipe.objective["name"]), []).append(recipe)
    return by_objective


@cache
def files_of_tests(folder: Path) -> dict[str, ast.Module]:
    """Return {stem: syntax tree} of the files with tests of objectives."""
    return {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("test_*.py"))}


def tests_of(objective: str, files: Mapping[str, ast.Module], names: Iterable[str]) -> list[str]:
    """Return the sentences of the tests of an objective: of files named after it, and elsewhere of those that name it.

    A file `test_NAME….py` belongs to the longest objective whose name it has.
    """
    names = list(names)
    module = f"bench.objectives.{objective}"
    sentences: list[str] = []
    for stem, tree in files.items():
        if stem in GENERIC or stem == "test_contract":
            continue
        rest = stem.removeprefix("test_")
        owner = max((name for name in names if rest == name or rest.startswith(f"{name}_")), key=len, default=None)
        imported = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module == module
            for alias in node.names
        }
        for test in _tests(tree):
            if owner == objective or (owner is None and _mentions(test, objective, imported)):
                sentences.append(sentence(test.name))
    return list(dict.fromkeys(sentences))


def _tests(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def _mentions(test: ast.FunctionDef, objective: str, imported: set[str]) -> bool:
    return any(
        (isinstance(node, ast.Constant) and node.value == objective)
        or (isinstance(node, ast.Name) and node.id in imported)
        for node in ast.walk(test)
    )


def sentence(test: str) -> str:
    """Return a test's name as a sentence: `test_a_batch_of_one_fails` -> `A batch of one fails`."""
    words = test.removeprefix("test_").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


# ----------------------------------------------------------------------------------------- the page


def page() -> str:
    """Return the page; BadInput for an objective that is in no group, or in two."""
    names = list(objectives())
    listed = [name for group in GROUPS.values() for name in group]
    homeless = [name for name in names if name not in listed]
    if homeless:
        raise BadInput(f"{', '.join(homeless)} is in no group of docs/objectives.py; add it to one of GROUPS.")
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise BadInput(f"{', '.join(twice)} is in two groups of docs/objectives.py; remove it from one of GROUPS.")
    parts = [
        "# Objectives",
        "Derived by `make docs` from docstrings, constructors, configs and tests; never edited. How to add one: "
        "[adding_an_objective.md](adding_an_objective.md).",
    ]
    groups = {title: [name for name in group if name in names] for title, group in GROUPS.items()}
    for title, group in groups.items():
        if group:
            parts.append(f"- {title}: " + ", ".join(f"[{name}](#{name})" for name in group))
    parts[2:] = ["\n".join(parts[2:])]
    files = files_of_tests(TESTS)
    generic = [sentence(test.name) for stem in GENERIC if stem in files for test in _tests(files[stem])]
    if generic:
        parts += ["## What is tested of every objective", _bullets(dict.fromkeys(generic))]
    for title, group in groups.items():
        if group:
            parts.append(f"## {title}")
            for name in group:
                parts += section(name, tests_of(name, files, names))
    return "\n\n".join(parts) + "\n"


def section(name: str, tests: Sequence[str]) -> list[str]:
    """Return what the page says of one objective, as blocks."""
    source = locate(name)
    docstring = ast.get_docstring(ast.parse(source.file.read_text(encoding="utf-8"))) or ""
    lead, fields = parsed(docstring)
    parts = [f"### {name}", escape(" ".join(lead.split()))]
    for field in FIELDS:
        if field == "Equation" and field in fields:
            parts.append(f"Equation:\n\n```text\n{fields[field]}\n```")
        elif field in fields:
            parts.append(f"**{SHOWN.get(field, field)}:** {escape(' '.join(fields[field].split()))}")
    if returned := terms(*(node for node, _ in classes_of(name))):
        parts.append(f"**Terms:** {escape(returned)}")
    if settings := settings_of(name):
        rows = [f"| `{key}` | {takes(each)} | `{each.default!r}` |" for key, each in settings.items()]
        parts.append("\n".join(["| setting | type | default |", "|---|---|---|", *rows]))
    parts += [described(recipe) for recipe in recipes().get(name, [])]
    parts.append("Tested:\n\n" + _bullets(tests) if tests else "Tested: what is tested of every objective.")
    return parts


def takes(setting: Setting) -> str:
    """Return what a setting may be: its type, and the range or the choices that a plan holds it to."""
    words = [f"`{setting.type_name}`".replace("|", r"\|")]
    if setting.range:
        words.append(setting.range.removeprefix("to "))
    if setting.choices:
        words.append("of " + ", ".join(f"`{choice}`" for choice in setting.choices))
    return ", ".join(words)


def described(recipe: Recipe) -> str:
    """Return a config in a paragraph: what it trains on, for how long, by what, and what to expect."""
    file = config_files("pretrain_configs")[recipe.name]
    words = [f"{recipe.dataset}, {recipe.epochs} epochs, batch {recipe.batch_size}, {recipe.view_size} px"]
    if recipe.dataset == "none":
        words = ["nothing is trained"]
    if (own := recipe.optimizer) is not None:
        per = f" per {own.lr_batch} images" if own.lr_batch else ""
        momentum = f"betas {own.betas[0]:g}, {own.betas[1]:g}" if "adam" in own.name else f"momentum {own.momentum:g}"
        decays = " of everything" if own.decay == "all" else ""
        words.append(f"{own.name} lr {own.lr:g}{per}, {momentum}, weight decay {own.weight_decay:g}{decays}")
        if own.clip_norm is not None:
            words.append(f"gradients clipped at {own.clip_norm:g}")
        if own.clip_each is not None:
            words.append(f"each parameter's gradient clipped at {own.clip_each:g}")
        plan = recipe.schedule
        milestones = f" ×{plan.gamma:g} at {', '.join(f'{m:.3g}' for m in plan.milestones)} of the run"
        words.append(plan.name + (milestones if plan.name == "step" else ""))
        if plan.warmup_epochs:
            words.append(f"warm-up {plan.warmup_epochs:g} epochs")
        if plan.warmup_steps:
            words.append(f"warm-up {plan.warmup_steps} steps")
    if recipe.stem != "imagenet":
        words.append(f"{recipe.arch} with the stem {recipe.stem}")
    if recipe.zero_init_residual:
        words.append("the last norm of each residual block starts at 0")
    if recipe.export != "online":
        words.append("evaluated is the copy that follows the encoder")
    if recipe.augmentation != "own":
        words.append(f"views of augmentation={recipe.augmentation}")
    if recipe.init is not None:
        words.append(f"from {recipe.init.recipe or 'a checkpoint'}")
    text = f"**Recipe** [`{recipe.name}`](../pretrain_configs/{recipe.name}.py): {escape('; '.join(words))}."
    expected = re.search(r"^Expected:\s*(.*?)(?=^\S|\Z)", read(file)[1], re.MULTILINE | re.DOTALL)
    return text + (f" **Expected:** {escape(' '.join(expected[1].split()))}" if expected else "")


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def escape(text: str) -> str:
    """Escape what Markdown would read as markup, outside of `code`; underscores inside words are none."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a backtick without a partner
        return _escaped(text).replace("`", "\\`")
    return "`".join(_escaped(piece) if number % 2 == 0 else piece for number, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    text = re.sub(r"([\\*|\[\]~]|<(?=[A-Za-z/!?]))", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def difference(wanted: str, file: Path) -> str:
    """Say how a file differs from what it should hold; empty if it doesn't."""
    if not file.is_file():
        return f"{file} is missing"
    written = file.read_bytes().decode("utf-8", "replace")
    if written == wanted:
        return ""
    pairs = zip(written.splitlines(), wanted.splitlines(), strict=False)
    line = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), "after the last")
    return f"{file} differs from what the objectives give (line {line})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 when the page differs, 2 for an objective that is in no group."""
    parser = argparse.ArgumentParser(description="Derive docs/objectives.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the page differs")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        wanted = page()
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    if not options.check:
        options.page.write_bytes(wanted.encode())
        print(f"wrote {options.page}")
        return 0
    if fault := difference(wanted, options.page):
        print(f"{fault}\nRun make docs and commit what it writes.", file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    raise SystemExit(main())
