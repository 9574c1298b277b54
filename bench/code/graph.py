"""What definitions refer to: the graph of the code, made as far as it is asked for."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator

from bench.code.facts import Definition
from bench.code.left_out import LEFT_OUT, PACKAGE, SETTINGS
from bench.code.meanings import ALL, Found, Meanings, Node, hashed
from bench.code.modules import Module, Modules
from bench.code.registering import registers

# Bases from outside that use none of a class's private names but those of MODULE_PRIVATE.
OPEN_BASES = frozenset(
    {
        *("builtins.object", "abc.ABC", "typing.Protocol", "typing.Generic", "torch.nn.Module", "torch.nn.Sequential"),
        *("torch.utils.data.Dataset", "collections.abc.Iterator", "collections.abc.Iterable", "builtins.Exception"),
    }
)
# What torch.nn.Module itself looks for.
MODULE_PRIVATE = frozenset(
    {
        *("_apply", "_buffers", "_call_impl", "_compiled_call_impl", "_get_name", "_modules", "_named_members"),
        *("_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called"),
        *("_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
        *("_get_backward_hooks", "_get_backward_pre_hooks", "_is_full_backward_hook", "_load_from_state_dict"),
        *("_load_state_dict_post_hooks", "_load_state_dict_pre_hooks", "_maybe_warn_non_full_backward_hook"),
        *("_non_persistent_buffers_set", "_parameters", "_register_load_state_dict_pre_hook"),
        *("_register_state_dict_hook", "_replicate_for_data_parallel", "_save_to_state_dict", "_slow_forward"),
        *("_state_dict_hooks", "_state_dict_pre_hooks", "_version", "_wrapped_call_impl"),
    }
)
# Decorators of a class that make nothing of its annotations but which fields there are.
FIELD_DECORATORS = frozenset({"dataclasses.dataclass", "typing.final", "typing.runtime_checkable"})


class Graph(Meanings):
    """Definitions, and what each refers to."""

    def __init__(self, modules: Modules | None = None) -> None:
        super().__init__(modules or Modules())
        self._nodes: dict[tuple[Module, str], Node] = {}
        self._settings: dict[tuple[Module, str], bool] = {}
        self._effects: dict[Module, list[Node]] = {}
        self._methods: dict[str, list[tuple[Module, str]]] | None = None

    # Nodes.

    def node(self, module: Module, name: str) -> Node:
        """Return a definition of a module; see `linked`."""
        key = module, name
        if key not in self._nodes:
            definition = Definition("effect", "") if name == ALL else module.facts.definitions[name]
            self._nodes[key] = Node(module, name, definition)
        return self._nodes[key]

    def linked(self, node: Node) -> Node:
        """Return a definition after finding what it refers to."""
        if not node.own:
            self._link(node)
        return node

    def _link(self, node: Node) -> None:
        module, definition = node.module, node.definition
        if node.name == ALL:
            node.own, node.modules = hashed("module"), [module]
            node.targets = [self.node(module, name) for name in module.facts.definitions if "." not in name]
            return
        node.modules = [module, *self.found(definition.imports, module)]
        if definition.kind == "class" and self.is_settings(module, node.name):
            node.own = hashed("settings", node.name)  # its fields are no code
            return
        annotated = definition.kind != "class" or self._reads_annotations(node)
        refs = [*definition.refs, *(definition.annotated_refs if annotated and definition.annotated else [])]
        meanings = [self.resolve(module, kind, what) for kind, what in refs]
        order: dict[object, int] = {}  # target -> its place
        outside: list[str] = []
        sequence: list[tuple[int, str]] = []
        for number in [*definition.occurrences, *range(len(definition.refs), len(refs))]:
            found, rest = meanings[number] or (f"text {refs[number][1]}" if refs[number][0] == "text" else "", "")
            if isinstance(found, Module):
                found = self.node(found, ALL)
            if found not in order:
                order[found] = len(order)
                outside.append(found if isinstance(found, str) else "")
                if isinstance(found, str):
                    node.externals.add(found)
                else:
                    node.targets.append(found)
            sequence.append((order[found], rest))
        resources = sorted(self._resources(node))
        shape = definition.annotated if annotated and definition.annotated else definition.shape
        node.own = hashed(shape, sequence, outside, resources)
        node.more = self._used_by_name(node)
        if definition.dynamic and not module.ours:
            node.more += [self.node(each, ALL) for each in self.package(module) if each is not module]
        mentioned = {*definition.privates, *(p for _, rest in sequence for p in rest.split(".") if p.startswith("_"))}
        node.mentioned = frozenset(mentioned)
        if definition.kind == "class" and self._bases_are_open(node):
            node.open = frozenset(definition.defines) - MODULE_PRIVATE

    def _used_by_name(self, node: Node) -> list[Node]:
        """The methods of settings that a definition mentions."""
        methods = self._settings_methods()
        names = [name for name in node.definition.attributes if name in methods]
        return [self.node(*place) for name in names for place in methods[name] if place != (node.module, node.name)]

    def _settings_methods(self) -> dict[str, list[tuple[Module, str]]]:
        if self._methods is None:
            self._methods = {}
            for module in self._settings_modules():
                for name, definition in module.facts.definitions.items():
                    if definition.kind == "class" and self.is_settings(module, name):
                        for method in definition.methods:
                            self._methods.setdefault(method, []).append((module, f"{name}.{method}"))
        return self._methods

    def _settings_modules(self) -> Iterator[Module]:
        here = self.modules.find(f"{PACKAGE}.config", self.modules.package())
        names = [] if here is None else [f"{PACKAGE}.config.{each.stem}" for each in here.file.parent.glob("*.py")]
        for name in sorted([*names, f"{PACKAGE}.data.packs.manifest"]):
            module = self.modules.find(name, self.modules.package())
            if module is not None and module.name not in LEFT_OUT:
                yield module

    def is_settings(self, module: Module, name: str) -> bool:
        """Whether a class of ours holds settings."""
        if not module.ours or f"{module.name}:{name}" in SETTINGS:
            return module.ours
        key = module, name
        if key not in self._settings:
            self._settings[key] = False  # a circle ends
            self._settings[key] = any(
                not isinstance(found, str | Module) and self.is_settings(found.module, found.name)
                for found in self._bases(module, module.facts.definitions[name])
            )
        return self._settings[key]

    def _bases(self, module: Module, definition: Definition) -> list[Found]:
        found = [self.resolve(module, "name", base) for base in definition.bases if base.split(".")[0].isidentifier()]
        return [each[0] for each in found if each is not None]

    def ancestors(self, node: Node) -> Iterator[Found]:
        """Yield the bases of a class, theirs, and so on; names of those that are outside."""
        seen: set[Node] = set()
        pending = [node]
        while pending:
            each = pending.pop()
            for found in self._bases(each.module, each.definition):
                yield found
                if isinstance(found, Node) and found not in seen:
                    seen.add(found)
                    pending.append(found)

    def _bases_are_open(self, node: Node) -> bool:
        return all(
            each in OPEN_BASES if isinstance(each, str) else isinstance(each, Node) for each in self.ancestors(node)
        )

    def _reads_annotations(self, node: Node) -> bool:
        if any(isinstance(each, str) and each.startswith("pydantic") for each in self.ancestors(node)):
            return True
        return any(each not in FIELD_DECORATORS for each in self.decorators(node, of_methods=False))

    def decorators(self, node: Node, of_methods: bool = True) -> list[str]:
        """Return the decorators of a definition, by their full names where they are outside, else `domain NAME`."""
        names = node.definition.decorators
        if not of_methods:
            names = names[: node.definition.own_decorators]
        found = [self.resolve(node.module, "name", each) for each in names if each.split(".")[0].isidentifier()]
        meant = [each[0] for each in found if each is not None]
        return [each if isinstance(each, str) else f"domain {each.name}" for each in meant]

    def _resources(self, node: Node) -> Iterator[tuple[str, str]]:
        """Names and hashes of files beside a module that a definition names."""
        for name in node.definition.files:
            file = node.module.file.parent / name
            if file.suffix != ".py" and file.is_file():
                yield file.name, hashlib.sha256(file.read_bytes()).hexdigest()[:32]

    def effects(self, module: Module) -> list[Node]:
        """Return what importing a module does besides defining: its other statements, and what registers itself."""
        if module not in self._effects:
            self._effects[module] = []
            names = [name for name in module.facts.definitions if "." not in name]
            self._effects[module] = [self.node(module, name) for name in names if registers(self, module, name)]
        return self._effects[module]


def libraries_of(externals: Iterable[str]) -> set[str]:
    """Return the top-level packages of dotted names, without Python's own."""
    tops = {name.partition(".")[0] for name in externals if name and " " not in name}
    return {top for top in tops if top.isidentifier() and top not in sys.stdlib_module_names and top != "builtins"}
