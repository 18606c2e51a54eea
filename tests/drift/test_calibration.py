import numpy as np
import pytest
from scipy import stats

from retraining.drift import calibration, statistics
from retraining.drift.calibration import (
    EFFECT_SIZES,
    alpha_per_question,
    chi_square_noise,
    kolmogorov_smirnov_noise,
    wasserstein_noise,
)
from retraining.drift.methods import Method

CHUNKS = 4_000
SHARES = {
    "normal": np.diff(stats.norm.cdf(np.linspace(-4, 4, 81))),
    "exponential": np.diff(stats.expon.cdf(np.linspace(0, 10, 101))),
    "three values": np.array([0.5, 0.3, 0.2]),
}


def exceeded(method: Method, shares: np.ndarray, rows: int, current_rows: int, alpha: float) -> float:
    """How often the score of two chunks of the same distribution reaches the noise level."""
    random = np.random.default_rng(1)
    places, shares = np.arange(float(len(shares))), shares / shares.sum()
    unit = float(np.sqrt(np.cov(places, aweights=shares, ddof=0)))
    hits = 0
    for r, c in zip(
        random.multinomial(rows, shares, CHUNKS),
        random.multinomial(current_rows, shares, CHUNKS),
        strict=True,
    ):
        match method:
            case "wasserstein":
                score = statistics.wasserstein_distance(places, r, c, unit)
                noise = wasserstein_noise(places, r, unit, current_rows, alpha)
            case "kolmogorov_smirnov":
                score = statistics.kolmogorov_smirnov_distance(r, c)
                noise = kolmogorov_smirnov_noise(rows, current_rows, alpha)
            case "psi":
                score = statistics.population_stability_index(r, c)
                noise = chi_square_noise(method, len(r), rows, current_rows, alpha)
            case "jensen_shannon":
                score = statistics.jensen_shannon_distance(r, c)
                noise = chi_square_noise(method, len(r), rows, current_rows, alpha)
            case "chi_square":
                score = statistics.chi_square_distance(r, c)
                noise = chi_square_noise(method, len(r), rows, current_rows, alpha)
        hits += score >= noise
    return hits / CHUNKS


@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES.keys())
@pytest.mark.parametrize("method", ["wasserstein", "kolmogorov_smirnov"])
def test_chance_exceeds_the_noise_level_no_more_often_than_asked(method: Method, shares: np.ndarray) -> None:
    for rows, current_rows in ((5_000, 500), (2_000, 2_000)):
        assert (
            exceeded(method, shares, rows, current_rows, 0.01) <= stats.binom.isf(1e-5, CHUNKS, 0.01) / CHUNKS
        )


@pytest.mark.parametrize("method", ["psi", "jensen_shannon", "chi_square"])
def test_chance_exceeds_the_noise_level_of_categories_as_often_as_asked(method: Method) -> None:
    found = exceeded(method, SHARES["three values"], 2_000, 1_000, 0.05)
    assert found == pytest.approx(0.05, abs=0.015)


def test_the_noise_level_is_not_far_above_what_chance_does() -> None:
    """At twice the noise level's rows per false alarm nothing would ever be found."""
    assert exceeded("wasserstein", SHARES["normal"], 2_000, 2_000, 0.05) > 0.001
    assert exceeded("kolmogorov_smirnov", SHARES["normal"], 2_000, 2_000, 0.05) > 0.01


@pytest.mark.parametrize(
    "noise",
    [
        lambda rows: chi_square_noise("psi", 10, rows, rows, 0.001),
        lambda rows: kolmogorov_smirnov_noise(rows, rows, 0.001),
        lambda rows: wasserstein_noise(np.arange(3.0), np.full(3, rows // 3), 1.0, rows, 0.001),
    ],
)
def test_noise_falls_with_the_rows_and_below_any_effect(noise) -> None:
    levels = [noise(rows) for rows in (300, 3_000, 30_000, 300_000)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > min(EFFECT_SIZES.values()) > levels[-1]


def test_bounded_scores_have_bounded_noise() -> None:
    """However many categories and few rows: the score itself cannot be higher."""
    assert chi_square_noise("jensen_shannon", 1_000, 50, 50, 0.001) == np.sqrt(np.log(2))
    assert chi_square_noise("chi_square", 1_000, 50, 50, 0.001) == 1
    assert kolmogorov_smirnov_noise(3, 3, 0.001) == 1


def test_a_constant_has_no_noise() -> None:
    assert wasserstein_noise(np.array([5.0]), np.array([100]), 0.001, 100, 0.01) == 0


@pytest.mark.parametrize("columns", [1, 20, 500])
def test_all_questions_together_keep_the_rate(columns: int) -> None:
    alpha = alpha_per_question(0.05, columns)
    assert alpha * columns * calibration.QUESTIONS_PER_COLUMN == pytest.approx(0.05)
