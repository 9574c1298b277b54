"""The digest of a small package that a test writes."""

from __future__ import annotations

from pathlib import Path

from bench.code.digests import Code, Digests
from bench.code.graph import Graph
from bench.code.modules import Modules


def code(folder: Path, files: dict[str, str], root: str = "run") -> Code:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    modules = Modules()
    graph = Graph(modules)
    node = graph.root(modules.file(folder / "run.py"), root)
    assert node is not None
    return Digests(graph).of([node])
