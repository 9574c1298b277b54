"""Linear classifiers side by side, as one wide matrix product: several learning rates for one forward of the trunk."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bench.randomness import generator


class Heads:
    """L linear classifiers, each trained by SGD with its own learning rate.

    No head sees another: its gradient is that of its own mean cross-entropy. All start from the same weights,
    N(0, 0.01) drawn by the seed alone, so that head i among many is head i alone.
    """

    def __init__(self, count: int, classes: int, dim: int, seed: int, device: torch.device | str = "cpu") -> None:
        start = generator(seed, "linear", "head").normal(0.0, 0.01, (classes, dim)).astype(np.float32)
        self.weight = torch.from_numpy(start).to(device).repeat(count, 1, 1)  # L×C×D
        self.bias = torch.zeros(count, classes, device=device)  # L×C
        self.weight_momentum = torch.zeros_like(self.weight)
        self.bias_momentum = torch.zeros_like(self.bias)

    def logits(self, features: Tensor) -> Tensor:
        """Return N×L×C of features N×D."""
        heads, classes, dim = self.weight.shape
        wide = torch.addmm(self.bias.view(-1), features, self.weight.view(heads * classes, dim).t())
        return wide.view(-1, heads, classes)

    def step(
        self, features: Tensor, labels: Tensor, rates: Tensor, momentum: float, decay: float, losses: bool = True
    ) -> Tensor | None:
        """Take one step of SGD (torch's form: v ← m·v + g, w ← w − lr·v) and return the losses before it, L.

        Args:
            features: N×D float32 without gradient.
            labels: N int64.
            rates: L, on the CPU: this step's learning rate of each head.
            momentum: m.
            decay: weight decay; g includes decay·w.
            losses: without, they are not computed, and None is returned.
        """
        # What is as large as the weights, L×C×D, is touched as seldom as can be: no gradient of that size is stored.
        heads, classes, dim = self.weight.shape
        slope, mean_losses = self._slope(features, labels, losses)
        self.weight_momentum.view(heads * classes, dim).addmm_(slope.t(), features, beta=momentum)
        self.bias_momentum.view(-1).mul_(momentum).add_(slope.sum(dim=0))
        rates = rates.to(self.weight)
        for value, velocity in ((self.weight, self.weight_momentum), (self.bias, self.bias_momentum)):
            if decay:
                velocity.add_(value, alpha=decay)
            value.addcmul_(velocity, rates.view(-1, *[1] * (value.ndim - 1)), value=-1.0)
        return mean_losses

    def _slope(self, features: Tensor, labels: Tensor, losses: bool) -> tuple[Tensor, Tensor | None]:
        """Return the gradient with respect to the logits, N×(L·C), and the losses, L, if they are wanted."""
        logits = self.logits(features)
        index = labels[:, None, None].expand(-1, logits.shape[1], 1)
        mean_losses = (logits.logsumexp(-1) - logits.gather(2, index)[..., 0]).mean(0) if losses else None
        # The gradient of the mean cross-entropy is (softmax − one-hot) / N.
        slope = logits.softmax(dim=-1)
        slope.scatter_add_(2, index, torch.full_like(slope[..., :1], -1.0))
        slope /= len(features)
        return slope.flatten(1), mean_losses

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs, by name."""
        return {name: getattr(self, name) for name in ("weight", "bias", "weight_momentum", "bias_momentum")}

    def finite(self) -> list[bool]:
        """Which heads have not diverged."""
        return (self.weight.flatten(1).isfinite().all(1) & self.bias.isfinite().all(1)).tolist()


class AdamHeads(Heads):
    """L linear classifiers, each a parameter group of torch's Adam with its own learning rate.

    All start from the same weights and biases, uniform in ±1/√D as torch's linear layer starts, drawn by the seed.
    """

    def __init__(self, count: int, classes: int, dim: int, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(count, classes, dim, seed, device)
        bound = 1 / math.sqrt(dim)
        start = generator(seed, "linear", "adam").uniform(-bound, bound, (classes, dim + 1)).astype(np.float32)
        whole = torch.from_numpy(start).to(device).repeat(count, 1, 1)  # L×C×(D+1), the last column the biases
        self.weight, self.bias = whole[..., :dim].contiguous(), whole[..., dim].contiguous()
        self.weight_square, self.bias_square = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.steps = torch.zeros((), dtype=torch.int64)  # on the host: it is read at every step
        self.adam = torch.optim.Adam([{"params": list(pair)} for pair in zip(self.weight, self.bias, strict=True)])
        # Adam works on each head's part of what is saved of all: weights, biases, and their moments.
        for head, group in enumerate(self.adam.param_groups):
            for name, parameter in zip(("weight", "bias"), group["params"], strict=True):
                mean, square = (getattr(self, name + moment)[head] for moment in ("_momentum", "_square"))
                self.adam.state[parameter] = {"step": torch.zeros(()), "exp_avg": mean, "exp_avg_sq": square}

    def step(
        self, features: Tensor, labels: Tensor, rates: Tensor, momentum: float, decay: float, losses: bool = True
    ) -> Tensor | None:
        """Take one step of Adam, β = (0.9, 0.999), ε = 1e-8, as SGD's heads do theirs; `momentum` is not used."""
        del momentum
        slope, mean_losses = self._slope(features, labels, losses)
        gradients = ((slope.t() @ features).view_as(self.weight), slope.sum(dim=0).view_as(self.bias))
        for group, rate, *parts in zip(self.adam.param_groups, rates.tolist(), *gradients, strict=True):
            group |= {"lr": rate, "weight_decay": decay}
            for parameter, gradient in zip(group["params"], parts, strict=True):
                parameter.grad = gradient
                self.adam.state[parameter]["step"].fill_(self.steps)  # which a resumed training has read from its file
        self.adam.step()
        self.steps += 1
        return mean_losses

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs, by name."""
        return super().tensors() | {name: getattr(self, name) for name in ("weight_square", "bias_square", "steps")}
