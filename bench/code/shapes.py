"""The shape of a definition: its syntax tree without what changes no result, as text, and what it refers to.

Left out are comments, formatting, docstrings, annotations, and the words of messages (in `raise`, `assert`, `print` and
`warnings.warn`). Local variables and private attributes go by number, in the order in which they are met. A name of the
module, or a dotted one that begins with it, leaves an R; `Shape.refs` has what it says, and the graph finds what it
means. Parameters keep their names, since callers use them.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from bench.code.references import Names, dotted, looks_inside, private
from bench.code.scopes import (
    Comprehension,
    Function,
    imported,
    modules_of,
    of_class,
    of_comprehension,
    of_function,
)


class Writer(Names):
    """Writes the shapes of definitions and statements."""

    def _FunctionDef(self, node: Function) -> None:
        self._put("(" + type(node).__name__)
        if self._scopes:
            self._name(node.name, "")
        if self._scopes and self._scopes[-1].kind == "class" and private(node.name):
            self.shape.defines.add(node.name)
        self.write(node.decorator_list)
        self.function(node.args, node.body)
        if self.annotated and node.returns is not None:
            self.write(node.returns)
        self._put(")")

    _AsyncFunctionDef = _FunctionDef

    def _Lambda(self, node: ast.Lambda) -> None:
        self._put("(Lambda")
        self.function(node.args, [ast.Return(node.body)])
        self._put(")")

    def function(self, arguments: ast.arguments, body: Sequence[ast.stmt]) -> None:
        """Write the parameters, their defaults, which belong to the scope around, and the body."""
        counts = len(arguments.posonlyargs), len(arguments.args), len(arguments.kwonlyargs)
        self._put(f"{counts} {arguments.vararg is not None} {arguments.kwarg is not None}")
        self.write([*arguments.defaults])
        self.write([*arguments.kw_defaults])
        names = [each.arg for each in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
        names += [each.arg for each in (arguments.vararg, arguments.kwarg) if each is not None]
        self._put(*names)
        if self.annotated:
            some = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
            self.write([each.annotation for each in some if each is not None])
        was, self._plain = self._plain, self._plain or looks_inside(body)
        self._scopes.append(of_function(arguments, body, self.package))
        self.write([*body])
        self._scopes.pop()
        self._plain = was

    def _ClassDef(self, node: ast.ClassDef) -> None:
        self._put("(ClassDef")
        if self._scopes:
            self._name(node.name, "")
        self.write(node.decorator_list)
        self.write(node.bases)
        self.write(node.keywords)
        scope = of_class(node.body)
        self.shape.defines.update(filter(private, scope.bound))
        self._scopes.append(scope)
        bases = {dotted(each).rpartition(".")[2] for each in node.bases}
        was, self._fields = self._fields, bool(node.decorator_list or bases & {"NamedTuple", "TypedDict"})
        self.write(node.body)
        self._fields = was
        self._scopes.pop()
        self._put(")")

    def _comprehension(self, node: Comprehension) -> None:
        self._put("(" + type(node).__name__)
        first, *others = node.generators
        self.write(first.iter)  # in the scope around
        self._scopes.append(of_comprehension(node))
        self.write(first.target)
        self.write(first.ifs)
        self._put(str(first.is_async))
        for each in others:
            self._generic(each)
        for name in ("key", "value", "elt"):
            self.write(getattr(node, name, None))
        self._scopes.pop()
        self._put(")")

    _ListComp = _SetComp = _DictComp = _GeneratorExp = _comprehension

    # Statements.

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        if self.annotated:
            self.write(node.annotation)
        in_class = bool(self._scopes) and self._scopes[-1].kind == "class"
        if node.value is None:
            if in_class and self._fields and isinstance(node.target, ast.Name):
                self._put(f"field:{node.target.id}")
            return
        # What dataclasses and pydantic don't take for a field.
        kind = ast.unparse(node.annotation).partition("[")[0].rpartition(".")[2].strip("'\"")
        self._put("(Assign", kind if in_class and kind in {"ClassVar", "InitVar", "KW_ONLY"} else "")
        self.write([node.target])
        self.write(node.value)
        self._put(")")

    def _Assign(self, node: ast.Assign) -> None:
        self._put("(Assign", "")
        self.write(node.targets)
        self.write(node.value)
        self._put(")")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import in a function is what its names mean; else, as below `try`, what it binds counts."""
        self.shape.imports += modules_of(node, self.package)
        for name, module, inside in imported(node, self.package):
            number = self._scope_of(name)
            if number is None or name not in self._scopes[number].imports:
                self._put("(Import")
                self._name(name, "") if number is not None else self._put(name)
                self._refer("import", f"{module}:{inside}")
                self._put(")")

    _Import = _ImportFrom = _import

    def _ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._bound(node, node.name)

    def _MatchAs(self, node: ast.MatchAs) -> None:
        self._bound(node, node.name)

    _MatchStar = _MatchAs

    def _MatchMapping(self, node: ast.MatchMapping) -> None:
        self._bound(node, node.rest)

    def _bound(self, node: ast.AST, name: str | None) -> None:
        if name is not None:
            self._name(name, "")
        self._generic(node, "name", "rest")

    def _Global(self, node: ast.Global) -> None:
        """Said by what its names mean."""

    def _Nonlocal(self, node: ast.Nonlocal) -> None:
        """Said by what its names mean."""
