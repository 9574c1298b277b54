"""What a figure is: what it is drawn from, the numbers behind it, and how it comes to the reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.results.plots.sources import Sources

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NARROW, WIDE = 3.3, 6.9  # inches: a column of a paper with two, and the whole page


class Content(Protocol):
    """The numbers of a figure, before it is drawn."""

    @property
    def caption(self) -> str:
        """What the marks mean, and what a reader must know to believe them."""

    @property
    def rows(self) -> list[dict[str, object]]:
        """The numbers, one dictionary a mark (or a point of a curve), as they are drawn."""

    def figure(self, width: float) -> Figure:
        """Draw them; called within `style.drawing`."""


@dataclass(frozen=True)
class Plot:
    """A figure that can be asked for.

    Attributes:
        name: by which `bench plot` knows it.
        title: for people.
        shows: what it shows, in one sentence.
        needs: what it lacks where there is nothing to draw, in one sentence, with the remedy.
        content: its numbers; None where the sources hold none.
    """

    name: str
    title: str
    shows: str
    needs: str
    content: Callable[[Sources], Content | None]


@dataclass(frozen=True)
class Drawn:
    """A figure for a page: `svg` is an element to be put into HTML as it is, `rows` are the numbers behind it."""

    name: str
    title: str
    caption: str
    svg: str
    rows: list[dict[str, object]]
