from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.nn.encoder import build_encoder
from bench.train.recompute import recompute_blocks


def run(arch: str, recompute: bool, bf16: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients and state after a forward and backward pass over two views."""
    encoder = build_encoder(arch, 0).train()
    if recompute:
        assert recompute_blocks(encoder) == {"resnet18": 8, "resnet50": 16}[arch]
    generator = torch.Generator().manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        features = [encoder(torch.randn(3, 3, 32, 32, generator=generator)) for _ in range(2)]
    torch.cat(features).square().mean().backward()
    gradients = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    return gradients, encoder.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "bf16"), [("resnet18", False), ("resnet18", True), ("resnet50", False)])
def test_recomputed_blocks_give_the_same_gradients_and_statistics_bit_for_bit(arch: str, bf16: bool) -> None:
    gradients, state = run(arch, False, bf16)
    again, after = run(arch, True, bf16)
    assert list(gradients) == list(again)
    assert list(state) == list(after)
    assert all(torch.equal(gradients[name], again[name]) for name in gradients)
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert state["bn1.num_batches_tracked"] == 2
    assert not torch.equal(state["layer4.1.bn2.running_mean"], torch.zeros(512))


def test_less_is_kept_for_the_backward_pass() -> None:
    def kept(recompute: bool) -> int:
        encoder, sizes = build_encoder("resnet18", 0).train(), {}
        if recompute:
            recompute_blocks(encoder)

        def note(tensor: Tensor) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        weights = {p.data_ptr() for p in encoder.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = encoder(torch.zeros(2, 3, 64, 64)).sum()
        assert loss.requires_grad
        return sum(size for place, size in sizes.items() if place not in weights)

    assert kept(True) < 0.7 * kept(False)


def test_nothing_is_recomputed_where_no_gradient_is_due() -> None:
    encoder = build_encoder("resnet18", 0).train()
    recompute_blocks(encoder)
    with torch.no_grad():
        assert not encoder(torch.zeros(2, 3, 32, 32)).requires_grad
    assert int(encoder.bn1.num_batches_tracked) == 1
