"""Nearest neighbours on features: lightly's function, a loop row by row, and ours, on one bank; how time grows with it.

    python benchmarks/knn.py [--rounds N] [--bank M] [--queries N] [--quick]

Features are drawn so that they look like a trained network's: a shared direction, clusters, and a spectrum that falls
off. Every contender answers the same queries with k = 200 and 1,000 classes, and their top-1 votes are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from interleave import Contender, measure

K, CLASSES, TEMPERATURE, DIM = 200, 1000, 0.07, 2048
LIGHTLY, ROWS, FLOAT32, OURS = "lightly knn_predict", "row by row", "ours, float32", "ours"


def features(count: int, seed: int, dim: int = DIM, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Return (unit-length features count×dim, labels count): one centre a class, and noise that falls as 1/√i."""
    shared = torch.Generator().manual_seed(0)
    falling = torch.arange(1, dim + 1).float().rsqrt()
    centres = torch.randn(CLASSES, dim, generator=shared) * falling
    mean = torch.randn(dim, generator=shared).abs() * falling.norm() / dim**0.5
    own = torch.Generator().manual_seed(1 + seed)
    labels = torch.randint(CLASSES, (count,), generator=own)
    rows = torch.empty(count, dim)
    for start in range(0, count, 8192):
        part = labels[start : start + 8192]
        noise = torch.randn(len(part), dim, generator=own) * falling
        rows[start : start + len(part)] = torch.nn.functional.normalize(mean + 0.7 * centres[part] + noise, dim=1)
    return rows.to(device), labels.to(device)


def _data(bank: int, queries: int, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows, labels = features(bank, 0, device=device)
    return rows, labels, features(queries, 1, device=device)[0]


def _waiting(work: Callable[[], Any], units: int, device: str) -> Callable[[], int]:
    def sample() -> int:
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return units

    return sample


def lightly(bank: int, queries: int, device: str = "cpu") -> Callable[[], int]:
    from lightly.utils.benchmarking import knn_predict

    rows, labels, asked = _data(bank, queries, device)
    columns = rows.t().contiguous()  # as lightly's classifier keeps it
    del rows
    return _waiting(lambda: knn_predict(asked, columns, labels, CLASSES, K, TEMPERATURE), queries, device)


def row_by_row(bank: int, queries: int, device: str = "cpu", few: int = 8) -> Callable[[], int]:
    """A loop over queries, as one would write it first."""
    rows, labels, asked = _data(bank, queries, device)

    def loop() -> None:
        for query in asked[:few]:
            scores, positions = (rows @ query).topk(K)
            votes = torch.zeros(CLASSES, device=device)
            votes.index_add_(0, labels[positions], (scores / TEMPERATURE).exp())
            votes.argsort(descending=True)

    return _waiting(loop, few, device)


def ours(bank: int, queries: int, device: str = "cpu", search: str = "bf16") -> Callable[[], int]:
    from bench.nn.neighbours import Bank
    from bench.stages.knn import classify

    rows, labels, asked = _data(bank, queries, device)
    made = Bank(rows) if search == "bf16" else rows
    return _waiting(lambda: classify(asked, made, labels, CLASSES, K, TEMPERATURE), queries, device)


def agreement(bank: int, queries: int) -> dict[str, float]:
    """Return how many of the queries get the same neighbours and top-1 in bf16 and float32 as in float64."""
    from bench.nn.neighbours import Bank, search
    from bench.stages.knn import nearest, vote

    rows, labels, asked = _data(bank, queries, "cpu")
    found = {"float32": nearest(asked, rows, K), "ours": search(asked, Bank(rows), K)}
    wide = asked.double()
    scores = torch.cat([wide @ rows[start : start + 8192].double().t() for start in range(0, bank, 8192)], 1)
    expected = scores.topk(K, dim=1)
    votes = vote(expected.values, labels[expected.indices], CLASSES, TEMPERATURE)[:, 0]
    facts: dict[str, float] = {}
    for name, (values, positions) in found.items():
        same = (positions.sort(1).values == expected.indices.sort(1).values).all(1)
        top1 = vote(values, labels[positions], CLASSES, TEMPERATURE)[:, 0] == votes
        facts |= {f"{name}: same neighbours as float64": float(same.float().mean())}
        facts |= {f"{name}: same top-1 as float64": float(top1.float().mean())}
    return facts


def contenders(bank: int, queries: int, device: str = "cpu", threads: int = 2) -> list[Contender]:
    common = {"bank": bank, "queries": queries, "device": device}
    return [
        Contender(LIGHTLY, "knn:lightly", common, "float32, all scores at once", peer=True, threads=threads),
        Contender(ROWS, "knn:row_by_row", common, "float32, a loop over queries", threads=threads),
        Contender(FLOAT32, "knn:ours", common | {"search": "float32"}, "chunks, running top-k", threads=threads),
        Contender(OURS, "knn:ours", common, "coarse bf16, exact float32", threads=threads),
    ]


def growth(sizes: list[int], queries: int, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Time both searches of ours over banks of several sizes, in this process."""
    torch.set_num_threads(2)
    series: dict[str, list[dict[str, Any]]] = {}
    for size in sizes:
        for name, search in ((FLOAT32, "float32"), (OURS, "bf16")):
            sample = ours(size, queries, search=search)
            sample()
            samples = []
            for _ in range(repeats):
                start = time.perf_counter()
                units = sample()
                samples.append({"seconds": time.perf_counter() - start, "units": units})
            series.setdefault(name, []).append({"x": size, "samples": samples})
    return series


def main(arguments: list[str] | None = None) -> None:
    from report import summary, write, write_curve  # not at the top: the peers' environment reads this file, too

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bank", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a bank of 5,000: whether it runs, not how fast")
    options = parser.parse_args(arguments)
    bank, queries, rounds = options.bank, options.queries, options.rounds
    sizes = [12_500, 25_000, 50_000, 100_000]
    if options.quick:
        bank, queries, rounds, sizes = 5_000, 64, 1, [2_500, 5_000]
    measured = measure(contenders(bank, queries, options.device), rounds)
    facts = agreement(min(bank, 20_000), 64)
    content = {"baseline": ROWS, "contenders": {name: one.plain() for name, one in measured.items()}}
    against_rows = summary(content)[OURS][3]
    write(
        "knn",
        f"Weighted nearest neighbours: {queries:,} queries, bank {bank:,} x {DIM}, k = {K}, {CLASSES:,} classes",
        measured,
        unit="queries",
        baseline=LIGHTLY,
        goals={OURS: 3.0},
        notes=[
            "Features are drawn with a shared direction, a centre a class, and a spectrum that falls as 1/i.",
            "A sample of the loop row by row is 8 queries.",
            *(f"{key}: {100 * value:.1f} % of 64 queries." for key, value in facts.items()),
        ],
        extra={"checks": [{"what": "against a loop row by row", "found": against_rows, "goal": 30, "unit": "times"}]},
    )
    print(f"  ours against row by row: x{against_rows:.1f}; {facts}")
    series = growth(sizes, min(queries, 128), 1 if options.quick else 3)
    write_curve("knn_growth", "Time of 128 queries against the size of the bank", series, x="rows of the bank")


if __name__ == "__main__":
    main()
