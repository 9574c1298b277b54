"""How a training that has diverged ends: the error, what it tells a person, and what to try."""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import StageFailed

REMEDY = (
    "Lower optimizer.lr or lengthen schedule.warmup_epochs, cut gradients by optimizer.clip_norm, or set "
    "on_divergence='lower_lr', which goes back and lowers the rate by itself."
)


class Diverged(StageFailed):
    """A training has left the ground that it can go on from.

    Args:
        message: for a person: the step, what was seen, the last good checkpoint, what to try.
        why: the same in a few words that depend neither on the clock nor on where a run was interrupted.
    """

    def __init__(self, message: str, why: str = "nan or inf") -> None:
        super().__init__(message)
        self.why = why


def terms_words(means: Mapping[str, float]) -> str:
    """Return the loss and its terms for a message: "loss nan, loss1 0.31"."""
    return ", ".join(f"{name} {value:.4g}" for name, value in means.items())
