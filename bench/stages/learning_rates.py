"""What a linear evaluation says about its learning rates: that none fits the features, or the best may lie outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

ABSURD = 10.0  # times the loss of guessing: far above what training passes through on its way down
SETTLED = 20  # steps in which a loss may still be anything


class LossWatch:
    """Warns, once, of a loss that is far above that of guessing among `classes`."""

    def __init__(self, rates: Sequence[float], classes: int) -> None:
        self.rates, self.classes = rates, classes
        self._warned = False

    def see(self, loss: float, step: int, last: bool) -> str | None:
        """Return the warning, if there is one for the lowest loss of the heads at a step (0-based) of training."""
        guessing = math.log(max(2, self.classes))
        if self._warned or loss <= ABSURD * guessing or (step < SETTLED and not last):
            return None
        self._warned = True
        if len(self.rates) == 1:
            fault = f"the learning rate {self.rates[0]:g} does not fit these features"
            advice = "try several at once (imagenet_linear_sweep shows how), or another one: "
        else:
            fault = f"none of the learning rates {min(self.rates):g} to {max(self.rates):g} fits these features"
            advice = "try lower ones: "
        return (
            f"warning: the linear classifier's loss is {loss:.4g}, and guessing among {self.classes} classes has "
            f"{guessing:.3g}: {fault}; {advice}--set learning_rates=…"
        )


def at_the_edge(rates: Sequence[float], chosen: int) -> str | None:
    """Return a note where the best of several learning rates is the lowest or the highest of them."""
    rate, lowest, highest = rates[chosen], min(rates), max(rates)
    if lowest == highest or rate not in {lowest, highest}:
        return None
    end, more = ("lowest", "lower") if rate == lowest else ("highest", "higher")
    return (
        f"note: the best learning rate, {rate:g}, is the {end} of the {len(rates)} that were tried; a {more} one may "
        "be better (--set learning_rates=…)"
    )


def named_by_rate(rates: Sequence[float], **values: Sequence[float]) -> dict[str, float]:
    """Return values of heads under the names of their learning rates, {"loss/0.1": …}, as trackers get them."""
    return {
        f"{name}/{rate:g}": one for name, of_heads in values.items() for rate, one in zip(rates, of_heads, strict=True)
    }
