"""Comparing one column's values in the reference and in the current window."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from retraining.drift import calibration, significance, statistics
from retraining.drift.bins import CELLS, Floats, Integers, NumericBins
from retraining.drift.counts import CategoryCounts, NumericCounts
from retraining.drift.kinds import Kind
from retraining.drift.methods import Method, choose_method

MAX_VALUES_AS_CATEGORIES = 20
"""Up to so many distinct numbers PSI and Jensen-Shannon go by value, beyond by histogram (as Evidently)."""
HEAVY_TAIL_ROWS = 0.001
HEAVY_TAIL_SHARE = 0.8
"""A column is heavy-tailed if its farthest 0.1 % of rows make up four fifths of its variance."""
LEAST_STD = 1e-3
"""Unit of the Wasserstein distance where the reference is constant (Evidently's lower bound)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a column's values have moved, and how far chance would move them."""

    method: Method
    score: float
    noise_level: float
    """The score that chance exceeds with the chance `alpha` it was asked for."""
    p_value: float
    """Of a test that does not depend on the score's own distribution."""


def compare_numbers(
    wanted: Method | Literal["auto"],
    kind: Kind,
    bins: NumericBins,
    reference: NumericCounts,
    current: NumericCounts,
    alpha: float,
) -> Comparison:
    """Compare two windows of a numeric or datetime column; both have values."""
    column = _Aligned(bins, reference, current)
    distinct = None if bins.values is None else len(column.positions)
    heavy_tailed = column.is_heavy_tailed(reference.mean)
    method = choose_method(wanted, kind, distinct=distinct, heavy_tailed=heavy_tailed)
    rows, current_rows = reference.present, current.present
    if method == "kolmogorov_smirnov":
        score = statistics.kolmogorov_smirnov_distance(column.reference, column.current)
        noise = calibration.kolmogorov_smirnov_noise(rows, current_rows, alpha)
        p_value = significance.kolmogorov_smirnov_p_value(column.reference, column.current, score)
        return Comparison(method, score, noise, p_value)
    if method == "wasserstein":
        unit = _unit(reference)
        score = statistics.wasserstein_distance(column.positions, column.reference, column.current, unit)
        noise = calibration.wasserstein_noise(column.positions, column.reference, unit, current_rows, alpha)
    else:
        by_value = bins.values is not None and len(bins.values) <= MAX_VALUES_AS_CATEGORIES
        r, c = (column.reference, column.current) if by_value else column.histograms()
        score = _cell_by_cell(method, r, c)
        noise = calibration.chi_square_noise(method, int(np.count_nonzero(r)), rows, current_rows, alpha)
    p_value = significance.anderson_darling_p_value(column.reference, column.current)
    return Comparison(method, score, noise, p_value)


def compare_categories(
    wanted: Method | Literal["auto"],
    kind: Kind,
    reference: CategoryCounts,
    current: CategoryCounts,
    alpha: float,
) -> Comparison:
    """Compare two windows of a categorical or boolean column; both have values."""
    r = np.append(reference.counts, reference.other)
    c = np.append(current.counts, current.other)
    method = choose_method(wanted, kind, distinct=len(reference.counts), heavy_tailed=False)
    return Comparison(
        method,
        score=_cell_by_cell(method, r, c),
        noise_level=calibration.chi_square_noise(
            method, int(np.count_nonzero(r)), reference.present, current.present, alpha
        ),
        p_value=significance.chi_square_p_value(
            reference.counts, current.counts, (reference.other, current.other)
        ),
    )


def _cell_by_cell(method: Method, reference: Floats | Integers, current: Floats | Integers) -> float:
    match method:
        case "psi":
            return statistics.population_stability_index(reference, current)
        case "jensen_shannon":
            return statistics.jensen_shannon_distance(reference, current)
        case "chi_square":
            return statistics.chi_square_distance(reference, current)
        case "wasserstein" | "kolmogorov_smirnov":
            raise ValueError(f"{method} needs ordered values")


def _unit(reference: NumericCounts) -> float:
    """The reference's standard deviation, unless it is but rounding errors."""
    is_constant = reference.std <= 1e-12 * max(abs(reference.minimum), abs(reference.maximum))
    return LEAST_STD if is_constant else reference.std


class _Aligned:
    """Two windows of a numeric column in the cells that either has values in, ascending."""

    def __init__(self, bins: NumericBins, reference: NumericCounts, current: NumericCounts) -> None:
        is_used = np.zeros(CELLS, np.bool_)
        is_used[reference.cells] = is_used[current.cells] = True
        cells = np.flatnonzero(is_used)
        self.reference = np.zeros(len(cells), np.int64)
        self.current = np.zeros(len(cells), np.int64)
        self.reference[np.searchsorted(cells, reference.cells)] = reference.counts
        self.current[np.searchsorted(cells, current.cells)] = current.counts
        self._least = min(reference.minimum, current.minimum)
        self._most = max(reference.maximum, current.maximum)
        self._integers = reference.integers and current.integers
        lower, upper = bins.bounds(cells)
        self._lower = np.clip(lower, self._least, self._most)
        self._upper = np.clip(upper, self._least, self._most)
        self.positions: Floats = (self._lower + self._upper) / 2

    def is_heavy_tailed(self, mean: float) -> bool:
        """Whether the farthest 0.1 % of the reference's rows make up four fifths of its variance."""
        squares = (self.positions - mean) ** 2
        order = np.argsort(squares)[::-1]
        counts = self.reference[order]
        farthest = max(HEAVY_TAIL_ROWS * counts.sum(), 1.0)
        taken = np.clip(farthest - (np.cumsum(counts) - counts), 0, counts)
        return float(taken @ squares[order]) > HEAVY_TAIL_SHARE * float(counts @ squares[order])

    def histograms(self) -> tuple[Floats, Floats]:
        """Both windows in equally wide bins, as many as Sturges' rule gives for the two together.

        As numpy.histogram_bin_edges(both, "sturges"), which Evidently uses: bins of whole numbers are at
        least 1 wide, and only the last bin includes its upper edge.
        """
        width = (self._most - self._least) / (np.log2(self.reference.sum() + self.current.sum()) + 1)
        if self._integers:
            width = max(width, 1.0)
        count = int(np.ceil((self._most - self._least) / width)) if width > 0 else 1
        edges = np.linspace(self._least, self._most, count + 1)[1:-1, None]
        # A cell that an edge cuts is shared out as if its values were spread evenly.
        width_of_cell = self._upper - self._lower
        is_wide = width_of_cell > 0
        shares = np.clip((edges - self._lower) / np.where(is_wide, width_of_cell, 1.0), 0, 1)
        below = np.where(is_wide, shares, self._lower < edges)
        return _differences(below, self.reference), _differences(below, self.current)


def _differences(below: Floats, counts: Integers) -> Floats:
    return np.diff(below @ counts, prepend=0.0, append=float(counts.sum()))
