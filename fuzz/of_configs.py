"""Words of `--set`, and config files that hold literals alone."""

from __future__ import annotations

import ast
import random
from pathlib import Path

from changes import literal, of_bytes
from inputs import Input, Read
from pydantic import BaseModel

from bench.config import config_files
from bench.config.load import load_recipe, load_tasks, parse_assignments, route, task_classes
from bench.config.recipe import Recipe
from bench.config.tasks import KINDS

RECIPES = ("coco_two_loss", "random_init", "imagenet_simclr", "cifar10_byol")
TASKS = ("imagenet_linear", "imagenet_knn", "cityscapes_pspnet")


class Words(Input):
    """Assignments of `--set`, from their text to checked configs."""

    name, share = "set", 3

    def prepare(self) -> None:
        self.recipes = [name for name in RECIPES if name in config_files.config_files("pretrain_configs")]
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
        load_recipe(self.recipes[len(case[0]) % len(self.recipes)], "smoke", upstream)
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
    """Config files whose values are literals and `dict(…)`, so that nothing in a case is ever run but that."""

    name, share = "config", 2

    def prepare(self) -> None:
        files = config_files.config_files("pretrain_configs")
        self.texts = [files[name].read_text(encoding="utf-8") for name in RECIPES if name in files]
        self.texts = [text for text in self.texts if _is_plain(text)]
        self.place = self.folder / "pretrain_configs" / "case.py"
        self.place.parent.mkdir(parents=True)

    def case(self, draw: random.Random) -> bytes:
        lines = draw.choice(self.texts).splitlines()
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
        return of_bytes(draw, data) if draw.random() < 0.2 else data

    def read(self, case: bytes) -> Read:
        if not _is_plain(case):
            return "same"  # it might run something, which is no matter of a reader's
        config_files._read.cache_clear()
        self.place.write_bytes(case)
        load_recipe(str(self.place), "smoke")
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


KINDS_OF_INPUT: tuple[type[Input], ...] = (Words, Configs)
_ = Path
