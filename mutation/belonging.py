"""Which tests belong to a file: a rule, read from the sources.

A test file belongs to a module when it imports it (or a name that a package's `__init__` takes from it), names it in
full, or has its name. Helpers of tests count as part of the tests that import or start them. To an objective belong
the files in tests/objectives that name it, and of the tests of every objective and of every config its own cases; to
what objectives derive from belong the tests of those. To a config belong the tests that go through all configs, with
its own cases, and those that name it; to a base those of the configs that build on it. After a file's own tests, those
of what imports it are tried.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# A hash of all configs says that something was changed, not that it is wrong; the canary records what we compute.
NEVER = ("tests/test_frozen_plan.py", "tests/canary/", "tests/mutation/", "tests/benchmarks/", "tests/test_docs.py")
OF_EVERY = ("test_every_objective.py", "test_contract.py", "test_configs.py", "test_outputs.py", "test_two_ranks.py")


@dataclass(frozen=True)
class Belonging:
    """Test files, relative to the project, and the objectives or configs whose cases count (none: all cases)."""

    files: tuple[str, ...]
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # names of the same kind, whose cases do not count

    def counts(self, nodeid: str) -> bool:
        """Whether a test counts: one that names others of its kind in its brackets, and none of these, does not."""
        words = set(re.findall(r"\w+", nodeid.partition("[")[2]))
        return not self.names or not words & set(self.others) or bool(words & set(self.names))


class Project:
    """The sources of a tree, and what imports what."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules = {_module(file.relative_to(root)): file for file in (root / "bench").rglob("*.py")}
        self.tests = {
            str(file.relative_to(root)): file.read_text()
            for file in sorted((root / "tests").rglob("*.py"))
            if not str(file.relative_to(root)).startswith(NEVER)
        }
        self.objectives: dict[str, str] = {}
        for node in ast.walk(ast.parse((root / "bench/objectives/__init__.py").read_text())):
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                self.objectives |= {k.value: v.value for k, v in pairs if ":" in str(getattr(v, "value", ""))}
        taken = self._taken_from()
        self.uses = {test: imported(text, set(self.modules), taken) for test, text in self.tests.items()}
        self.configs = {file.stem: file for file in sorted((root / "pretrain_configs").glob("*.py"))}

    def belonging(self, file: str) -> Belonging:
        """The tests that belong to a file, by its path in the project."""
        if file.startswith("pretrain_configs/"):
            return self._of_config(file)
        if file.startswith("bench/objectives/"):
            return self._of_objective(_module(Path(file)))
        return Belonging(tuple(sorted(self._importing(_module(Path(file)), Path(file).stem))))

    def of_users(self, file: str) -> Belonging:
        """The tests that belong to what imports a file, without those that belong to itself."""
        if file.startswith(("pretrain_configs/", "bench/objectives/")):  # to which those of what builds on it belong
            return Belonging(())
        users = [module for module in self.modules if _module(Path(file)) in self._imports(module)]
        all_of = [self.belonging(str(self.modules[user].relative_to(self.root))) for user in users]
        files = {test for one in all_of for test in one.files} - set(self.belonging(file).files)
        names = {name for one in all_of for name in one.names}
        return Belonging(tuple(sorted(files)), tuple(sorted(names)), tuple(set(self.objectives) - names))

    @cache  # noqa: B019
    def _imports(self, module: str) -> set[str]:
        return imported(self.modules[module].read_text(), set(self.modules), self._taken_from())

    @cache  # noqa: B019
    def _taken_from(self) -> dict[str, str]:
        """package.name -> the module that the package's `__init__` takes it from."""
        taken = {}
        for package, file in self.modules.items():
            if file.name == "__init__.py":
                for node in ast.parse(file.read_text()).body:
                    if isinstance(node, ast.ImportFrom) and (node.module or "") in self.modules:
                        taken |= {f"{package}.{alias.asname or alias.name}": str(node.module) for alias in node.names}
        return taken

    @cache  # noqa: B019
    def _importing(self, module: str, stem: str) -> set[str]:
        """Test files that import a module, by themselves or through a helper of tests."""
        found, helpers = set(), set()
        for test in self.tests:
            named = Path(test).name == f"test_{stem}.py" and module.split(".")[1] in Path(test).parts
            if named or module in self.uses[test]:
                (found if Path(test).name.startswith("test_") else helpers).add(test)
        for helper in helpers:
            beside = str(Path(helper).parent) + "/"
            found |= {
                test
                for test, text in self.tests.items()
                if test.startswith(beside.removesuffix("families/"))
                and Path(test).name.startswith("test_")
                and Path(helper).name != "conftest.py"
                and re.search(rf"\b{Path(helper).stem}\b", text)
            }
        return found

    def _of_objective(self, module: str) -> Belonging:
        from_it = {module}
        while more := {one for one in self.modules if from_it & self._imports(one) and "objectives." in one} - from_it:
            from_it |= more
        names = [name for name, place in self.objectives.items() if place.partition(":")[0] in from_it]
        files = {
            test
            for test, text in self.tests.items()
            if test.startswith("tests/objectives/")
            and Path(test).name.startswith("test_")
            and (
                Path(test).name in OF_EVERY
                or Path(test).stem == f"test_{module.rpartition('.')[2]}"
                or any(f'"{name}"' in text for name in names)
            )
        }
        direct = {test for one in from_it for test in self._importing(one, one.rpartition(".")[2])}
        users = [one for one, file in self.configs.items() if any(f'name="{n}"' in file.read_text() for n in names)]
        others = (set(self.objectives) | set(self.configs)) - {*names, *users}
        files |= direct | {test for test in self.tests if test == "tests/recipes/test_recipes.py"}
        return Belonging(tuple(sorted(files)), (*names, *users), tuple(others))

    def _of_config(self, file: str) -> Belonging:
        stem = Path(file).stem
        names = [stem] if stem in self.configs else []
        names += [name for name, config in self.configs.items() if f"{stem}.py" in config.read_text()]
        files = {
            test
            for test, text in self.tests.items()
            if Path(test).name.startswith("test_")
            and (
                test.startswith("tests/recipes/")
                or test == "tests/objectives/test_configs.py"
                or ("load_recipe" in text and any(f'"{name}"' in text for name in names))
            )
        }
        return Belonging(tuple(sorted(files)), tuple(names), tuple(set(self.configs) - set(names)))


def imported(text: str, modules: set[str], taken: dict[str, str]) -> set[str]:
    """The modules of ours that a source imports anywhere, or names in a string."""
    found = set()
    for name in re.findall(r"\bbench(?:\.\w+)+", text):  # of bench.nn.ema.update the module bench.nn.ema
        parts = name.split(".")
        longest = [".".join(parts[:length]) for length in range(len(parts), 1, -1)]
        found |= set([one for one in longest if one in modules][:1])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {taken.get(name, name) for name in names} & modules
    return found


def _module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")
