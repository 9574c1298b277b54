"""matplotlib's SVG -> an `<svg>` element that can stand in a page beside others, light or dark."""

from __future__ import annotations

import io
import re
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bench.results.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_ROUNDED = frozenset({"d", "x", "y", "transform", "points", "width", "height", "viewBox"})
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
# matplotlib wrote `font: 7px 'DejaVu Sans', …` before it wrote properties of their own.
_FONT = re.compile(r"font: (?:(\w+) )?([\d.]+)px ([^;]*)")
_FAMILY = re.compile(r"font-family: [^;]*")
_UNTURNED = re.compile(r"rotate\(-?0 [^)]*\)")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
# What matplotlib's own style sheet says of all elements; in a page it would be of all the page's.
_ROOT_STYLE = "stroke-linejoin: round; stroke-linecap: butt; max-width: 100%; height: auto"


def svg_of(figure: Figure) -> bytes:
    """Return a figure as matplotlib writes it: a document, without a date. Called within `style.drawing`."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None})
    return written.getvalue()


def inline(document: bytes, name: str, title: str, description: str, *, variables: bool = True) -> str:
    """Return the `<svg>` element of a document of matplotlib's.

    It has no prolog, style sheet, script or date, and refers to nothing outside it. Its ids begin with `plot-<name>-`.
    With `variables` colours are CSS variables of `style.VARIABLES` with a fallback, and text has the page's font; else
    colours are plain, and text is sans-serif.
    """
    root = ElementTree.fromstring(document)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in {"metadata", "style", "title", "desc"}:
                parent.remove(child)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) == "defs" and not len(child):
                parent.remove(child)
    seen: Counter[str] = Counter()
    for element in root.iter():
        element.tag = _local(element.tag)
        if element.text is not None and not element.text.strip():
            element.text = None
        element.tail = None
        attributes = {_local(key): value for key, value in element.attrib.items()}
        element.attrib.clear()
        if (own := attributes.get("id")) is not None:  # artists of one kind have one name
            seen[own] += 1
            attributes["id"] = own if seen[own] == 1 else f"{own}_{seen[own]}"
        for key, value in attributes.items():
            if key == "transform" and _UNTURNED.fullmatch(value):
                continue
            element.set(key, _value(key, value, f"plot-{name}-", variables))
    box = root.get("viewBox", "")
    ids = f"plot-{name}-title", f"plot-{name}-desc"
    width, height = box.split()[2:]
    root.attrib.clear()
    attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "role": "img",
        "aria-labelledby": " ".join(ids),
        "viewBox": box,
        "width": f"{width}pt",
        "height": f"{height}pt",
        "style": _ROOT_STYLE,
    }
    for key, value in attributes.items():
        root.set(key, value)
    for place, (tag, words) in enumerate((("title", title), ("desc", description))):
        said = ElementTree.Element(tag, {"id": ids[place]})
        said.text = words
        root.insert(place, said)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _value(key: str, value: str, prefix: str, variables: bool) -> str:
    if key == "id":
        return prefix + value
    if key == "href":
        return f"#{prefix}{value[1:]}"
    value = _REFERENCE.sub(lambda found: f"url(#{prefix}{found[1]})", value)
    if key in _ROUNDED:
        return _NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    if key == "style":
        family = "inherit" if variables else "sans-serif"
        value = _FONT.sub(r"font-weight: \1; font-size: \2px; font-family: \3", value).replace("font-weight: ; ", "")
        value = _FAMILY.sub(f"font-family: {family}", value)
        if variables:
            value = _COLOUR.sub(_variable, value)
    return value


def _variable(found: re.Match[str]) -> str:
    name = style.VARIABLES.get(found[0])
    return f"var({name}, {found[0]})" if name else found[0]


def document(element: str) -> str:
    """Return an element of `inline` as a file of its own."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{element}\n'
