from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from retraining.drift.significance import (
    anderson_darling_p_value,
    at_least_p_value,
    chi_square_p_value,
    kolmogorov_smirnov_p_value,
    most_unseen,
    proportion_p_value,
)
from retraining.drift.statistics import kolmogorov_smirnov_distance

PAIRS = 2_000


def kolmogorov_smirnov(reference: np.ndarray, current: np.ndarray) -> float:
    return kolmogorov_smirnov_p_value(reference, current, kolmogorov_smirnov_distance(reference, current))


TESTS = [anderson_darling_p_value, chi_square_p_value, kolmogorov_smirnov]
DISTRIBUTIONS = {
    "even": np.full(100, 1.0),
    "skewed": 1.0 / np.arange(1, 101) ** 2,
    "one value in most rows": np.array([95.0, 1, 1, 1, 1, 1]),
    "two values": np.array([30.0, 70.0]),
}


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
@pytest.mark.parametrize("shares", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
@pytest.mark.parametrize(("rows", "current_rows"), [(500, 500), (20_000, 500), (500, 20_000)])
def test_equal_distributions_are_rejected_no_more_often_than_announced(
    test: Callable[[np.ndarray, np.ndarray], float], shares: np.ndarray, rows: int, current_rows: int
) -> None:
    random = np.random.default_rng(1)
    reference = random.multinomial(rows, shares / shares.sum(), PAIRS)
    current = random.multinomial(current_rows, shares / shares.sum(), PAIRS)
    p_values = np.array([test(r, c) for r, c in zip(reference, current, strict=True)])
    for alpha in (0.05, 0.01, 0.001):
        # Exceeded by a test that keeps its level in one of 100,000 runs.
        assert np.sum(p_values <= alpha) <= stats.binom.isf(1e-5, PAIRS, alpha)


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_a_shift_of_the_distribution_is_found(test: Callable[[np.ndarray, np.ndarray], float]) -> None:
    window = np.array([0, 0, 50, 100, 200, 300, 200, 100, 50, 0, 0])
    assert test(window, np.roll(window, 2)) < 1e-12


def test_a_change_of_spread_is_found_in_the_tails() -> None:
    """Half as wide again: Anderson-Darling finds in 500 rows what Kolmogorov-Smirnov cannot be sure of."""
    edges = np.linspace(-6, 6, 121)
    masses = [np.diff(stats.norm.cdf(edges, scale=scale)) for scale in (1, 1.5)]
    random = np.random.default_rng(1)
    narrow, wide = (random.multinomial(500, mass / mass.sum()) for mass in masses)
    assert anderson_darling_p_value(narrow, wide) < 1e-4 < kolmogorov_smirnov(narrow, wide)


def test_anderson_darling_agrees_with_scipy() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=2_000), random.normal(0.05, 1, size=1_500)
    values = np.sort(np.concatenate([x, y]))
    counts = [np.isin(values, window).astype(np.int64) for window in (x, y)]
    expected = stats.anderson_ksamp([x, y], variant="midrank").pvalue
    assert anderson_darling_p_value(*counts) == pytest.approx(expected, rel=0.1)


@given(st.lists(st.tuples(st.integers(50, 500), st.integers(50, 500)), min_size=2, max_size=10))
def test_chi_square_agrees_with_scipy(pairs: list[tuple[int, int]]) -> None:
    reference, current = np.array(pairs).T
    expected = stats.chi2_contingency(np.array([reference, current]), correction=False).pvalue
    assert chi_square_p_value(reference, current) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_rare_categories_cannot_prove_anything() -> None:
    """500 identifiers each: no category has two rows, and no two windows have one in common."""
    nothing = np.zeros(500, np.int64)
    assert chi_square_p_value(np.ones(500, np.int64), nothing, others=(0, 500)) == 1.0
    assert chi_square_p_value(np.array([996, 4]), np.array([1_000, 0])) == 1.0


def test_categories_outside_of_the_reference_count_with_its_rare_ones() -> None:
    """50 rows in rare categories here and 50 in unseen ones there are what chance does; 500 are not."""
    reference = np.array([9_950, *[1] * 50])
    assert chi_square_p_value(reference, np.array([9_950, *[0] * 50]), others=(0, 50)) == 1.0
    assert chi_square_p_value(reference, np.array([9_500, *[0] * 50]), others=(0, 500)) < 1e-12


@given(st.integers(0, 60), st.integers(60, 300), st.integers(0, 60), st.integers(60, 300))
def test_the_test_of_proportions_is_fishers(
    hits: int, rows: int, current_hits: int, current_rows: int
) -> None:
    table = [[current_hits, current_rows - current_hits], [hits, rows - hits]]
    tails = [stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    expected = min(1.0, 2 * min(tails))
    found = proportion_p_value(hits, rows, current_hits, current_rows)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_test_of_proportions_holds_for_millions_of_rows() -> None:
    assert proportion_p_value(500_000, 5_000_000, 500_900, 5_000_000) == pytest.approx(0.343, abs=0.01)
    assert proportion_p_value(500_000, 5_000_000, 510_000, 5_000_000) < 1e-20


def test_without_singletons_the_unseen_share_is_bounded_by_the_sample() -> None:
    """Of 1,000 rows: a category in 0.7 % of all rows is missed with a chance of e^-6.9 = 0.001."""
    assert most_unseen(0, 1_000, 0.001) == pytest.approx(0.0069, abs=1e-4)
    assert most_unseen(40, 1_000, 0.001) > 0.04
    assert most_unseen(10, 10, 0.001) == 1.0


@given(st.integers(1, 200), st.integers(200, 1_000), st.floats(0.001, 0.999))
def test_the_upper_tail_is_the_binomial_one(hits: int, rows: int, share: float) -> None:
    assert at_least_p_value(hits, rows, share) == pytest.approx(
        stats.binom.sf(hits - 1, rows, share), abs=1e-12
    )


def test_no_hits_are_no_surprise() -> None:
    assert at_least_p_value(0, 10, 0.5) == 1.0
    assert at_least_p_value(5, 10, 1.0) == 1.0
