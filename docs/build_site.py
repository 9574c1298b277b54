"""Build the pages of this folder as a site, with warnings as errors, and check every link in what was built.

    python docs/build_site.py [FOLDER]

The site needs no network: it is an error if a page loads anything from elsewhere. Without FOLDER it is build/site.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS.parent / "build" / "site"
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
# Relations of <link> that load nothing.
RELATIONS = {"canonical", "search", "index", "next", "prev", "genindex", "author", "license"}


class _Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what the tag says of links and anchors."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        attribute = LOADED.get(tag)
        if attribute is not None and attribute in values and not RELATIONS & set(values.get("rel", "").split()):
            self.loaded.append(values[attribute])


def broken(folder: Path) -> Iterator[str]:
    """Yield a sentence for each link that leads nowhere, and for each thing that a page would load from a network."""
    pages = {file.resolve(): _Page(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("*.html"))}
    for file, page in pages.items():
        shown = file.relative_to(folder.resolve())
        for link in dict.fromkeys([*page.links, *page.loaded]):
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if link in page.loaded:
                    yield f"{shown} loads {link} from a network"
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                yield f"{shown} links to {link}, which does not exist"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{shown} links to {link}, and {target.name} has no such anchor"


def build(folder: Path) -> int:
    """Build the site anew into a folder and return Sphinx's exit code: 0, or not 0 where anything was warned of."""
    from sphinx.cmd.build import main as sphinx

    trees = folder.with_name(f"{folder.name}.doctrees")
    words = ["--builder", "html", "--quiet", "--fresh-env", "--fail-on-warning", "--doctree-dir", str(trees)]
    return sphinx([*words, str(DOCS), str(folder)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 where Sphinx warned, a link is broken, or torch was imported."""
    parser = argparse.ArgumentParser(description="Build the documentation as a site.")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER")
    folder = parser.parse_args(arguments).folder
    had_torch = "torch" in sys.modules
    if build(folder):
        return 1
    problems = list(broken(folder))
    if not had_torch and hasattr(sys.modules.get("torch"), "__version__") and "torch._C" in sys.modules:
        problems.append("torch was imported to build the site, which takes seconds and is not needed")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"built {folder / 'index.html'}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
