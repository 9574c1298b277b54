"""The search in half precision gives what scoring every row in float32 gives, bit for bit, whatever the rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from bench.nn import neighbours
from bench.nn.neighbours import Bank, best, dots, exhaustive, search


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rows(kind: str, m: int = 1500, dim: int = 64, n: int = 12) -> tuple[Tensor, Tensor]:
    """(bank M×D, queries N×D) of unit length."""
    bank, queries = normal(m, dim, seed=0), normal(n, dim, seed=1)
    if kind == "shared direction":
        bank, queries = bank * 0.05 + 1, queries * 0.05 + 1
    elif kind == "duplicates":
        bank[m // 2 :] = bank[: m - m // 2].clone()
        queries = bank[:n] + 0.01 * queries
    elif kind == "near ties":  # many differ by less than bf16 can tell
        bank = bank[:1] + 1e-4 * bank
    elif kind == "all the same":
        bank = bank[:1].repeat(m, 1)
    elif kind == "one far off":
        bank[7] *= 50
        return bank / 10, F.normalize(queries, dim=1)
    return F.normalize(bank, dim=1), F.normalize(queries, dim=1)


KINDS = ("random", "shared direction", "duplicates", "near ties", "all the same", "one far off")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("k", "chunk"), [(1, 64), (25, 256), (25, 16), (200, 5000)])
def test_neighbours_and_scores_are_those_of_float32_for_every_row(kind: str, k: int, chunk: int) -> None:
    bank, queries = rows(kind)
    scores, positions = search(queries, Bank(bank, chunk=chunk), k)
    n, m = len(queries), len(bank)
    every = dots(queries, bank, torch.full((n,), m), torch.arange(m).repeat(n)).view(n, m)
    expected = best(every, torch.arange(m).expand(n, m), k)
    assert torch.equal(scores, expected[0])
    assert torch.equal(positions, expected[1])
    # And float32 is what it says: within its rounding of float64.
    in_float64 = (queries.double() @ bank.double().t()).topk(k).values
    torch.testing.assert_close(scores.double(), in_float64, rtol=0, atol=1e-6 * float(bank.norm(dim=1).max()))


@pytest.mark.parametrize("kind", ["random", "shared direction"])
def test_sets_are_those_of_float64(kind: str) -> None:
    bank, queries = rows(kind)
    positions = search(queries, Bank(bank, chunk=100), 10)[1]
    wide = (queries.double() @ bank.double().t()).topk(11)
    clear = wide.values[:, 9] - wide.values[:, 10] > 1e-6
    assert clear.sum() >= 10
    assert torch.equal(positions[clear], wide.indices[clear, :10])


def test_the_lower_of_equal_rows_comes_first() -> None:
    bank, queries = rows("all the same", m=3000)
    _, positions = search(queries, Bank(bank, chunk=64), 20)
    assert positions.tolist() == [list(range(20))] * len(queries)


def opposed(dim: int = 64) -> tuple[Tensor, Tensor]:
    """A bank whose best row, 0, loses by rounding what another, 1, gains; mean 0, so that centring does nothing."""
    step = 2.0**-7  # the spacing of bf16 above 1
    first = torch.full((dim,), 1 + 0.49 * step)
    second = torch.full((dim,), 1 + 0.51 * step)
    second[-1] -= 0.03 * step * dim
    bank = torch.stack([first, second, -first, -second])
    assert torch.equal(bank.mean(0), torch.zeros(dim))
    return bank, torch.ones(1, dim)


def test_rounding_that_always_errs_the_same_way_is_provided_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, query = opposed()
    made = Bank(bank)
    coarse = made.scores(query.bfloat16(), 0, 4)[0]
    assert coarse[1] > coarse[0]
    assert (query @ bank.t())[0, 0] > (query @ bank.t())[0, 1]
    assert search(query, made, 1)[1].tolist() == [[0]]
    monkeypatch.setattr(Bank, "errors", lambda self, queries, rounded: torch.zeros(len(queries)))
    monkeypatch.setattr(neighbours, "BF16_UNIT", 0.0)
    assert search(query, made, 1)[1].tolist() == [[1]]  # the test can fail


@pytest.mark.parametrize("kind", [*KINDS, "opposed"])
def test_no_error_is_larger_than_its_bound(kind: str) -> None:
    bank, queries = opposed() if kind == "opposed" else rows(kind)
    made = Bank(bank)
    rounded = queries.bfloat16()
    coarse = rounded.double() @ made.coarse.double().t()
    true = queries.double() @ (bank - made.centre).double().t()
    bound = made.errors(queries, rounded)
    error = (coarse - true).abs().max(dim=1).values
    assert (error <= bound).all()
    if kind == "opposed":
        assert error > 0.4 * bound  # and it is no idle one


def test_equal_scores_after_rounding_to_bf16_are_all_candidates() -> None:
    """Scores that bf16 cannot tell apart, with the best one last: none may be dropped."""
    bank = torch.zeros(600, 2)
    bank[:, 0] = 1 + torch.arange(600) * 1e-6  # exact in float32, all 1 in bf16
    positions = search(torch.tensor([[1.0, 0.0]]), Bank(bank, chunk=50), 3)[1]
    assert positions.tolist() == [[599, 598, 597]]


class Largest(TorchDispatchMode):
    """The most bytes of any tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(one, Tensor) and one.layout == torch.strided:
                self.bytes = max(self.bytes, one.numel() * one.element_size())
        return made


def test_memory_does_not_grow_with_the_bank() -> None:
    queries = F.normalize(normal(8, 4, seed=1), dim=1)
    largest = {}
    for m in (20_000, 200_000):
        bank = Bank(F.normalize(normal(m, 4, seed=0), dim=1), chunk=512)
        with Largest() as mode:
            search(queries, bank, 5)
        # The bank's own rows are there already, as a transposed view of them.
        largest[m] = mode.bytes if mode.bytes != m * 4 * 4 else 0
    assert 0 <= largest[200_000] < 2**20 * 64
    queries, bank = queries[:1].repeat(64, 1), Bank(F.normalize(normal(50_000, 16, seed=0), dim=1), chunk=512)
    with Largest() as mode:
        search(queries @ torch.ones(4, 16), bank, 5)
    assert mode.bytes <= max(64 * 64 * (512 + 8 * 5 + 2048), 50_000 * 16 * 4)


def test_exhaustive_does_not_depend_on_how_many_pairs_are_scored_at_once() -> None:
    bank, queries = rows("duplicates", m=300)
    whole = exhaustive(queries, Bank(bank), 30)
    for pairs in (1, 100, 1000):
        parts = exhaustive(queries, Bank(bank), 30, pairs)
        assert all(torch.equal(one, other) for one, other in zip(parts, whole, strict=True))
