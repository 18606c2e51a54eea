"""Could chance alone make two samples this different? Tests on counts in the same bins.

Both windows are samples: every test here takes the errors of both into account. Taking the reference for the
truth, as a one-sample test does, rejects most pairs of equal distributions. Rows are taken as independent.
"""

import numpy as np
from scipy import special

from retraining.drift.bins import Integers

MAX_GROUPS = 32
LEAST_EXPECTED = 5
"""Values to expect in a cell of the smaller sample (Cochran's rule); rarer cells are joined."""


def anderson_darling_p_value(reference: Integers, current: Integers) -> float:
    """Two-sample Anderson-Darling test, on at most 32 groups of ascending bins.

    It looks at ranks only, so that heavy tails do not disturb it, and weighs center and tails alike. Ties are
    exact: the null distribution is that of the grouped data. Source: Scholz and Stephens (1987); the upper
    tail of a sum of weighted chi-squares after Zolotarev (1961).
    """
    n, m = int(reference.sum()), int(current.sum())
    pooled = np.cumsum(reference + current)
    total, smaller = n + m, min(n, m)
    groups = min(MAX_GROUPS, smaller // LEAST_EXPECTED)
    cuts = np.unique(np.searchsorted(pooled, total * np.arange(1, groups) / groups))
    below = pooled[cuts] / total
    cuts = cuts[np.minimum(below, 1 - below) * smaller >= LEAST_EXPECTED]
    if not len(cuts):
        return 1.0
    below = pooled[cuts] / total
    masses = np.diff(below, prepend=0.0, append=1.0)
    weights = (masses[:-1] + masses[1:]) / 2 / (below * (1 - below))
    gaps = np.cumsum(reference)[cuts] / n - np.cumsum(current)[cuts] / m
    statistic = n * m / total * float(np.sum(weights * gaps**2))
    covariance = np.minimum.outer(below, below) - np.outer(below, below)
    roots = np.sqrt(weights)
    eigenvalues = np.linalg.eigvalsh(roots[:, None] * covariance * roots)[::-1]
    largest, others = eigenvalues[0], eigenvalues[1:]
    factor = np.prod(1 / np.sqrt(1 - others[others > 0] / largest))
    return float(min(1.0, factor * special.chdtrc(1, statistic / largest)))


def kolmogorov_smirnov_p_value(reference: Integers, current: Integers, distance: float) -> float:
    """Two-sample Kolmogorov-Smirnov test of a `distance`. Source: Smirnov (1948), the limit distribution.

    On the safe side for ties and bins.
    """
    n, m = int(reference.sum()), int(current.sum())
    return float(special.kolmogorov(distance * np.sqrt(n * m / (n + m))))


def chi_square_p_value(reference: Integers, current: Integers, others: tuple[int, int] = (0, 0)) -> float:
    """Two-sample chi-square test of homogeneity (Pearson 1911).

    Cells in which the smaller sample would have fewer than 5 values are joined to one, and with them
    `others`, the values outside of all cells. These must not be a cell of their own: the cells are the
    reference's categories, so a rare category that by chance came in the current sample only is among the
    others, and one that came in the reference only is not. With nothing left to compare the answer is 1.
    """
    n, m = int(reference.sum()) + others[0], int(current.sum()) + others[1]
    rare = (reference + current) * (min(n, m) / (n + m)) < LEAST_EXPECTED
    r = np.append(reference[~rare], reference[rare].sum() + others[0])
    c = np.append(current[~rare], current[rare].sum() + others[1])
    expected = (r + c) / (n + m)
    if expected[-1] * min(n, m) < LEAST_EXPECTED:  # even together they are too rare to say anything
        r, c, expected = r[:-1], c[:-1], expected[:-1]
    if len(expected) < 2:
        return 1.0
    gaps = r / n - c / m
    statistic = n * m / (n + m) * float(np.sum(gaps**2 / expected))
    return float(special.chdtrc(len(expected) - 1, statistic))


def proportion_p_value(hits: int, rows: int, current_hits: int, current_rows: int) -> float:
    """Fisher's exact test (1934) of two proportions, two-sided by doubling the smaller tail."""
    both, total = hits + current_hits, rows + current_rows
    least, most = max(0, both - rows), min(both, current_rows)
    rising = current_hits * rows >= hits * current_rows
    # Away from the expected value the terms only fall: 10,000 of them are the whole tail.
    tail = (
        np.arange(current_hits, min(most, current_hits + 10_000) + 1)
        if rising
        else np.arange(max(least, current_hits - 10_000), current_hits + 1)
    )
    log_terms = (
        _log_binomial(current_rows, tail)
        + _log_binomial(rows, both - tail)
        - _log_binomial(total, np.asarray(both))
    )
    return float(min(1.0, 2 * np.exp(log_terms).sum()))


def most_unseen(singletons: int, rows: int, alpha: float) -> float:
    """Upper bound, wrong with a chance of `alpha`, of the share of rows whose category a sample did not see.

    The unseen share is about that of the categories seen once (Good 1953); how many of these there are is
    Poisson, whose exact upper bound is Garwood's (1936). Without any it is ln(1 / alpha) / rows.
    """
    return float(min(1.0, special.gammainccinv(singletons + 1, alpha) / rows))


def at_least_p_value(hits: int, rows: int, share: float) -> float:
    """Chance of `hits` or more in `rows` where each row hits with a chance of `share` (binomial)."""
    if hits <= 0 or share >= 1:
        return 1.0
    return float(special.betainc(hits, rows - hits + 1, share))


def _log_binomial(n: int, k: Integers) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    terms: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (
        special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    )
    return terms
