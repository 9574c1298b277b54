"""Words of `--set`, and config files that hold literals alone."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import random

import yaml  # type: ignore[import-untyped]
from changes import any_value, as_json, literal, of_bytes, of_value
from inputs import Input, Read
from pydantic import BaseModel

from bench.config import config_files
from bench.config.assignments import parse_assignments
from bench.config.load import load_recipe, load_tasks, route, task_classes
from bench.config.plain_files import DATA_SUFFIXES
from bench.config.recipe import Recipe
from bench.config.tasks import KINDS

SAFE = "BENCH_SAFE"
# Lines that make a folder if they are run.
CODE = (
    b"x = __import__('os').mkdir('RAN')\n",
    b"import os\nos.mkdir('RAN')\n",
    b"from pathlib import Path\nx = Path('RAN').mkdir()\n",
    b"x = [__import__('os').mkdir('RAN') for _ in (1,)]\n",
    b"x = f\"{__import__('os').mkdir('RAN')}\"\n",
    b"x = dict(a=(lambda: __import__('os').mkdir('RAN'))())\n",
    b"class X:\n    __import__('os').mkdir('RAN')\n",
    b"objective = dict(name='RAN.py:X')\n",
)
# Ends of texts in YAML that take long to read, are deep, or are no data.
YAML = (
    *(b"- " * 60_000, b"? " * 5000, b"x: " * 3000, b"{" * 50_000, b"a: |" * 2000, b"a: &a [*a]\n", b"%YAML 9\n"),
    *(b"a: !!python/object:os.x {}\n", b"\t\t", b'a: "\\x00"\n', b"a: 1:30\n", b"<<: {a: 1}\n"),
)
RECIPES = ("coco_two_loss", "random_init", "imagenet_simclr", "cifar10_byol_two_loss")
TASKS = ("imagenet_linear", "imagenet_knn", "cityscapes_pspnet")


class Words(Input):
    """Assignments of `--set`, from their text to checked configs."""

    name, share = "set", 3

    def prepare(self) -> None:
        self.keys = ["objective.name", "objective.temperature", "precision", "nothing", "optimizer.optimizer"]
        for side, model in [("pretrain", Recipe), *(("downstream", kind) for kind in KINDS.values())]:
            self.keys += [f"{side}.{key}" for key in _dotted(model)]

    def case(self, draw: random.Random) -> list[str]:
        words = []
        for _ in range(draw.choice((1, 1, 2, 3))):
            key = draw.choice(self.keys)
            match draw.randrange(12):
                case 0:
                    key = ".".join([key] * draw.choice((2, 10, 5000)))
                case 1:
                    key = of_bytes(draw, key.encode()).decode(errors="replace")
                case 2:
                    key = key.partition(".")[2]
            words.append(key + draw.choice(("=", "=", "=", "=", "=", "", "==")) + literal(draw))
        return words

    def read(self, case: list[str]) -> Read:
        upstream, downstream = route(parse_assignments(case), task_classes(TASKS, "smoke"))
        load_recipe(RECIPES[len(case[0]) % len(RECIPES)], "smoke", upstream)
        load_tasks(TASKS, "smoke", downstream)
        return "other"


def _dotted(model: type[BaseModel]) -> list[str]:
    keys: list[str] = []
    for key, field in model.model_fields.items():
        below = field.annotation
        keys.append(key)
        if isinstance(below, type) and issubclass(below, BaseModel):
            keys += [f"{key}.{inner}" for inner in below.model_fields]
    return keys


class Configs(Input):
    """Config files whose values are literals and `dict(…)`, so that nothing in a case is ever run but that.

    Where there is a safe mode, which runs nothing of a config, half of the cases are read in it, and may hold anything.
    """

    name, share = "config", 2
    has_safe_mode = importlib.util.find_spec("bench.safe_mode") is not None

    def prepare(self) -> None:
        self.ran = self.folder / "ran"
        files = config_files.config_files("pretrain_configs")
        self.texts = [files[name].read_text(encoding="utf-8") for name in RECIPES]
        self.texts = [text for text in self.texts if _is_plain(text)]
        self.place = self.folder / "pretrain_configs" / "case.py"
        self.place.parent.mkdir(parents=True)

    def case(self, draw: random.Random) -> tuple[bytes, bool]:
        lines, safe = draw.choice(self.texts).splitlines(), draw.random() < 0.5
        for _ in range(draw.choice((1, 1, 2, 3))):
            place = draw.randrange(len(lines))
            head, separator, _ = lines[place].partition("=")
            match draw.randrange(6):
                case 0:
                    del lines[place]
                    lines = lines or [""]
                case 1:
                    lines.insert(place, lines[draw.randrange(len(lines))])
                case 2:
                    lines.append(f"{draw.choice(('profiles', '_base_', 'epochs', 'objective', 'x'))} = {literal(draw)}")
                case _ if separator:
                    lines[place] = f"{head}= {literal(draw)}"
        data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
        if safe and self.has_safe_mode and draw.random() < 0.3:
            data += draw.choice(CODE)
        return of_bytes(draw, data) if draw.random() < 0.2 else data, safe

    def read(self, case: tuple[bytes, bool]) -> Read:
        data, safe = case
        if not (safe and self.has_safe_mode) and not _is_plain(data):
            return "same"  # it might run something, which is no matter of a reader's
        config_files._read.cache_clear()
        self.place.write_bytes(data.replace(b"RAN", str(self.ran).encode()))
        before = os.environ.pop(SAFE, None)
        try:
            if safe:
                os.environ[SAFE] = "1"
            load_recipe(str(self.place), "smoke")
        finally:
            os.environ.pop(SAFE, None)
            if before is not None:
                os.environ[SAFE] = before
            if self.ran.exists():
                self.ran.rmdir()
                raise AssertionError("it ran what the config holds")
        return "other"


class DataConfigs(Input):
    """Config files in YAML and JSON, of which nothing is ever run."""

    name, share = "data_config", 1

    def prepare(self) -> None:
        files = config_files.config_files("pretrain_configs")
        self.values = [json.loads(json.dumps(config_files.read(files[name])[0])) for name in RECIPES]

    def case(self, draw: random.Random) -> tuple[str, bytes]:
        values = of_value(draw, draw.choice(self.values))
        if draw.random() < 0.15:
            values["_base_"] = draw.choice(("coco", "./x.yaml", "case.json", any_value(draw), [any_value(draw)]))
        suffix = draw.choice(DATA_SUFFIXES)
        if suffix == ".json" or draw.random() < 0.3:  # which YAML holds, too
            return suffix, as_json(draw, values)
        data: bytes = yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")
        data = of_bytes(draw, data) if draw.random() < 0.4 else data
        return suffix, data + draw.choice(YAML) if draw.random() < 0.1 else data

    def read(self, case: tuple[str, bytes]) -> Read:
        suffix, data = case
        config_files._read.cache_clear()
        place = self.folder / f"case{suffix}"
        place.write_bytes(data)
        load_recipe(str(place), "smoke")
        return "other"


def _is_plain(text: str | bytes) -> bool:
    """Whether a config holds literals and calls of `dict` alone, or is no Python, so that nothing of it is run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id == "dict"):
            return False
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute | ast.While | ast.For | ast.Pow | ast.Mult):
            return False
        if isinstance(node, ast.LShift | ast.comprehension | ast.Lambda | ast.FunctionDef | ast.ClassDef | ast.With):
            return False
    return True


KINDS_OF_INPUT: tuple[type[Input], ...] = (Words, Configs, DataConfigs)
