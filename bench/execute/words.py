"""Times, sizes and counts as people say them."""

from __future__ import annotations

from bench.peak_memory import size_words


def duration(seconds: float) -> str:
    """Return a time as people say it: `40 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def size(count: float) -> str:
    """Return so many bytes as people say it: `12 MiB`, `3.4 GiB`."""
    return size_words(count / 2**20)


def counted(number: int, thing: str) -> str:
    """Return so many things: `1 run`, `3 runs`."""
    return f"{number} {thing}{'s' if number != 1 else ''}"
