"""A figure's SVG, let through as it is where it only draws."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.errors import BadInput

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NAMESPACE = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"
# What draws. Neither scripts nor what loads, links or holds HTML; no `style`, which would style the whole page.
_ELEMENTS = frozenset(
    {"svg", "g", "defs", "symbol", "use", "title", "desc", "metadata"}
    | {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "textPath"}
    | {"clipPath", "mask", "marker", "linearGradient", "radialGradient", "stop", "pattern"}
)


def checked_svg(svg: str, name: str) -> str:
    """Return one `<svg>` element as markup for a page; what it says besides drawing is dropped.

    Raises BadInput where it is none, or holds what may run, load or restyle something: scripts, handlers of events,
    links and images, style sheets.
    """
    from xml.etree import ElementTree

    if "<!DOCTYPE" in svg or "<!ENTITY" in svg:
        raise BadInput(f"The figure {name!r} defines entities, which no page takes; draw it without.")
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise BadInput(f"The figure {name!r} is no SVG ({error}); draw it anew.") from error
    if _local(root) != "svg":
        raise BadInput(f"The figure {name!r} begins with <{_local(root)}>, and not with <svg>; draw it anew.")
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child) == "metadata":
                parent.remove(child)
    own = {element.get("id"): f"{_slug(name)}-{element.get('id')}" for element in root.iter() if element.get("id")}
    for element in root.iter():
        _check(element, name)
        for key, value in element.attrib.items():
            element.set(key, _named(key, value, own))
        element.tag = _local(element)
        if XLINK in element.attrib:
            element.set("href", element.attrib.pop(XLINK))
        for key in [key for key in element.attrib if key.startswith("{")]:
            del element.attrib[key]  # of other namespaces, which draws nothing
    root.set("xmlns", NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _slug(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", name) or "figure"


def _named(key: str, value: str, own: Mapping[str | None, str]) -> str:
    """An attribute in which the figure's own names are unlike those of other figures of the page."""
    if key == "id":
        return own[value]
    if key in {"aria-labelledby", "aria-describedby"}:
        return " ".join(own.get(word, word) for word in value.split())
    return re.sub(r"#([\w.:-]+)", lambda found: f"#{own.get(found[1], found[1])}", value)


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _check(element: Element, name: str) -> None:
    local = _local(element)
    if local not in _ELEMENTS:
        raise BadInput(f"The figure {name!r} holds <{local}>, which no page takes; draw it without.")
    for key, value in element.attrib.items():
        attribute = key.rpartition("}")[2].lower()
        outside = attribute == "href" and not value.startswith("#")
        # `url(#…)` names something of the figure itself, such as what it is clipped by.
        loads = "url(" in value.replace(" ", "").replace("url(#", "").replace('url("#', "").replace("url('#", "")
        if attribute.startswith("on") or outside or loads or "javascript:" in value.lower():
            raise BadInput(f"The figure {name!r} has {attribute}={value[:60]!r}, which no page takes; draw it without.")
