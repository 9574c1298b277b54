"""The code that a stage of some kind runs, for an objective and a data set: where it starts, and its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_cache_path

from bench.code.digests import Code, Digests
from bench.code.graph import Graph
from bench.code.kept import FORM, Kept
from bench.code.meanings import ALL, Node
from bench.code.modules import OURS, Module, Modules
from bench.code.same import same
from bench.config.kinds import STEPS, StageKind
from bench.config.objective_source import locate as locate_objective
from bench.config.recipe import Recipe
from bench.config.tasks import GROUP as KINDS_GROUP
from bench.config.tasks import KINDS, Task
from bench.data.sets import find as find_data_set
from bench.errors import BadInput
from bench.plugins import Source, locate

JOB = "bench.stages.job:Job"  # what every stage is given
PRECISION = "bench.train.precision:resolve"  # what `auto` means where it runs

Root = tuple[str | Path, str]  # a module or a file, and what of it


class CodeOf:
    """The code of now, looked at once.

    Args:
        cache: keeps what files say, by their content; None: nothing is kept.
        mapping: digests that count as others; those of `same.toml`, if left out.
        tree: the folder of this package.
    """

    def __init__(self, cache: Path | None = None, mapping: Mapping[str, str] | None = None, tree: Path = OURS) -> None:
        self.kept = Kept(cache)
        self.graph = Graph(Modules(self.kept, tree))
        self.digests = Digests(self.graph, same() if mapping is None else mapping)
        self._known: dict[tuple[object, ...], Code] = {}

    @classmethod
    def cached(cls) -> CodeOf:
        """Return one that keeps what files say in the user's cache folder.

        It is the one of before where no file of this package has changed since, and it has met no code from outside:
        a study of many grids looks at the code once.
        """
        cache, mapping = user_cache_path("bench", ensure_exists=False) / "code" / f"{FORM}.json", same()
        state = cache, mapping, _state_of(OURS)
        before = _before.get(state[:1])
        if before is None or before[0] != state or before[1].graph.modules.met_outside:
            before = _before[state[:1]] = state, cls(cache, mapping)
        return before[1]

    def stage(self, kind: type[StageKind], objective: str | None, dataset: str, source: Source | None = None) -> Code:
        """Return the code of stages of a kind.

        Args:
            kind: what the kind says of itself.
            objective: its full name, where the stage builds it; see `builds_objective`.
            dataset: that it reads; "none" for none.
            source: where the kind is, if it is not ours.

        Raises BadInput where code from outside is not there, or is no Python.
        """
        key = kind, objective, dataset, str(source)
        if key not in self._known:
            roots = [self.node(root) for root in roots_of(kind, objective, dataset, source)]
            self._known[key] = self.digests.of(roots)
            self.kept.save()
        return self._known[key]

    def of(self, config: Recipe | Task, recipe: Recipe, kind: str) -> Code:
        """Return the code of a stage: of a task, or of the kind `pretrain` or `convert` of a recipe."""
        facts = type(config) if isinstance(config, Task) else STEPS[kind]
        objective = str(recipe.objective["name"]) if builds_objective(facts) else None
        source = None
        if isinstance(config, Task) and config.kind not in KINDS:
            source = locate(config.kind, KINDS_GROUP, what="kind", known=KINDS)
        return self.stage(facts, objective, "none" if kind == "convert" else config.dataset, source)

    def node(self, root: Root) -> Node:
        """Return a definition by its root, or all of its module where that has none of the name."""
        place, name = root
        module: Module | None
        if isinstance(place, Path):
            module = self.graph.modules.file(place)
        else:
            module = self.graph.modules.find(place, self.graph.modules.package()) or self.graph.modules.outside(place)
        if module is None:
            raise BadInput(f"There is no module {place}, which has {name}; install it, or correct the name.")
        return self.graph.root(module, name) or self.graph.node(module, ALL)


_before: dict[tuple[Path], tuple[tuple[object, ...], CodeOf]] = {}


def _state_of(tree: Path) -> list[tuple[str, int, int]]:
    """Name, time and size of each file of code of a package."""
    found = [(str(file), file.stat()) for file in sorted(tree.rglob("*.py"))]
    return [(name, status.st_mtime_ns, status.st_size) for name, status in found]


def builds_objective(kind: type[StageKind]) -> bool:
    """Whether stages of a kind build the pretraining's objective."""
    return kind is STEPS["pretrain"] or getattr(kind, "reads_training_state", False)


def roots_of(kind: type[StageKind], objective: str | None, dataset: str, own: Source | None = None) -> list[Root]:
    """Return where the code of a stage starts: its function, its class, its objective, its data set."""
    module, colon, name = kind.run.partition(":")
    roots: list[Root] = [(module, name) if colon else (_place(own), kind.run) if own else (kind.__module__, kind.run)]
    roots += [_split(JOB), *([_split(PRECISION)] if kind.auto_precision else [])]
    if own is not None:
        roots.append((_place(own), own.attribute))
    if objective is not None:
        source = locate_objective(objective)
        roots.append((_place(source), source.attribute))
    data_set = None if dataset == "none" else find_data_set(dataset)
    if data_set is not None:
        outside = data_set.source
        roots.append(
            (type(data_set).__module__, type(data_set).__qualname__)
            if outside is None
            else (_place(outside), outside.attribute)
        )
    return roots


def _place(source: Source) -> str | Path:
    return source.module or source.file


def _split(root: str) -> Root:
    module, _, name = root.partition(":")
    return module, name
