"""Nearest neighbours by inner product, as float32 gives them: a coarse search in half precision, then the candidates.

A matrix product in half precision (bf16 on a CPU, float16 on a GPU) is several times as fast as in float32, but its
scores are off by up to ε. So every row whose coarse score lies within 2ε of the k-th best coarse score c_k is scored
again in float32. No row of the true k best is lost: k rows have coarse scores of at least c_k, hence true ones of at
least c_k − ε; a row among the true k best has a true score of at least that, and a coarse one of at least c_k − 2ε. The
bound ε is proven for each query, not estimated:

    q·b − q̂·b̂ = (q − q̂)·b + q̂·(b − b̂)   ≤   ‖q − q̂‖·max‖b‖ + ‖q̂‖·max‖b − b̂‖   (Cauchy-Schwarz)

plus the rounding of float32 sums. Where coarse scores themselves are rounded to bf16, that keeps their order, so that
it costs once the rounding of c_k. A constant subtracted from all rows, b ← b − μ, changes each query's scores by the
same q·μ and so no order. It makes ‖b‖, ε, and the number of candidates small, as features of a network share much of
their direction.

Of equal float32 scores the lower position comes first, so that the answer depends neither on the size of a chunk nor
on how a bank is spread over processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from bench.nn.collectives import gather, world

UNIT = 2.0**-24  # half the spacing of float32 at 1
BF16_UNIT = 2.0**-8  # the same of bf16
PAIRS = 2**14  # whose products are taken at a time on a device
LANES = 4  # `dots` adds up at least so many partial sums side by side on every CPU (16 with AVX512)


class Bank:
    """Rows to be searched: M×D float32, with a centred copy in half precision on the device of the search.

    Args:
        rows: M×D float32. They may lie on the host while the search runs on a GPU; candidates are then scored on the
            host.
        device: of the search; None: the rows'.
        offset: position of the first row, where this is one process's part of a bank.
        chunk: rows that are scored at once; None: 16,384 on a CPU, whose scores then stay in its cache, else 65,536.

    Memory: 6·M·D bytes, and for N queries at once less than 64·N·(chunk + 8·k + 2,048) bytes; where a query has more
    candidates than max(1,024, 4·k), it is answered by `exhaustive`, whose pairs take another 64 MiB.
    """

    def __init__(
        self, rows: Tensor, device: torch.device | None = None, offset: int = 0, chunk: int | None = None
    ) -> None:
        self.rows, self.offset = rows, offset
        self.device = device or rows.device
        self.chunk = chunk or (16_384 if self.device.type == "cpu" else 65_536)
        self.centre = rows.mean(0) if len(rows) else rows.new_zeros(rows.shape[1])
        self.half = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        self.coarse = torch.empty(rows.shape, dtype=self.half, device=self.device)
        largest = torch.zeros(3, device=rows.device)  # ‖b‖, ‖b − μ‖, ‖(b − μ) − b̂‖
        for start in range(0, len(rows), self.chunk):
            part = rows[start : start + self.chunk]
            centred = part - self.centre
            rounded = centred.to(self.half)
            self.coarse[start : start + len(part)] = rounded
            norms = [torch.linalg.vector_norm(x, dim=1).max() for x in (part, centred, centred - rounded.float())]
            largest = torch.maximum(largest, torch.stack(norms))
        self.largest = largest.to(self.device)

    def __len__(self) -> int:
        return len(self.rows)

    def errors(self, queries: Tensor, rounded: Tensor) -> Tensor:
        """Return ε, N: a bound on the error of each query's coarse scores, up to a constant of the query.

        Args:
            queries: N×D float32.
            rounded: the same in half precision.
        """
        full, centred, lost = self.largest.unbind()
        length = torch.linalg.vector_norm(queries, dim=1)
        off = torch.linalg.vector_norm(queries - rounded.float(), dim=1)
        most = (length + off) * (centred + lost)  # no coarse score is larger
        rounding = off * centred + (length + off) * lost
        # Sums of D products in float32: coarse ones in any order, final ones as `dots` takes them; and the centring.
        terms = queries.shape[1]
        sums = UNIT * (2 * terms * most + 2 * (terms / LANES + 16) * length * full)
        return 1.01 * (rounding + sums)  # the norms are rounded, too

    def chunks(self, k: int) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of the rows to score at once: few at first, for a floor that is cheap to find."""
        start, size = 0, min(self.chunk, max(4 * k, 256))
        while start < len(self):
            yield start, min(start + size, len(self))
            start, size = start + size, min(2 * size, self.chunk)

    def scores(self, rounded: Tensor, start: int, end: int) -> Tensor:
        """Return coarse scores of the rows from `start` to before `end`: N×C, bf16 on a CPU, else float32."""
        part = self.coarse[start:end].t()
        return rounded @ part if self.device.type == "cpu" else torch.mm(rounded, part, out_dtype=torch.float32)


def search(queries: Tensor, bank: Bank, k: int) -> tuple[Tensor, Tensor]:
    """Return (scores N×k float32, positions N×k) of the k rows with the largest inner product, best first.

    It is bit for bit what scoring every row in float32 with `dots` would give; of equal scores the lower position comes
    first. Under several processes, each with its part of the bank and the same queries, every one
    gets the answer over all parts; k may then be larger than a part.
    """
    rows = min(k, len(bank))
    scores, positions = _search(queries, bank, rows) if rows else _nothing(queries)
    return over_ranks(scores, positions + bank.offset, k)


def over_ranks(scores: Tensor, positions: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best over all processes, N×k, of the best in the part of each, N×(at most k); the same in each."""
    if world() == 1:
        return scores, positions
    n, missing = len(scores), k - scores.shape[1]
    scores = torch.nn.functional.pad(scores, (0, missing), value=float("-inf"))
    positions = torch.nn.functional.pad(positions, (0, missing), value=2**62)
    scores, positions = (gather(x).view(world(), n, k).transpose(0, 1).reshape(n, -1) for x in (scores, positions))
    return best(scores, positions, k)


def best(scores: Tensor, positions: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best of each row, N×W -> N×k; of equal scores the lower position comes first."""
    positions, order = positions.sort(dim=1)
    scores, by_score = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return scores[:, :k].contiguous(), positions.gather(1, by_score)[:, :k].contiguous()


def _nothing(queries: Tensor) -> tuple[Tensor, Tensor]:
    return queries.new_empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)


def _search(queries: Tensor, bank: Bank, k: int) -> tuple[Tensor, Tensor]:
    rounded = queries.to(bank.half)
    band = 2 * bank.errors(queries, rounded)
    most = max(1024, 4 * k)  # candidates of a query; with more, all rows are scored in float32
    kept, places = _nothing(queries)
    floor = torch.empty(0, device=queries.device)
    crowded = torch.zeros(len(queries), dtype=torch.bool, device=queries.device)
    for start, end in bank.chunks(k):
        coarse = bank.scores(rounded, start, end)
        if start == 0:
            # Before there are k rows, everything is a candidate.
            enough = coarse.shape[1] >= k
            floor = _floor(coarse.topk(k, dim=1).values[:, -1], band) if enough else torch.full_like(band, -torch.inf)
        mask = coarse >= floor.to(coarse.dtype)[:, None]
        candidates, columns = _padded(mask, coarse)
        kept, places = torch.cat([kept, candidates], 1), torch.cat([places, columns + start], 1)
        if kept.shape[1] >= k and (end == len(bank) or kept.shape[1] > 3 * k):
            width = min(most + 1, kept.shape[1])
            kept, order = kept.topk(width, dim=1)
            places = places.gather(1, order)
            floor = torch.maximum(floor, _floor(kept[:, k - 1].to(coarse.dtype), band))
            kept = kept.masked_fill(kept < floor[:, None], -torch.inf)
            crowded |= kept.isfinite().sum(1) > most
            # Crowded queries are searched again; here they must not take room.
            kept = kept.masked_fill(crowded[:, None] & (torch.arange(width, device=kept.device) >= k), -torch.inf)
            used = max(k, int(kept.isfinite().sum(1).max()))
            kept, places = kept[:, :used], places[:, :used]
    # Candidates by position, so that the flat list of pairs is in order.
    valid = kept.isfinite()
    places, order = places.masked_fill(~valid, len(bank)).sort(dim=1)
    valid = valid.gather(1, order)
    full = torch.full(kept.shape, -torch.inf, device=queries.device)
    full[valid] = dots(queries, bank.rows, valid.sum(1), places[valid])
    scores, positions = best(full, places, k)
    again = crowded.nonzero()[:, 0]
    if len(again):
        scores[again], positions[again] = exhaustive(queries[again], bank, k)
    return scores, positions


def _floor(kth: Tensor, band: Tensor) -> Tensor:
    """Return what a candidate's coarse score must reach, N float32: the k-th best so far, less 2ε.

    Where scores are in bf16, less the rounding of the k-th best, and then lowered to a value that bf16 holds: rounding
    a score keeps it above every such value that it was above.
    """
    wide = kth.float()
    if kth.dtype == torch.float32:
        return wide - band
    floor = wide - 1.01 * BF16_UNIT * wide.abs() - band
    low = floor.to(kth.dtype)
    return torch.where(low.float() > floor, torch.nextafter(low, torch.full_like(low, -torch.inf)), low).float()


def _padded(mask: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return (values, columns) where a mask N×C holds, as N×W, W the most in a row; the rest is −inf."""
    rows, columns = mask.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(mask))
    width = int(counts.max()) if len(rows) else 0
    within = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    padded = torch.full((len(mask), width), -torch.inf, device=mask.device)
    places = torch.zeros(len(mask), width, dtype=torch.int64, device=mask.device)
    padded[rows, within] = values[rows, columns].float()
    places[rows, within] = columns
    return padded, places


def exhaustive(queries: Tensor, bank: Bank, k: int, pairs: int = 2**20) -> tuple[Tensor, Tensor]:
    """Return what `search` returns of one part, by scoring every row in float32, at most `pairs` at once."""
    step = max(1, min(len(bank), pairs // max(1, len(queries))))
    scores, positions = _nothing(queries)
    for start in range(0, len(bank), step):
        rows = bank.rows[start : start + step]
        n, m = len(queries), len(rows)
        columns = torch.arange(m, device=queries.device).repeat(n)
        counts = torch.full((n,), m, dtype=torch.int64, device=queries.device)
        added = dots(queries, rows, counts, columns).view(n, m)
        scores = torch.cat([scores, added], dim=1)
        positions = torch.cat([positions, columns.view(n, m) + start], dim=1)
        # Positions rise along a row wherever scores are equal, and a stable sort keeps that.
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        scores, positions = scores[:, :k], positions.gather(1, order[:, :k])
    return scores, positions


def dots(queries: Tensor, rows: Tensor, counts: Tensor, columns: Tensor) -> Tensor:
    """Return the inner products of chosen pairs, P float32; each depends on its two vectors alone.

    Args:
        queries: N×D float32.
        rows: M×D float32, on the same device or on the host.
        counts: N, how many pairs each query has; P in all.
        columns: P, the row of each pair, ordered by query.
    """
    if rows.device.type == "cpu":
        starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).cpu()
        with warnings.catch_warnings():  # that sparse layouts are in beta
            warnings.simplefilter("ignore", UserWarning)
            pattern = torch.sparse_csr_tensor(
                starts, columns.cpu(), torch.zeros(len(columns)), (len(queries), len(rows)), check_invariants=False
            )
            products = torch.sparse.sampled_addmm(pattern, queries.cpu(), rows.t(), beta=0.0).values()
        return products.to(queries.device)
    owners = torch.arange(len(queries), device=queries.device).repeat_interleave(counts)
    parts = []
    for query_rows, bank_rows in zip(owners.split(PAIRS), columns.split(PAIRS), strict=True):
        # In float64, so that how a device splits the sum over its threads leaves no trace in float32.
        parts.append((queries[query_rows].double() * rows[bank_rows].double()).sum(1).float())
    return torch.cat(parts) if parts else queries.new_empty(0)


def euclidean(rows: Tensor, centre: Tensor, *, queries: bool) -> Tensor:
    """Return rows N×D as N×(D+1), so that the largest inner product of a query and a row is the least distance.

    −‖q − b‖²/2 = q·b − ‖b‖²/2 − ‖q‖²/2, whose last term is the same for all rows: a row gets the column −‖b‖²/2, a
    query the column 1. The centre is subtracted from both first, which changes no distance and keeps ‖b‖²
    precise.

    Args:
        rows: N×D float32.
        centre: D, such as the mean of the bank; the same for queries and rows, and on every process.
        queries: whether these are queries.
    """
    moved = rows - centre
    last = moved.new_ones(len(rows), 1) if queries else -(moved.double().square().sum(1, keepdim=True) / 2).to(rows)
    return torch.cat([moved, last], dim=1)


def vote(scores: Tensor, labels: Tensor, classes: int, temperature: float | None) -> Tensor:
    """Return the classes by weight of vote, best first, N×C; classes without a vote are −1.

    Args:
        scores: N×k cosines of the neighbours.
        labels: N×k their classes.
        classes: C.
        temperature: τ; a neighbour's vote is exp(s/τ), here relative to its query's best neighbour. None: each
            neighbour has one vote.
    """
    if temperature is None:
        weights = torch.ones_like(scores)
    else:
        weights = ((scores - scores.max(dim=1, keepdim=True).values) / temperature).exp()
    votes = scores.new_zeros(len(scores), classes).scatter_add_(1, labels, weights)
    voted = torch.zeros(votes.shape, dtype=torch.bool, device=votes.device).scatter_(1, labels, True)
    # Stable: classes with equal votes are ranked by number, not by chance.
    ranked = votes.masked_fill(~voted, -1.0).sort(dim=1, descending=True, stable=True).indices
    return torch.where(voted.gather(1, ranked), ranked, -1)
