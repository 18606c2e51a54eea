from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial import distance

from retraining.drift import statistics
from retraining.drift.bins import Integers

CELLS = st.shared(st.integers(2, 30), key="cells")


def counts() -> st.SearchStrategy[Integers]:
    return CELLS.flatmap(
        lambda cells: arrays(np.int64, cells, elements=st.integers(0, 1_000)).filter(lambda c: c.sum() > 0)
    )


def wasserstein(reference: Integers, current: Integers) -> float:
    return statistics.wasserstein_distance(np.arange(len(reference)) ** 1.5, reference, current, unit=2.0)


EVERY = [
    statistics.population_stability_index,
    statistics.jensen_shannon_distance,
    statistics.kolmogorov_smirnov_distance,
    statistics.chi_square_distance,
    wasserstein,
]
every_statistic = pytest.mark.parametrize("statistic", EVERY, ids=lambda statistic: statistic.__name__)


@every_statistic
@given(reference=counts(), current=counts())
def test_it_does_not_matter_which_window_is_the_reference(statistic, reference, current) -> None:
    assert statistic(reference, current) == pytest.approx(statistic(current, reference), abs=1e-12)


@every_statistic
@given(reference=counts(), times=st.integers(1, 5))
def test_equal_proportions_are_no_distance(statistic, reference, times) -> None:
    assert statistic(reference, times * reference) == pytest.approx(0, abs=1e-7)


@every_statistic
@given(reference=counts(), current=counts())
def test_different_proportions_are_some_distance(statistic, reference, current) -> None:
    apart = np.abs(reference / reference.sum() - current / current.sum()).max()
    assert statistic(reference, current) >= 0
    if apart > 0.01:
        assert statistic(reference, current) > 1e-5


@every_statistic
@given(reference=counts(), current=counts())
def test_the_distance_falls_as_the_current_window_moves_towards_the_reference(
    statistic, reference, current
) -> None:
    """Mixing rows of the reference into the current window brings the two closer."""
    r, c = reference * current.sum(), current * reference.sum()  # equally many rows
    # The PSI's stand-in for empty bins jumps where a bin stops being empty.
    r, c = r * 10_000 + 1, c * 10_000 + 1
    mixed = [statistic(r, c * (10 - part) + r * part) for part in range(11)]
    assert all(after <= before + 1e-9 for before, after in pairwise(mixed))


@given(reference=counts(), current=counts())
def test_bounded_distances_stay_within_their_bounds(reference: Integers, current: Integers) -> None:
    assert statistics.jensen_shannon_distance(reference, current) <= np.sqrt(np.log(2)) + 1e-12
    assert statistics.kolmogorov_smirnov_distance(reference, current) <= 1 + 1e-12
    assert statistics.chi_square_distance(reference, current) <= 1 + 1e-12


def test_windows_without_a_common_value_are_as_far_apart_as_can_be() -> None:
    here, there = np.array([3, 5, 0, 0]), np.array([0, 0, 1, 9])
    assert statistics.jensen_shannon_distance(here, there) == pytest.approx(np.sqrt(np.log(2)))
    assert statistics.kolmogorov_smirnov_distance(here, there) == pytest.approx(1)
    assert statistics.chi_square_distance(here, there) == pytest.approx(1)


@given(reference=counts(), current=counts())
def test_they_agree_with_scipy(reference: Integers, current: Integers) -> None:
    places = np.arange(len(reference)) ** 1.5
    x, y = np.repeat(places, reference), np.repeat(places, current)
    assert wasserstein(reference, current) == pytest.approx(stats.wasserstein_distance(x, y) / 2, abs=1e-9)
    smirnov = statistics.kolmogorov_smirnov_distance(reference, current)
    assert smirnov == pytest.approx(stats.ks_2samp(x, y, method="asymp").statistic, abs=1e-9)
    shannon = statistics.jensen_shannon_distance(reference, current)
    assert shannon == pytest.approx(distance.jensenshannon(reference, current), abs=1e-7)


@given(reference=counts(), current=counts())
def test_the_chi_square_distance_is_cramers_v_of_equally_large_windows(
    reference: Integers, current: Integers
) -> None:
    r, c = reference * current.sum(), current * reference.sum()
    seen = r + c > 0
    if seen.sum() > 1:
        v = stats.contingency.association(np.array([r[seen], c[seen]]), method="cramer")
        assert statistics.chi_square_distance(reference, current) == pytest.approx(v, abs=1e-9)


def test_a_shift_by_one_unit_is_a_wasserstein_distance_of_one() -> None:
    places = np.arange(10.0)
    window = np.array([1, 4, 9, 2, 1, 0, 0, 0, 0, 0])
    assert statistics.wasserstein_distance(places, window, np.roll(window, 3), unit=3.0) == pytest.approx(1)


def test_the_psi_of_a_worked_example() -> None:
    """0.5, 0.3, 0.2 against 0.4, 0.4, 0.2: 0.1 ln(1.25) + 0.1 ln(4/3)."""
    index = statistics.population_stability_index(np.array([50, 30, 20]), np.array([40, 40, 20]))
    assert index == pytest.approx(0.1 * np.log(1.25) + 0.1 * np.log(4 / 3))


def test_an_empty_bin_counts_as_one_in_ten_thousand_in_the_psi() -> None:
    index = statistics.population_stability_index(np.array([50, 50, 0]), np.array([50, 40, 10]))
    assert index == pytest.approx(0.1 * np.log(1.25) + 0.0999 * np.log(1_000))
