"""How figures look: sizes, colours that colour-blind readers tell apart, markers and dashes for print in grey.

matplotlib's objects alone are used; its global settings stay as they are.
"""

from __future__ import annotations

import logging
import math
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.printable import cut_middle, without_unprintable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, GROUND = "#1b1b1b", "#6a6a6a", "#dcdcdc", "#ffffff"
# Okabe and Ito's palette, without the yellow that white paper swallows.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7d5ba6")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (2.2, 1.2)))
# The names of CSS variables by which a page may give other colours, as in the dark.
VARIABLES = {
    INK: "--plot-ink",
    MUTED: "--plot-muted",
    GRID: "--plot-grid",
    GROUND: "--plot-ground",
    **{colour: f"--plot-{number}" for number, colour in enumerate(PALETTE, 1)},
}

TEXT, SMALL = 8.0, 7.0  # points
MOST = 44  # characters of a name that are drawn

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": TEXT,
    "text.parse_math": False,  # names are shown as they are
    "text.usetex": False,
    "text.color": INK,
    "axes.labelsize": TEXT,
    "axes.titlesize": SMALL,
    "axes.titlelocation": "left",
    "axes.titlepad": 3.5,
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "lines.markeredgewidth": 0.8,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.borderaxespad": 0.2,
    "legend.labelspacing": 0.3,
    "legend.columnspacing": 1.2,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,
    "path.simplify": False,  # thinning is said in captions, and this would not be
}


@dataclass(frozen=True)
class Look:
    """How one name is drawn in all panels of a figure."""

    colour: str
    marker: str
    dashes: Any


def look(number: int) -> Look:
    """Return the look of the name of this number; no two of the first 63 have the same colour and marker."""
    turn = number // len(PALETTE)
    return Look(
        PALETTE[number % len(PALETTE)],
        MARKERS[(number + turn) % len(MARKERS)],
        DASHES[(number + turn) % len(DASHES)],
    )


@contextmanager
def drawing(salt: str) -> Iterator[None]:
    """Draw within these settings, whatever is set elsewhere; `salt` decides the ids of an SVG.

    matplotlib says on the log where it has to keep its list of fonts elsewhere, since a home folder cannot be written.
    No figure depends on that.
    """
    log = logging.getLogger("matplotlib")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib

        with warnings.catch_warnings(), matplotlib.rc_context():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            warnings.filterwarnings("ignore", message="constrained_layout not applied")  # of names as long as a figure
            matplotlib.rcdefaults()  # within the context: a matplotlibrc of the user decides nothing
            matplotlib.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
            matplotlib.rcParams["svg.hashsalt"] = salt
            yield
    finally:
        log.setLevel(before)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, whose axes are laid out when it is drawn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.04)  # type: ignore[call-arg]
    return figure


def columns_and_lines(count: int, most: int) -> tuple[int, int]:
    """Return in how many columns, at most `most`, and lines so many panels stand, with as few places left empty."""
    lines = math.ceil(count / max(1, most))
    return math.ceil(count / lines), lines


def literal(text: str, most: int = MOST) -> str:
    """Return a name as it can be drawn: its middle left out where it is long, and what cannot be printed as �."""
    return cut_middle(without_unprintable(text), most)


def wrapped(text: str, inches: float, size: float = SMALL) -> str:
    """Return a text in lines that fit a width, by the mean width of a letter, and what cannot be printed as �."""
    letters = max(12, int(inches * 72 / (0.56 * size)))
    return "\n".join(
        line
        for part in text.split("\n")
        for line in textwrap.wrap(without_unprintable(part), letters, break_on_hyphens=False) or [""]
    )


def number(value: float, _: object = None) -> str:
    """Return a number for an axis: 20,000 · 0.5 · 10⁻⁵ · 2.5e−05, with a true minus."""
    if value and not 1e-3 <= abs(value) < 1e7:
        if value > 0 and abs((power := math.log10(value)) - round(power)) < 1e-9:
            return f"10{str(round(power)).translate(_RAISED)}"
        text = f"{value:.3g}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
    return text.replace("-", "\N{MINUS SIGN}")


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain_numbers(axes: Axes, ticks: int = 4, which: str = "xy") -> None:
    """Give axes round numbers, as few as fit."""
    from matplotlib.ticker import MaxNLocator

    for axis in [axes.xaxis] * ("x" in which) + [axes.yaxis] * ("y" in which):
        if axis.get_scale() == "linear":
            axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(number)
    axes.minorticks_off()


def light_grid(axes: Axes, axis: Any = "both") -> None:
    """Draw thin lines at the ticks."""
    axes.grid(True, axis=axis)
