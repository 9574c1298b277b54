"""What settings of a memory bank's objective are refused."""

from __future__ import annotations

from bench.errors import BadInput, nearest

LOSSES = ("nce", "softmax")


def check_bank(negatives: int, temperature: float, dim: int, loss: str) -> None:
    """Refuse settings that mean nothing. Raises BadInput."""
    for name, value in (("negatives", negatives), ("dim", dim)):
        if value < 1:
            raise BadInput(f"objective.{name} is {value}; set it to 1 or more.")
    if temperature <= 0:
        raise BadInput(f"objective.temperature is {temperature}; set it above 0.")
    if loss not in LOSSES:
        hint = nearest(loss, LOSSES) or f"; set it to one of {', '.join(LOSSES)}."
        raise BadInput(f"Unknown objective.loss {loss!r}{hint}")
