import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retraining.drift.bins import CELLS, MAX_CATEGORIES, MAX_EXACT_VALUES, CategoryBins, NumericBins

VALUES = arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e99, 1e99))


@given(sample=VALUES, values=VALUES)
@example(sample=np.array([2014.0]), values=np.array([2013.0, 2014.0, 2015.0]))
@example(sample=np.array([0.0]), values=np.array([-1e99, -1e-9, 0.0, 1e-9, 1e99]))
def test_cells_ascend_with_the_values_and_contain_them(sample: np.ndarray, values: np.ndarray) -> None:
    bins = NumericBins.fit(sample)
    values = np.sort(values)
    cells = bins.cells_of(values)
    assert np.all(np.diff(cells) >= 0)
    assert cells.min() >= 0
    assert cells.max() < CELLS
    # The layout alone: known values stand for their whole cell.
    lower, upper = NumericBins(bins.center, bins.scale).bounds(cells)
    slack = 1e-9 * (np.abs(values) + abs(bins.center) + bins.scale)
    assert np.all((values >= lower - slack) & (values <= upper + slack))


def test_cells_are_narrow_where_the_values_are() -> None:
    """Within four standard deviations of a normal column a cell is at most a fiftieth of one wide."""
    sample = np.random.default_rng(1).normal(1e6, 10, 50_000)
    bins = NumericBins.fit(sample)
    lower, upper = bins.bounds(bins.cells_of(np.linspace(1e6 - 40, 1e6 + 40, 1_000)))
    assert (upper - lower).max() < 0.2


def test_few_values_are_known_exactly() -> None:
    values = np.array([-2.5, 0.1, 0.30000000000000004, 7.0])
    bins = NumericBins.fit(np.repeat(values, 10))
    assert bins.values == tuple(values)
    lower, upper = bins.bounds(bins.cells_of(values))
    assert lower.tolist() == upper.tolist() == values.tolist()


@pytest.mark.parametrize("center", [0.0, -0.0, 1.0])
def test_both_zeros_are_one_value(center: float) -> None:
    bins = NumericBins.fit(np.array([center - 1, center, center + 1]))
    assert len(set(bins.cells_of(np.array([0.0, -0.0])).tolist())) == 1


def test_many_values_are_not_kept() -> None:
    assert NumericBins.fit(np.arange(MAX_EXACT_VALUES + 1.0)).values is None
    assert NumericBins.fit(np.arange(MAX_EXACT_VALUES + 0.0)).values is not None


@pytest.mark.parametrize("constant", [0.0, 2014.0, -1e9, 1e-12])
def test_any_other_value_leaves_the_cell_of_a_constant(constant: float) -> None:
    bins = NumericBins.fit(np.full(100, constant))
    others = np.array([constant + 1, constant - 1, constant * 1.001 + 1e-5])
    assert bins.cells_of(np.array([constant]))[0] not in bins.cells_of(others)


def test_a_column_of_mostly_one_value_is_laid_out_by_the_others() -> None:
    """With 80 % zeros the quartiles coincide, and say nothing about the scale."""
    bins = NumericBins.fit(np.concatenate([np.zeros(8_000), np.random.default_rng(1).exponential(5, 2_000)]))
    assert 1 < bins.scale < 50


def test_the_most_frequent_categories_are_kept() -> None:
    names = [f"c{position}" for position in range(MAX_CATEGORIES + 1)]
    bins = CategoryBins.fit(names, distinct=len(names))
    assert bins.categories == tuple(names[:-1])
    assert not bins.complete
    assert CategoryBins.fit(["a"], distinct=1).complete
