import numpy as np
import polars as pl
import pytest

from retraining.drift.bins import NumericBins
from retraining.drift.comparison import Comparison, compare_numbers
from retraining.drift.counts import NumericCounts
from retraining.drift.methods import choose_method
from retraining.drift.profile import build_profile
from retraining.drift.scan import scan_window
from retraining.drift.statistics import jensen_shannon_distance, population_stability_index


def compare(reference: np.ndarray, current: np.ndarray, method: str = "auto") -> Comparison:
    profile = build_profile(pl.DataFrame({"column": reference}), ["column"])
    column, scan = profile.columns["column"], scan_window(profile, pl.DataFrame({"column": current}))
    counts = scan.columns["column"]
    assert isinstance(column.bins, NumericBins)
    assert isinstance(column.counts, NumericCounts)
    assert isinstance(counts, NumericCounts)
    return compare_numbers(method, column.kind, column.bins, column.counts, counts, 0.001)  # type: ignore[arg-type]


def sturges(reference: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.histogram_bin_edges(np.concatenate([reference, current]), "sturges")
    return np.histogram(reference, edges)[0], np.histogram(current, edges)[0]


RANDOM = np.random.default_rng(1)
WINDOWS = {
    "normal": (RANDOM.normal(0, 1, 20_000), RANDOM.normal(0.3, 1, 10_000)),
    "lognormal": (RANDOM.lognormal(0, 1, 20_000), RANDOM.lognormal(0.3, 1, 10_000)),
    "half of it zero": (
        np.where(RANDOM.random(20_000) < 0.5, 0, RANDOM.exponential(1, 20_000)),
        np.where(RANDOM.random(10_000) < 0.4, 0, RANDOM.exponential(1, 10_000)),
    ),
    "whole numbers": (RANDOM.poisson(40, 20_000), RANDOM.poisson(43, 10_000)),
    "rounded": (RANDOM.normal(0, 1, 20_000).round(1), RANDOM.normal(0.3, 1, 10_000).round(1)),
    "far away": (RANDOM.normal(0, 1, 20_000), RANDOM.normal(1e5, 1, 10_000)),
}
every_pair = pytest.mark.parametrize(("reference", "current"), WINDOWS.values(), ids=WINDOWS.keys())


@every_pair
def test_psi_and_jensen_shannon_are_those_of_sturges_histograms(reference, current) -> None:
    expected = sturges(reference, current)
    psi = population_stability_index(*expected)
    assert compare(reference, current, "psi").score == pytest.approx(psi, abs=5e-3, rel=5e-3)
    shannon = jensen_shannon_distance(*expected)
    assert compare(reference, current, "jensen_shannon").score == pytest.approx(shannon, abs=2e-3)


@every_pair
def test_the_wasserstein_distance_is_that_of_the_values_themselves(reference, current) -> None:
    from scipy import stats

    expected = stats.wasserstein_distance(reference, current) / reference.std()
    assert compare(reference, current, "wasserstein").score == pytest.approx(expected, abs=1e-3, rel=1e-3)


@every_pair
def test_the_kolmogorov_smirnov_distance_is_that_of_the_values_themselves(reference, current) -> None:
    from scipy import stats

    expected = stats.ks_2samp(reference, current, method="asymp").statistic
    assert compare(reference, current, "kolmogorov_smirnov").score == pytest.approx(expected, abs=3e-3)


def test_few_different_numbers_are_compared_by_value() -> None:
    reference, current = RANDOM.integers(0, 4, 5_000), RANDOM.integers(0, 5, 5_000)
    values = np.arange(5)
    by_value = [(window[:, None] == values).sum(axis=0) for window in (reference, current)]
    for method, statistic in (
        ("psi", population_stability_index),
        ("jensen_shannon", jensen_shannon_distance),
    ):
        assert compare(reference, current, method).score == pytest.approx(statistic(*by_value))


@pytest.mark.parametrize(
    ("reference", "current", "method"),
    [
        (RANDOM.normal(size=1_000), RANDOM.normal(size=1_000), "wasserstein"),
        (RANDOM.integers(0, 5, 1_000), RANDOM.integers(0, 5, 1_000), "jensen_shannon"),
        (RANDOM.integers(0, 5, 1_000), RANDOM.integers(0, 6, 1_000), "wasserstein"),
        (RANDOM.lognormal(0, 1, 50_000), RANDOM.lognormal(0, 1, 1_000), "wasserstein"),
        (RANDOM.standard_cauchy(50_000), RANDOM.standard_cauchy(1_000), "kolmogorov_smirnov"),
    ],
    ids=["many values", "five values", "a sixth value", "skewed", "heavy-tailed"],
)
def test_auto_goes_by_the_values(reference, current, method) -> None:
    assert compare(reference, current).method == method


@pytest.mark.parametrize("kind", ["categorical", "boolean"])
def test_categories_take_every_method_but_those_that_need_an_order(kind) -> None:
    for wanted in ("psi", "jensen_shannon", "chi_square"):
        assert choose_method(wanted, kind, distinct=3, heavy_tailed=False) == wanted
    for wanted in ("auto", "wasserstein", "kolmogorov_smirnov"):
        assert choose_method(wanted, kind, distinct=3, heavy_tailed=False) == "jensen_shannon"


def test_a_heavy_tail_hides_no_shift() -> None:
    """Two scale units of a Cauchy column: the standard deviation would make 0.0 of them."""
    reference, current = RANDOM.standard_cauchy(50_000), RANDOM.standard_cauchy(50_000) + 2
    found = compare(reference, current)
    assert found.score > 0.4
    assert compare(reference, current, "wasserstein").score < 0.1


def test_a_constant_is_compared_in_thousandths() -> None:
    """As Evidently does: a constant has no standard deviation to go by."""
    found = compare(np.full(100, 5.0), np.full(100, 5.01), "wasserstein")
    assert found.score == pytest.approx(10, rel=0.01)


def test_small_units_do_not_matter() -> None:
    reference, current = RANDOM.normal(0, 1e-6, 5_000), RANDOM.normal(1e-6, 1e-6, 5_000)
    assert compare(reference, current).score == pytest.approx(1, abs=0.05)
