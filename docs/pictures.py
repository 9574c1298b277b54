"""Small pictures for pages, as SVG: points of rows over one axis, and curves."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")
Points = Sequence[tuple[float, float]]


def dots(rows: Mapping[str, Sequence[float]], title: str, marked: str = "", width: int = 560) -> str:
    """Return an SVG with a line for each row: a dot for each value, and a stroke at their mean.

    A dashed line runs through the mean of the row `marked`, if there is one.
    """
    left, right, above, line = 150, 20, 28, 18
    bottom = above + line * len(rows)
    values = [value for row in rows.values() for value in row]
    ticks = ticks_of(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return left + (width - left - right) * (value - low) / (high - low)

    parts = [*_opened(width, bottom + 36), _text(width / 2, 16, title, "middle")]
    for tick in ticks:
        parts.append(f'<path d="M{x(tick):.1f},{above}V{bottom}" stroke="#ddd"/>')
        parts.append(_text(x(tick), bottom + 16, f"{tick:g}", "middle"))
    if marked in rows:
        mean = x(fmean(rows[marked]))
        parts.append(f'<path d="M{mean:.1f},{above}V{bottom}" stroke="#888" stroke-dasharray="4 3"/>')
    for number, (name, row) in enumerate(rows.items()):
        y = above + line * (number + 0.5)
        parts.append(_text(left - 8, y + 4, name, "end"))
        mean = x(fmean(row))
        parts.append(f'<path d="M{mean:.1f},{y - 6:.1f}V{y + 6:.1f}" stroke="black" stroke-width="2"/>')
        parts += [f'<circle cx="{x(v):.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[0]}" fill-opacity="0.6"/>' for v in row]
    return "\n".join([*parts, "</svg>"]) + "\n"


def curves(
    rows: Mapping[str, Sequence[Points]], x_title: str, y_title: str, width: int = 560, height: int = 340
) -> str:
    """Return an SVG with a colour for each row: a thin line for each of its curves, and a thick one for their mean.

    The mean is over the steps that all curves of the row have.
    """
    left, right, above, below = 46, 16, 28, 40
    points = [point for row in rows.values() for curve in row for point in curve]
    xs = ticks_of(0.0, max(x for x, _ in points))
    ys = ticks_of(min(0.0, *(y for _, y in points)), max(y for _, y in points))

    def place(point: tuple[float, float]) -> str:
        across = left + (width - left - right) * (point[0] - xs[0]) / (xs[-1] - xs[0])
        down = above + (height - above - below) * (ys[-1] - point[1]) / (ys[-1] - ys[0])
        return f"{across:.1f},{down:.1f}"

    parts = _opened(width, height)
    for tick in ys:
        across, down = place((xs[0], tick)).split(",")
        parts.append(f'<path d="M{across},{down}H{width - right}" stroke="#ddd"/>')
        parts.append(_text(left - 6, float(down) + 4, f"{tick:g}", "end"))
    for tick in xs:
        across, down = place((tick, ys[0])).split(",")
        parts.append(_text(float(across), float(down) + 16, f"{tick:g}", "middle"))
    parts += [_text(width / 2, height - 6, x_title, "middle"), _text(4, 16, y_title, "start")]
    for number, (name, row) in enumerate(rows.items()):
        colour = COLOURS[number % len(COLOURS)]
        mean = mean_of(row)
        for curve, stroke in [*((curve, "0.6") for curve in row if len(row) > 1), (mean, "2.2")]:
            drawn = " ".join(map(place, curve))
            parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="{stroke}"/>')
        parts.append(_text(left + 10, above + 12 + 15 * number, name, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def mean_of(row: Sequence[Points]) -> list[tuple[float, float]]:
    """Return the mean curve, at the steps that all curves have."""
    by_step = [dict(curve) for curve in row]
    shared = sorted(set.intersection(*(set(one) for one in by_step)))
    return [(step, fmean(one[step] for one in by_step)) for step in shared]


def ticks_of(low: float, high: float) -> list[float]:
    """Return four to nine round numbers, the first at most `low` and the last at least `high`."""
    span = (high - low) or max(1.0, abs(high))
    step = next(size for size in _round_numbers(span / 8) if span / size <= 8)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * place, 10) for place in range(first, max(last, first + 1) + 1)]


def _round_numbers(least: float) -> Iterator[float]:
    """1, 2 and 5 times powers of ten, ascending, from about `least`."""
    power = 10.0 ** (math.floor(math.log10(least)) - 1)
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _opened(width: int, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]


def _text(x: float, y: float, text: str, anchor: str, colour: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{html.escape(text)}</text>'
