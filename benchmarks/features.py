"""Features to search in, drawn so that they look like a trained network's; the same in both environments."""

from __future__ import annotations

import torch

CLASSES = 1000


def drawn(count: int, seed: int, dim: int = 2048, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Return (unit-length features count×dim, labels count), drawn on the device.

    A direction that all share, one centre a class (both the same for every seed), and noise that falls as 1/√i.
    """
    shared, each = (torch.Generator(device).manual_seed(number) for number in (0, 1 + seed))
    falling = torch.arange(1, dim + 1, device=device).float().rsqrt()
    centres = torch.randn(CLASSES, dim, generator=shared, device=device) * falling
    mean = torch.randn(dim, generator=shared, device=device).abs() * falling.norm() / dim**0.5
    labels = torch.randint(CLASSES, (count,), generator=each, device=device)
    rows = torch.empty(count, dim, device=device)
    for start in range(0, count, 8192):
        part = labels[start : start + 8192]
        noise = torch.randn(len(part), dim, generator=each, device=device) * falling
        rows[start : start + len(part)] = torch.nn.functional.normalize(mean + 0.7 * centres[part] + noise, dim=1)
    return rows, labels
