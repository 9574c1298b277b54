"""Inputs of the checks over several processes, and what they come to by formulas in NumPy and float64."""

from __future__ import annotations

import numpy as np

BN_ROWS = 7  # over 2 and 3 ranks: 4 + 3, 3 + 2 + 2
BATCH, EPOCHS, TAU = 6, 2, 0.9
IMAGES = 29
QUEUE, PUSHED = 12, 6
CLASSES, K = 4, 5
TEMPERATURE = 0.5
MAPS, PIXEL_CLASSES = 7, 3
MOMENTUM, EPS = 0.1, 1e-5  # torch's defaults, by its documentation of BatchNorm2d


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def bn_input(step: int) -> np.ndarray:
    """7×4×2×3, of which means and scales differ from channel to channel and from step to step."""
    return numbers(step, BN_ROWS, 4, 2, 3) * np.arange(1, 5)[:, None, None] + 3 * step + 2


def bn_upstream() -> np.ndarray:
    return numbers(9, BN_ROWS, 4, 2, 3)


def batch_norm(weight: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    """Ioffe and Szegedy 2015: algorithm 1, and the gradients of section 3, which sum over all rows of the batch."""
    mean, variance = np.zeros(4), np.ones(4)
    over, at = (0, 2, 3), (None, slice(None), None, None)
    for step in range(3):
        x, g = bn_input(step), bn_upstream()
        m = x.size // 4
        mu, var = x.mean(over), x.var(over)
        hat = (x - mu[at]) / np.sqrt(var + EPS)[at]
        mean = (1 - MOMENTUM) * mean + MOMENTUM * mu
        variance = (1 - MOMENTUM) * variance + MOMENTUM * var * m / (m - 1)
        d_hat = g * weight[at]
        d_var = (d_hat * (x - mu[at])).sum(over) * -0.5 * (var + EPS) ** -1.5
        d_mu = -(d_hat / np.sqrt(var + EPS)[at]).sum(over) + d_var * (-2 * (x - mu[at])).mean(over)
        dx = d_hat / np.sqrt(var + EPS)[at] + d_var[at] * 2 * (x - mu[at]) / m + d_mu[at] / m
    y = weight[at] * hat + bias[at]
    return {
        "y": y,
        "x": dx,
        "weight": (g * hat).sum(over),
        "bias": g.sum(over),
        "mean": mean,
        "variance": variance,
    }


def projections() -> tuple[np.ndarray, np.ndarray]:
    return numbers(20, 6, 4), numbers(21, 6, 4)


def nt_xent(z1: np.ndarray, z2: np.ndarray) -> float:
    """Chen et al. 2020, eq. 1: the mean over all 2N views of −log softmax of the other view of the image."""
    z = np.concatenate([z1, z2])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n, similar = len(z1), z @ z.T / TEMPERATURE
    losses = []
    for i in range(2 * n):
        others = [similar[i, j] for j in range(2 * n) if j != i]
        losses.append(-similar[i, (i + n) % (2 * n)] + np.log(np.exp(others).sum()))
    return float(np.mean(losses))


def slopes(function, point: list[np.ndarray], which: int, h: float = 1e-5) -> np.ndarray:
    """The gradient of function(*point) in one of its arguments, by central differences."""
    result = np.zeros_like(point[which])
    for place in np.ndindex(*result.shape):
        moved = []
        for sign in (1, -1):
            shifted = [one.copy() for one in point]
            shifted[which][place] += sign * h
            moved.append(function(*shifted))
        result[place] = (moved[0] - moved[1]) / (2 * h)
    return result


def keys(step: int) -> np.ndarray:
    """6×2, each of which says when it was pushed, and of which image of the batch it is."""
    return np.stack([np.full(PUSHED, float(step)), np.arange(PUSHED)], 1)


def regression() -> tuple[np.ndarray, np.ndarray]:
    """14 images, so that an epoch has two batches of six and leaves two out."""
    return numbers(30, 14, 3), numbers(31, 14, 2)


def bank() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """17 unit rows, their labels, and 10 queries."""
    rows, queries = numbers(40, 17, 6), numbers(41, 10, 6)
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (rows, queries)]
    return unit[0], np.random.default_rng(42).integers(0, CLASSES, 17), unit[1]


def voted(temperature: float | None) -> np.ndarray:
    """The best class of each query: the k largest cosines vote exp(s/τ), or once each."""
    rows, labels, queries = bank()
    best = []
    for scores in queries @ rows.T:
        votes = np.zeros(CLASSES)
        for place in np.argsort(-scores)[:K]:
            votes[labels[place]] += 1 if temperature is None else np.exp(scores[place] / temperature)
        best.append(votes.argmax())
    return np.array(best)


def label_maps() -> tuple[np.ndarray, np.ndarray]:
    """7 predicted and true maps of 4×5 pixels; some pixels are ignored."""
    random = np.random.default_rng(50)
    true = random.integers(0, PIXEL_CLASSES, (MAPS, 4, 5))
    true[random.random(true.shape) < 0.2] = 255
    return random.integers(0, PIXEL_CLASSES, (MAPS, 4, 5)), true


def miou() -> float:
    """The mean over classes of the sum of intersections over that of unions, both over all images, in percent."""
    predicted, true = label_maps()
    counted = true != 255
    ratios = []
    for c in range(PIXEL_CLASSES):
        both = (predicted == c) & (true == c) & counted
        either = ((predicted == c) | (true == c)) & counted
        ratios.append(both.sum() / either.sum())
    return float(100 * np.mean(ratios))
