"""How Sphinx makes the pages of this folder into a site. `make site` runs it, with warnings as errors.

The pages are plain Markdown, which reads on its own, too. What only a site has is added here: the navigation, the
drawing as a part of its page, and the reference of the Python interface from its docstrings.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from bench import __version__  # noqa: E402

project = "bench"
author = "The bench authors"
copyright = "The bench authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist", "html_image"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "plots_example"]
highlight_language = "none"  # of an indented block
myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["misc.highlighting_failure"]  # a fragment of Python with … in it
default_role = "code"  # of `names` in docstrings
autodoc_typehints = "description"
autodoc_member_order = "bysource"
# The interface imports these inside its functions; a page about it needs none of them.
autodoc_mock_imports = ["torch", "torchvision", "mmseg", "mmcv", "mmengine", "timm"]

html_theme = "furo"
html_title = "bench"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None  # the same pages give the same files
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}

# Section -> pages, in the order of the navigation. One that does not exist is left out; one that is named nowhere comes
# last, under OTHERS.
NAVIGATION: dict[str, tuple[str, ...]] = {
    "Start": (
        *("installing", "tutorial", "concepts", "bring_your_data", "bring_your_weights", "writing_a_config"),
        *("troubleshooting", "glossary"),
    ),
    "Seeing results": ("report", "tables", "plots", "looking", "status", "trackers", "python", "statistics"),
    "Running": (
        *("speed", "several_processes", "clusters", "scale", "performance", "numerics", "reliability"),
        "safe_configs",
    ),
    "Adding": ("adding_an_objective", "adding_a_task", "adding_a_dataset", "adding_a_dialect"),
    "Believing": ("reproducing_the_deck", "positive_control", "loss2", "provenance", "canary", "mutants"),
    "Reference": ("commands", "configs", "protocols", "objectives", "recipes", "api", "architecture", "versioning"),
}
OTHERS = "More"


def navigation(pages: set[str]) -> dict[str, list[str]]:
    """Return {section: pages} of those that exist, each page in one section; `index` is in none."""
    sections = {section: [page for page in named if page in pages] for section, named in NAVIGATION.items()}
    placed = {page for named in NAVIGATION.values() for page in named}
    sections[OTHERS] = sorted(pages - placed - {"index"})
    return {section: named for section, named in sections.items() if named}


def _trees() -> str:
    pages = {file.stem for file in DOCS.glob("*.md")}
    trees = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {section}", "", *named, "```"])
        for section, named in navigation(pages).items()
    ]
    return "\n\n".join(trees)


def _reference() -> str:
    """What the page of the Python interface says beside its text: each public name, from its docstring."""
    bench = importlib.import_module("bench")
    names = [name for name in getattr(bench, "__all__", ()) if not name.startswith("_")]
    blocks = []
    for name in names:
        thing = getattr(bench, name)
        kind = "autoclass" if isinstance(thing, type) else "autofunction" if callable(thing) else None
        members = ["   :members:"] if kind == "autoclass" else []
        if kind is not None:
            blocks.append("\n".join(["```{eval-rst}", f".. {kind}:: bench.{name}", *members, "```"]))
    return "\n\n".join(blocks)


def _added(_app: Any, page: str, source: list[str]) -> None:
    """Add to a page, as it is read, what only the site has."""
    # A page outside this folder, such as LOG.md, is a file of the site and no page of it.
    source[0] = re.sub(r"\]\((\.\./[^)#]+\.md)(?:#[^)]*)?\)", r"](path:\1)", source[0])
    added = _trees() if page == "index" else _reference() if page == "api" else ""
    if added:
        source[0] += f"\n{added}\n"


def _drawn(_app: Any, doctree: Any) -> None:
    """Put the drawing into its page, where it follows the page's light and dark."""
    from docutils import nodes

    for image in list(doctree.findall(nodes.image)):
        file = DOCS / image["uri"]
        if file.name == "pipeline.svg" and file.is_file():
            image.parent.replace(image, nodes.raw("", file.read_text(encoding="utf-8"), format="html"))


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx of the above."""
    app.connect("source-read", _added)
    app.connect("doctree-read", _drawn, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
