"""What images say of results, against known answers and on simulated images; seeds are fixed."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from bench.errors import BadInput
from bench.outcomes import AreaOutcomes, Outcomes, TopOutcomes, area_metrics, names_digest
from bench.results import image_statistics
from bench.results.image_statistics import ImageComparison, compare_images, interval_of_images
from bench.results.paired_proportions import (
    Z,
    mcnemar_exact,
    mcnemar_mid_p,
    mcnemar_power,
    tango,
    wilson,
)


def tops(right: np.ndarray, valid: np.ndarray | None = None) -> TopOutcomes:
    n = len(right)
    return TopOutcomes(names_digest(map(str, range(n))), np.ones(n, bool) if valid is None else valid, right)


def near_level(hits: int, trials: int, level: float = 0.95) -> bool:
    """Whether a count is within 3 standard errors of what a level promises."""
    return abs(hits / trials - level) <= 3 * math.sqrt(level * (1 - level) / trials)


# --------------------------------------------------------------------------------------- McNemar's test


def test_mcnemar_by_hand() -> None:
    """1 of 7 discordant images: 2·(1 + 7)/128 exactly, and half of what was seen less on each side."""
    assert mcnemar_exact(1, 6) == pytest.approx(16 / 128)
    assert mcnemar_mid_p(6, 1) == pytest.approx(9 / 128)
    assert (mcnemar_exact(3, 3), mcnemar_mid_p(3, 3)) == (1, 1)
    assert (mcnemar_exact(0, 0), mcnemar_mid_p(0, 0)) == (1, 1)


@pytest.mark.parametrize("pair", [(0, 1), (0, 6), (2, 9), (40, 61), (1000, 1100)])
def test_mcnemar_is_a_test_of_signs(pair: tuple[int, int]) -> None:
    only_a, only_b = pair
    expected = stats.binomtest(only_a, only_a + only_b).pvalue
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected)
    middle = expected - stats.binom.pmf(only_a, only_a + only_b, 0.5)
    assert mcnemar_mid_p(only_b, only_a) == pytest.approx(middle)


def test_equal_rows_are_told_apart_as_often_as_the_level_says() -> None:
    rng, trials, both = np.random.default_rng(0), 4000, lru_cache(None)(mcnemar_mid_p)
    discordant = rng.binomial(500, 0.2, trials)
    only_a = rng.binomial(discordant, 0.5)
    exact = sum(mcnemar_exact(b, d - b) <= 0.05 for b, d in zip(only_a.tolist(), discordant.tolist(), strict=True))
    mid_p = sum(both(b, d - b) <= 0.05 for b, d in zip(only_a.tolist(), discordant.tolist(), strict=True))
    assert near_level(mid_p, trials, 0.05)
    assert exact < mid_p


@pytest.mark.parametrize(("only_a", "only_b"), [(0.12, 0.08), (0.15, 0.08), (0.1, 0.1)])
def test_power_is_as_computed(only_a: float, only_b: float) -> None:
    rng, trials, test = np.random.default_rng(1), 4000, lru_cache(None)(mcnemar_mid_p)
    counts = rng.multinomial(500, [only_a, only_b, 1 - only_a - only_b], trials)
    seen = sum(test(b, c) <= 0.05 for b, c, _ in counts.tolist())
    assert near_level(seen, trials, mcnemar_power(only_a, only_b, 500))


def test_power_without_discordant_images() -> None:
    assert mcnemar_power(0, 0, 100) == 0
    assert mcnemar_power(1, 0, 100) == 1


# -------------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize(("right", "count"), [(81, 263), (15, 148), (0, 20), (1, 29), (29, 29)])
def test_wilsons_interval(right: int, count: int) -> None:
    interval = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right, count) == pytest.approx((interval.low, interval.high))


def test_wilsons_interval_covers() -> None:
    rng, hits, trials = np.random.default_rng(2), 0, 4000
    for right in rng.binomial(400, 0.3, trials).tolist():
        low, high = wilson(right, 400)
        hits += low <= 0.3 <= high
    assert near_level(hits, trials)


@pytest.mark.parametrize(("only_a", "only_b", "count"), [(12, 2, 44), (9, 5, 40), (30, 30, 400), (7, 0, 30)])
def test_tangos_bounds_are_where_the_score_test_rejects(only_a: int, only_b: int, count: int) -> None:
    """With the likeliest share of discordant images found by a search over the likelihood."""

    def score(delta: float) -> float:
        def unlikely(share: float) -> float:
            cells = ((only_a, share + delta), (only_b, share), (count - only_a - only_b, 1 - 2 * share - delta))
            return -sum(n * math.log(max(p, 1e-300)) for n, p in cells if n)

        limits = (max(0.0, -delta), (1 - delta) / 2)
        share = minimize_scalar(unlikely, bounds=limits, method="bounded", options={"xatol": 1e-12}).x
        return (only_a - only_b - count * delta) / math.sqrt(count * (2 * share + delta - delta**2))

    low, high = tango(only_a, only_b, count)
    assert low < (only_a - only_b) / count < high
    assert score(low) == pytest.approx(Z, abs=1e-3)
    assert score(high) == pytest.approx(-Z, abs=1e-3)
    assert tango(only_b, only_a, count) == pytest.approx((-high, -low))


def test_tangos_interval_of_no_discordant_image_is_not_empty() -> None:
    """Its ends are ±z²/(N + z²), as the score of δ is then −Nδ/√(Nδ(1 − δ))."""
    end = Z**2 / (100 + Z**2)
    assert tango(0, 0, 100) == pytest.approx((-end, end))


@pytest.mark.parametrize(("only_a", "only_b"), [(0.1, 0.1), (0.2, 0.05)])
def test_tangos_interval_covers(only_a: float, only_b: float) -> None:
    rng, trials, interval = np.random.default_rng(3), 3000, lru_cache(None)(tango)
    counts = rng.multinomial(150, [only_a, only_b, 1 - only_a - only_b], trials)
    hits = 0
    for b, c, _ in counts.tolist():
        low, high = interval(b, c, 150)
        hits += low <= only_a - only_b <= high
    assert near_level(hits, trials)


# -------------------------------------------------------------------------- comparing results by accuracy


def test_two_results_are_compared_where_both_read_the_image() -> None:
    a = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0, 1], bool)
    b = np.array([0, 0, 0, 0, 0, 0, 1, 1, 0, 0], bool)
    valid = np.array([1] * 9 + [0], bool)
    result = compare_images([tops(a)], [tops(b, valid)], "top1_percent")
    assert result.effect == pytest.approx(100 * 5 / 9)
    assert result.p == pytest.approx(9 / 128)
    assert (result.low, result.high) == pytest.approx(tuple(100 * x for x in tango(6, 1, 9)))
    assert (result.n_images, result.method) == (9, "McNemar's test (mid-p), Tango's interval")


def test_several_results_are_averaged_within_a_trunk_and_then_over_trunks() -> None:
    rng = np.random.default_rng(4)
    one, two, three, other = (tops(rng.random(50) < share) for share in (0.3, 0.5, 0.9, 0.4))
    result = compare_images([one, two, three], [other], "top1_percent", trunks_a="xyy")
    share = one.top1 / 2 + two.top1 / 4 + three.top1 / 4 - other.top1
    assert result.effect == pytest.approx(100 * share.mean())
    z = share.sum() / math.sqrt((share**2).sum())
    assert result.p == pytest.approx(2 * stats.norm.sf(abs(z)))
    more = [*share, 1, -1]
    half = Z * np.std(more) / math.sqrt(52)
    assert (result.low, result.high) == pytest.approx((100 * (np.mean(more) - half), 100 * (np.mean(more) + half)))
    value = interval_of_images([one, two, three], "top1_percent", trunks="xyy")
    assert value.value == pytest.approx(100 * (one.top1 / 2 + two.top1 / 4 + three.top1 / 4).mean())
    plain = interval_of_images([one], "top1_percent")
    assert (plain.low, plain.high) == pytest.approx(tuple(100 * x for x in wilson(int(one.top1.sum()), 50)))
    assert value.high - value.low < plain.high - plain.low  # an average says more of an image than one result


@pytest.mark.parametrize("gain", [0.0, 0.06])
def test_averages_of_several_results_cover_and_keep_their_level(gain: float) -> None:
    """Images are of different difficulty, the same for both sides, each with three trunks."""
    rng, trials, hits, rejected = np.random.default_rng(5), 1500, 0, 0
    for _ in range(trials):
        ease = rng.uniform(0.2, 0.8, 150)
        a, b = (rng.random((3, 150)) < ease + more for more in (gain, 0.0))
        result = image_statistics._averaged(a.mean(0) - b.mean(0))
        hits += result.low <= 100 * gain <= result.high
        rejected += result.p <= 0.05
    assert near_level(hits, trials)
    assert gain > 0 or near_level(rejected, trials, 0.05)


def test_the_same_results_in_another_order_differ_by_nothing() -> None:
    """Their averages differ in the last digit, which is no difference of images."""
    rng = np.random.default_rng(14)
    some = [tops(rng.random(60) < share) for share in np.linspace(0.3, 0.9, 7)]
    result = compare_images(some, some[::-1], "top1_percent")
    assert (result.effect, result.p) == (0, 1)
    many = [areas(side) for _ in range(4) for side in street(rng, 30)][:7]
    result = compare_images(many, many[::-1], "miou_percent")
    assert (result.effect, result.p) == (pytest.approx(0, abs=1e-9), 1)


# ------------------------------------------------------------------------------------ segmentation's areas


def street(rng: np.random.Generator, count: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Areas N×3×C of two results on the same images; classes are more or less common, images harder or easier."""
    common = np.array([1.0, 0.9, 0.6, 0.25])
    true = np.rint((rng.random((count, 4)) < common) * common * rng.gamma(2.0, 300.0, (count, 4)))
    ease = rng.normal(0.8, 0.7, (count, 1)) + rng.normal(0, 0.5, (count, 4))
    sides = []
    for more in (gain, 0.0):
        inner = np.rint(true / (1 + np.exp(-(ease + more + rng.normal(0, 0.4, (count, 4))))))
        wrong = (true - inner).sum(1, keepdims=True)
        sides.append(np.stack([inner, inner + np.floor(wrong * rng.dirichlet(8 * common, count)), true], 1))
    return sides[0], sides[1]


def areas(counts: np.ndarray, classes: tuple[str, ...] = ("road", "car", "sign", "train")) -> AreaOutcomes:
    names = names_digest(map(str, range(len(counts))))
    return AreaOutcomes(names, np.ones(len(counts), bool), classes, *np.moveaxis(counts.astype(np.int64), 1, 0))


@pytest.mark.parametrize("metric", ["aacc_percent", "miou_percent", "macc_percent"])
def test_the_difference_is_that_of_the_set_and_draws_are_seeded(metric: str) -> None:
    a, b = street(np.random.default_rng(6), 40, gain=0.5)
    result = compare_images([areas(a)], [areas(b)], metric)
    assert result.effect == pytest.approx(areas(a).metrics()[metric] - areas(b).metrics()[metric])
    assert result == compare_images([areas(a)], [areas(b)], metric)
    assert result != compare_images([areas(a)], [areas(b)], metric, seed=1)
    assert 0 < result.low < result.effect < result.high
    assert result.p < 0.05
    value = interval_of_images([areas(a)], metric)
    assert value.value == pytest.approx(areas(a).metrics()[metric])
    assert value.low < value.value < value.high


def test_the_standard_error_of_a_ratio_is_that_of_the_delta_method() -> None:
    a, b = street(np.random.default_rng(7), 200, gain=0.2)
    inner, true = (a[:, 0] - b[:, 0]).sum(1), a[:, 2].sum(1)
    ratio = inner.sum() / true.sum()
    expected = 100 * np.std(inner - ratio * true) / (true.mean() * math.sqrt(200))
    assert compare_images([areas(a)], [areas(b)], "aacc_percent").se == pytest.approx(expected, rel=0.05)


def test_trunks_are_averaged_before_the_difference_is_taken() -> None:
    (a, b), (c, d) = street(np.random.default_rng(8), 30, 1.0), street(np.random.default_rng(8), 30, 0.0)
    sides = [areas(a), areas(c), areas(c)], [areas(b), areas(d)]
    result = compare_images(*sides, "miou_percent", trunks_a=[0, 1, 1])
    each = [one.metrics()["miou_percent"] for side in sides for one in side]
    assert result.effect == pytest.approx(each[0] / 2 + (each[1] + each[2]) / 4 - (each[3] + each[4]) / 2)


def test_equal_results_differ_by_nothing() -> None:
    a, _ = street(np.random.default_rng(9), 20)
    result = compare_images([areas(a)], [areas(a)], "miou_percent")
    assert (result.effect, result.low, result.high, result.p) == (0, 0, 0, 1)


def of_eight(values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float, float, float, float]:
    """The bootstrap of the mean of eight images, by many draws."""
    monkeypatch.setattr(image_statistics, "RESAMPLES", 40_000)
    counts = np.zeros((8, 3, 1))
    counts[:, 0, 0] = values
    return image_statistics._bootstrap([counts], lambda totals: totals[0][..., 0, 0] / 8, 0)


def test_the_bootstrap_of_few_images_is_wider_than_its_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of n = 8 the percentile is Φ(−√(n/(n − 1))·t), with 7 degrees of freedom: .0057, and not .025 or .0090."""
    values = np.array([0.3, -1.2, 0.8, 2.1, -0.4, 1.5, -0.9, 0.6])
    level = stats.norm.cdf(-math.sqrt(8 / 7) * stats.t.ppf(0.975, 7))
    assert level == pytest.approx(0.0057, abs=1e-4)
    means = np.random.default_rng(15).choice(values, (400_000, 8)).mean(1)
    wanted = np.quantile(means, [level, 1 - level])
    value, low, high, _, _ = of_eight(values, monkeypatch)
    assert value == pytest.approx(values.mean())
    reach = wanted[1] - wanted[0]
    assert (low, high) == (pytest.approx(wanted[0], abs=0.015 * reach), pytest.approx(wanted[1], abs=0.015 * reach))
    # The p of 0 is 5 % where the interval ends at 0, on either side.
    for end in (low, high):
        assert of_eight(values - end, monkeypatch)[3] == pytest.approx(0.05, rel=0.1)


def test_where_every_draw_is_above_0_p_is_that_of_one_draw_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    p = of_eight(np.arange(1.0, 9.0), monkeypatch)[3]
    assert p == pytest.approx(2 * stats.t.cdf(stats.norm.ppf(1 / 40_001) / math.sqrt(8 / 7), 7))


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "gain"), [("miou_percent", 0.0), ("miou_percent", 0.4), ("macc_percent", 0.4)])
def test_the_bootstraps_interval_covers_and_keeps_its_level(
    metric: str, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_statistics, "RESAMPLES", 400)
    rng, trials, hits, rejected = np.random.default_rng(10), 600, 0, 0
    many = [area_metrics(side.sum(0))[metric] for side in street(np.random.default_rng(11), 300_000, gain)]
    truth = float(many[0] - many[1])
    for _ in range(trials):
        a, b = street(rng, 60, gain)
        result: ImageComparison = compare_images([areas(a)], [areas(b)], metric)
        hits += result.low <= truth <= result.high
        rejected += result.p <= 0.05
    assert near_level(hits, trials)
    assert gain > 0 or near_level(rejected, trials, 0.05)


# -------------------------------------------------------------------------------------------- bad input


def refused(a: Outcomes, b: Outcomes, metric: str) -> str:
    with pytest.raises(BadInput) as caught:
        compare_images([a], [b], metric)
    return str(caught.value)


def test_what_cannot_be_paired_is_refused() -> None:
    right = np.ones(10, bool)
    counts, _ = street(np.random.default_rng(12), 10)
    assert "different images" in refused(tops(right), tops(right[:9]), "top1_percent")
    reordered = TopOutcomes(names_digest("9876543210"), right, right)
    assert "in another order" in refused(tops(right), reordered, "top1_percent")
    assert "fewer than two images" in refused(tops(right), tops(right, np.arange(10) < 1), "top1_percent")
    assert "have no top5_percent" in refused(tops(right), tops(right), "top5_percent")
    assert "have no miou_percent" in refused(tops(right), tops(right), "miou_percent")
    assert "give no k" in refused(tops(right), tops(right), "k")
    other = areas(counts, ("road", "car", "sign", "bus"))
    assert "different classes" in refused(areas(counts), other, "miou_percent")
