"""Measures of a representation against naive loops, other libraries, and cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.utils.debug import std_of_l2_normalized
from torch import Tensor

from bench.losses.uniformity import uniformity
from bench.nn.representation import (
    centred,
    deviation,
    effective_rank,
    knn_percent,
    log_uniformity,
    rankme,
    singular_values,
    spectrum,
    tolerance,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_rank(values: list[float], epsilon: float = 0.0) -> float:
    total = sum(values)
    shares = [value / total + epsilon for value in values]
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


# ------------------------------------------------------------------------------------------- deviation


def test_the_deviation_is_lightlys() -> None:
    z = draw(200, 64)
    assert deviation(z).item() == pytest.approx(std_of_l2_normalized(z).item(), rel=1e-12)
    assert deviation(z).item() == pytest.approx(1 / math.sqrt(64), rel=0.01)


def test_the_deviation_is_of_normalised_rows_and_0_where_they_collapsed() -> None:
    z = draw(50, 8)
    scale = torch.linspace(0.1, 30, 50).double()[:, None]
    assert deviation(scale * z).item() == pytest.approx(deviation(z).item(), rel=1e-12)
    assert deviation(draw(1, 8).expand(50, 8) * scale).item() == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="at least two rows"):
        deviation(z[:1])


# -------------------------------------------------------------------------------------------- spectrum


@pytest.mark.parametrize("shape", [(40, 6), (5, 12)])
def test_the_spectrum_is_that_of_the_centred_covariance_of_normalised_rows(shape: tuple[int, int]) -> None:
    z = draw(*shape) + 2.0
    unit = torch.stack([row / math.sqrt(sum(float(x) ** 2 for x in row)) for row in z])
    mean = sum(unit) / len(unit)
    covariance = sum(torch.outer(row - mean, row - mean) for row in unit) / len(unit)
    expected = torch.linalg.svdvals(covariance)
    assert spectrum(z).shape == (shape[1],)
    torch.testing.assert_close(spectrum(z), expected, rtol=1e-9, atol=1e-15)
    assert (spectrum(z).diff() <= 0).all()


def test_the_spectrum_does_not_see_where_the_mean_lies_but_rankme_does() -> None:
    z = draw(4096, 64)
    away = z + 10 * torch.ones(64, dtype=torch.float64)
    assert effective_rank(singular_values(centred(away))).item() > 60
    assert rankme(z).item() > 60
    assert rankme(away).item() < 45
    # Centring would hide it.
    assert rankme(away - away.mean(0)).item() > 60


def test_dimensions_that_are_lost_show_in_the_spectrum() -> None:
    lost = draw(300, 20) @ draw(20, 32, seed=1)  # 20 of 32 dimensions
    values = spectrum(lost)
    assert (values[:20] > 1e-6).all()
    assert (values[20:] < 1e-25).all()  # not 1e-17: formed as a product, C would have rounding in their place


# ----------------------------------------------------------------------------------------------- ranks


def test_the_effective_rank_equals_the_formula() -> None:
    values = singular_values(draw(30, 7))
    assert effective_rank(values).item() == pytest.approx(naive_rank(values.tolist()), rel=1e-12)
    assert effective_rank(torch.ones(5)).item() == pytest.approx(5.0)
    assert effective_rank(torch.tensor([3.0, 0.0, 0.0])).item() == pytest.approx(1.0)
    assert effective_rank(torch.zeros(4)).item() == 0.0


def test_the_effective_rank_is_of_singular_values_and_not_of_their_squares() -> None:
    z = draw(2048, 64)
    values = singular_values(centred(z))
    ours, squares = effective_rank(values).item(), effective_rank(values.square()).item()
    assert ours > squares + 0.3  # about 63.7 and 63.0
    assert ours == pytest.approx(63.75, abs=0.2)
    assert squares == pytest.approx(63.0, abs=0.2)


def test_rankme_equals_the_formula_of_embeddings_as_they_are() -> None:
    z = draw(50, 9) * torch.linspace(0.1, 4, 9).double() + 1.5
    values = torch.linalg.svdvals(z).tolist()
    assert rankme(z).item() == pytest.approx(naive_rank(values, 1e-7), rel=1e-9)
    assert rankme(1000 * z).item() == pytest.approx(rankme(z).item(), rel=1e-9)
    # Each row normalised would be another number.
    rows = z * torch.linspace(0.01, 10, 50).double()[:, None]
    assert abs(rankme(rows).item() - rankme(torch.nn.functional.normalize(rows)).item()) > 0.1


def test_rankme_cannot_exceed_the_number_of_images() -> None:
    assert rankme(draw(16, 64)).item() <= 16.01
    assert rankme(draw(256, 64)).item() > 55


def test_rankme_of_collapsed_embeddings_is_1() -> None:
    assert rankme(draw(1, 12).expand(40, 12)).item() == pytest.approx(1.0, abs=1e-3)


def test_half_precision_is_widened_first() -> None:
    z = draw(64, 8)
    assert rankme(z.bfloat16()).dtype == torch.float64
    assert rankme(z.bfloat16()).item() == pytest.approx(rankme(z).item(), rel=0.02)
    assert not rankme(z.requires_grad_()).requires_grad


# ------------------------------------------------------------------------------------------- tolerance


def test_tolerance_is_the_mean_over_pairs_of_one_class_without_an_image_and_itself() -> None:
    z, labels = draw(12, 5), torch.tensor([0, 7, 7, 0, 2, 7, 0, 2, 9, 0, 7, 2])
    unit = [row / row.norm() for row in z]
    cosines = [
        float(unit[i] @ unit[j]) for i in range(12) for j in range(12) if i != j and bool(labels[i] == labels[j])
    ]
    value = tolerance(z, labels)
    assert value is not None
    assert value.item() == pytest.approx(sum(cosines) / len(cosines), rel=1e-10)


@pytest.mark.parametrize("classes", [2, 10])
def test_tolerance_does_not_shrink_with_the_number_of_classes(classes: int) -> None:
    labels = torch.arange(classes).repeat(10)
    value = tolerance(torch.eye(classes).double()[labels], labels)
    assert value is not None
    assert value.item() == pytest.approx(1.0)  # an unconditional mean would say 1 / classes


def test_tolerance_needs_two_images_of_a_class() -> None:
    assert tolerance(draw(3, 4), torch.tensor([0, 1, 2])) is None


# -------------------------------------------------------------------------------------------- neighbours


def test_neighbours_vote_as_in_a_naive_loop() -> None:
    z, labels = draw(40, 6), torch.arange(40) % 3
    z = z + 1.5 * torch.eye(6).double()[labels]
    bank, theirs = z[10:], labels[10:]
    unit = torch.nn.functional.normalize(z)
    for leave_one_out, rows, votes in ((None, bank, theirs), (True, z, labels)):
        right = 0
        for i in range(10 if leave_one_out is None else 40):
            scores = sorted(
                (
                    (float(unit[i] @ row / row.norm()), int(votes[j]))
                    for j, row in enumerate(rows)
                    if leave_one_out is None or j != i
                ),
                reverse=True,
            )[:5]
            tally = [sum(math.exp(s / 0.07) for s, label in scores if label == c) for c in range(3)]
            right += tally.index(max(tally)) == int(labels[i])
        if leave_one_out is None:
            percent = knn_percent(z[:10], labels[:10], bank, theirs, k=5)
            assert percent == pytest.approx(10.0 * right)
        else:
            percent = knn_percent(z, labels, None, None, k=5, chunk=7)
            assert percent == pytest.approx(2.5 * right)
        assert 40 < percent < 100


def test_an_image_does_not_vote_for_itself() -> None:
    z = torch.eye(4).double() + 0.01
    labels = torch.tensor([0, 1, 2, 3])
    assert knn_percent(z, labels, z, labels, k=1) == 100.0
    assert knn_percent(z, labels, None, None, k=1) == 0.0


# -------------------------------------------------------------------------------------------- uniformity


def test_uniformity_is_without_self_pairs_and_a_log_of_the_mean() -> None:
    z = torch.nn.functional.normalize(draw(9, 4))
    distances = torch.pdist(z).square()
    assert uniformity(z).item() == pytest.approx(distances.mul(-2).exp().mean().log().item(), rel=1e-10)
    assert uniformity(z).item() > distances.mul(-2).mean().item() + 0.5  # the mean of logs
    assert uniformity(draw(2000, 128)).item() == pytest.approx(-3.94, abs=0.01)


@pytest.mark.parametrize("chunk", [1, 4, 9, 100])
def test_uniformity_in_pieces_is_uniformity(chunk: int) -> None:
    z = draw(9, 4)
    assert log_uniformity(z, chunk=chunk) == pytest.approx(uniformity(z).item(), rel=1e-12)
    with pytest.raises(ValueError, match="at least two rows"):
        log_uniformity(z[:1])


def test_singular_values_of_a_tall_matrix_are_taken_in_pieces_without_loss() -> None:
    z = draw(500, 6) * torch.tensor([1, 1e-3, 1e-6, 1e-9, 1e-12, 2]).double()
    torch.testing.assert_close(singular_values(z), torch.linalg.svdvals(z), rtol=1e-3, atol=0)
