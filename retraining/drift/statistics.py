"""How different two distributions are: pure functions on counts in the same bins.

All grow with the difference and are 0 for equal proportions. `reference` and `current` are aligned arrays of
non-negative counts, each with at least one value. The conventions are those of Evidently 0.7, so that scores
can be compared with its reports.
"""

import numpy as np

from retraining.drift.bins import Floats, Integers

Counts = Integers | Floats

EMPTY_BIN = 1e-4
"""Share that stands for an empty bin in the PSI, whose logarithm does not take zero."""


def population_stability_index(reference: Counts, current: Counts) -> float:
    """Population stability index: the sum of (p - q) ln(p / q), from 0 without bound.

    Source: Siddiqi, Credit Risk Scorecards (2006); by convention below 0.1 stable, above 0.25 shifted. An
    empty bin counts as 0.0001, or as a millionth of the smallest share if that is smaller (Evidently).
    """
    p, q = _filled(_shares(reference)), _filled(_shares(current))
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon_distance(reference: Counts, current: Counts) -> float:
    """Jensen-Shannon distance: the root of the divergence in nats, from 0 to sqrt(ln 2) = 0.833.

    Source: Lin (1991), Endres and Schindelin (2003). SciPy and Evidently take natural logarithms as here;
    with base 2, as in NannyML, the same distance reads 1.2011 times as much.
    """
    p, q = _shares(reference), _shares(current)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def wasserstein_distance(positions: Floats, reference: Counts, current: Counts, unit: float) -> float:
    """First Wasserstein (earth mover's) distance in multiples of `unit`, from 0 without bound.

    Values sit at `positions` (ascending). With the reference's standard deviation as the unit it is
    Evidently's "Wasserstein distance (normed)". Source: Vallender (1974), the area between the two
    distribution functions.
    """
    gap = np.abs(np.cumsum(_shares(reference) - _shares(current)))[:-1]
    return float(np.sum(gap * np.diff(positions)) / unit)


def kolmogorov_smirnov_distance(reference: Counts, current: Counts) -> float:
    """Kolmogorov-Smirnov statistic: the largest gap of the distribution functions, from 0 to 1.

    Bins ascend. Source: Smirnov (1939).
    """
    return float(np.max(np.abs(np.cumsum(_shares(reference) - _shares(current)))))


def chi_square_distance(reference: Counts, current: Counts) -> float:
    """Chi-square distance: the root of half the sum of (p - q)^2 / (p + q), from 0 to 1.

    For windows of equal size it is Cramér's V of the two-sample chi-square test; unlike V it does not
    change with the sizes. Source: Vincze (1981), Le Cam (1986).
    """
    p, q = _shares(reference), _shares(current)
    seen = p + q > 0
    return float(np.sqrt(np.sum((p - q)[seen] ** 2 / (p + q)[seen]) / 2))


def _shares(counts: Counts) -> Floats:
    shares: Floats = counts / counts.sum()
    return shares


def _relative_entropy(p: Floats, q: Floats) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / q[there])))


def _filled(shares: Floats) -> Floats:
    smallest = shares[shares > 0].min()
    filled: Floats = np.where(shares > 0, shares, smallest / 1e6 if smallest <= EMPTY_BIN else EMPTY_BIN)
    return filled
