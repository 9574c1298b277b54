"""Digests of the code that stages run: of each definition with all that it reaches, and of several together.

A definition's digest hashes its own shape and the digests of what it refers to, in the order in which it does so. Where
definitions refer to each other in a circle, each is told apart by what it refers to within it, round by round.

A private attribute goes by number, so that its name does not matter, as long as all of what a stage reaches mentions it
in one definition alone. Names that several definitions mention are part of their digests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.code.graph import Graph, libraries_of
from bench.code.meanings import Node, hashed
from bench.code.modules import Module

SHORT = 16  # digits of a digest that is kept


@dataclass(frozen=True)
class Code:
    """The code that something runs."""

    digest: str
    nodes: tuple[Node, ...]  # that it reaches
    each: Mapping[str, str]  # definition -> digest, with all that it reaches
    own: Mapping[str, str]  # definition (of a class, each of its methods, too) -> hash of what it says itself
    libraries: frozenset[str]  # top-level packages outside that it imports


class Digests:
    """Digests of one state of the code; what is asked for twice is computed once.

    `same` has digests that count as others: see `bench.code.same`.
    """

    def __init__(self, graph: Graph, same: Mapping[str, str] | None = None) -> None:
        self.graph, self.same = graph, dict(same or {})
        self._part: dict[Node, int] = {}  # node -> number of its strongly connected component
        self._parts: list[list[Node]] = []  # a part comes after those that it refers to
        self._open: list[frozenset[str]] = []  # private names that are open in a part, or in what it reaches
        self._known: dict[tuple[int, frozenset[str]], dict[Node, str]] = {}

    def of(self, roots: Sequence[Node], among: Sequence[Node] = ()) -> Code:
        """Return the digest of what is reached from `roots`.

        `among` are the roots of all that runs together with them, which decides which private names are shared.
        """
        inside = self.reached(roots)
        around = self.reached([*roots, *among]) if among else inside
        mentions = Counter(name for node in around.nodes for name in node.mentioned)
        shared = frozenset(name for name, count in mentions.items() if count > 1) | _alike(around.nodes)
        each = {node: self._digest(node, shared) for node in inside.nodes}
        effects = sorted({each[node] for node in inside.effects})
        return Code(
            digest=hashed("code", [each[node] for node in roots], effects)[:SHORT],
            nodes=tuple(inside.nodes),
            each={node.title: digest for node, digest in each.items()},
            own=_own(inside.nodes),
            libraries=frozenset(inside.libraries),
        )

    def from_below(self, nodes: Iterable[Node]) -> list[Node]:
        """Return definitions of which digests were asked for, each after those that it refers to, but for circles."""
        return sorted(nodes, key=lambda node: (self._part[node], node.title))

    # What is reached.

    def reached(self, roots: Iterable[Node]) -> Reached:
        """Return all definitions that are reached, with the effects of the modules that are imported for them."""
        nodes: dict[Node, None] = {}
        effects: dict[Node, None] = {}
        modules: dict[Module, None] = {}
        libraries: set[str] = set()
        pending = list(roots)
        while pending:
            node = pending.pop()
            if node in nodes:
                continue
            nodes[node] = None
            self.graph.linked(node)
            libraries |= libraries_of(node.externals)
            pending += [*node.targets, *node.more]
            fresh = list(node.modules)
            while fresh:
                module = fresh.pop()
                if module not in modules:
                    modules[module] = None
                    fresh += self.graph.imported_by(module)
                    found = self.graph.effects(module)
                    effects |= dict.fromkeys(found)
                    pending += found
        for module in modules:
            libraries |= libraries_of(
                name for name in module.facts.imports if self.graph.modules.find(name.partition(".")[0], module) is None
            )
        return Reached(list(nodes), list(effects), libraries)

    # Digests, bottom up.

    def _digest(self, node: Node, shared: frozenset[str]) -> str:
        self._order(node)
        number = self._part[node]
        pending = [number]
        while pending:  # without recursion: chains are long
            part = pending[-1]
            if self._key(part, shared) in self._known:
                pending.pop()
                continue
            below = {self._part[t] for each in self._parts[part] for t in (*each.targets, *each.more)} - {part}
            missing = [other for other in below if self._key(other, shared) not in self._known]
            if missing:
                pending += missing
                continue
            self._known[self._key(part, shared)] = self._compute(part, shared)
            pending.pop()
        return self._known[self._key(number, shared)][node]

    def _key(self, part: int, shared: frozenset[str]) -> tuple[int, frozenset[str]]:
        return part, shared & self._open[part]

    def _compute(self, part: int, shared: frozenset[str]) -> dict[Node, str]:
        nodes = self._parts[part]
        members = set(nodes)
        colours = {node: hashed(node.own, self._names(node, shared)) for node in nodes}

        def below(node: Node, now: Mapping[Node, str]) -> str:
            def of(target: Node) -> str:
                if target in members:
                    return now[target]
                number = self._part[target]
                return self._known[self._key(number, shared)][target]

            return hashed(now[node], [of(each) for each in node.targets], sorted(map(of, node.more)))

        for _ in nodes:
            colours = {node: below(node, colours) for node in nodes}
        short = {node: colour[:SHORT] for node, colour in colours.items()}
        return {node: self.same.get(colour, colour) for node, colour in short.items()}

    def _names(self, node: Node, shared: frozenset[str]) -> list[str]:
        """The private names of a definition, "" for those that are its own affair; its own where another is like it.

        A public class that another may be like has its name in any case: which others are reached differs by stage.
        """
        named = f"={node.title}" in shared or (node.definition.identity and not node.name.startswith("_"))
        own = [f"={node.name}"] if named else []
        return own + ["" if name in node.open and name not in shared else name for name in node.definition.privates]

    def _order(self, start: Node) -> None:
        """Number the strongly connected components below a node (Tarjan 1972), those that are referred to first."""
        if start in self._part:
            return
        index: dict[Node, int] = {}
        low: dict[Node, int] = {}
        stack: list[Node] = []
        on_stack: set[Node] = set()
        work: list[tuple[Node, list[Node]]] = []

        def enter(node: Node) -> None:
            index[node] = low[node] = len(index)
            stack.append(node)
            on_stack.add(node)
            self.graph.linked(node)
            work.append((node, [*node.targets, *node.more]))

        enter(start)
        while work:
            node, left = work[-1]
            if left:
                target = left.pop()
                if target in self._part:
                    continue
                if target not in index:
                    enter(target)
                elif target in on_stack:
                    low[node] = min(low[node], index[target])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                self._close(node, stack, on_stack)

    def _close(self, node: Node, stack: list[Node], on_stack: set[Node]) -> None:
        part: list[Node] = []
        while not part or part[-1] is not node:
            part.append(stack.pop())
            on_stack.discard(part[-1])
        number = len(self._parts)
        self._parts.append(part)
        for each in part:
            self._part[each] = number
        below = {self._part[t] for each in part for t in (*each.targets, *each.more)} - {number}
        names = frozenset(name for each in part for name in each.tells)
        self._open.append(names.union(*(self._open[other] for other in below)))


def _own(nodes: Iterable[Node]) -> dict[str, str]:
    """{definition: hash of what it says itself, and after a full stop of its private names}; methods have the first."""
    own = {}
    for node in nodes:
        own[node.title] = f"{hashed(node.own)[:8]}.{hashed(node.definition.privates)[:4]}"
        if node.definition.kind == "class" and node.own != hashed("settings", node.name):
            for method in node.definition.methods:
                own[f"{node.title}.{method}"] = node.module.facts.definitions[f"{node.name}.{method}"].shape[:8]
    return own


def _alike(nodes: Iterable[Node]) -> frozenset[str]:
    """Titles, after "=", of definitions that are not the same although they look the same, such as two exceptions."""
    by_shape: dict[str, list[Node]] = {}
    for node in nodes:
        if node.definition.identity:
            by_shape.setdefault(node.own, []).append(node)
    return frozenset(f"={node.title}" for some in by_shape.values() if len(some) > 1 for node in some)


@dataclass(frozen=True)
class Reached:
    """What is reached from some definitions."""

    nodes: list[Node]
    effects: list[Node]
    libraries: set[str]
