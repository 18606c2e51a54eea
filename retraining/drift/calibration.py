"""`threshold: auto`: how large a score must be to mean something.

Two things are asked of a score, and the threshold is the larger of the two answers.

*Does it matter?* With a million rows a negligible difference is certain, and still no reason to retrain. So
the threshold never falls below an effect size, Evidently's conventional 0.1 for every method here.

*Is it more than chance?* Two windows of the same distribution differ as well, the more the smaller they are.
Draw a reference of its size and chunks of the current window's size from the reference profile's own
proportions, and all but a share `alpha` of the scores stay below the noise level. It is computed, not drawn:
the limit distribution of such chunks is known, gives the same answer every time and costs microseconds.

These noise levels are limits for many rows and light tails. Small windows and heavy tails have their own ways
of being extreme, so a score above the threshold must also pass a test that does not depend on the tails
(significance.py), at the same `alpha`. It is this test that guarantees the rate.

A check asks several questions of several columns. So that the chance of any false alarm among them stays
under `false_alarm_rate`, each question gets an equal part of it (Bonferroni; Dunn 1961). That holds whatever
the columns have to do with each other, and so for every verdict that takes at least one drifted column.
"""

import numpy as np
from scipy import special

from retraining.drift.bins import Floats, Integers
from retraining.drift.methods import Method

QUESTIONS_PER_COLUMN = 3
"""Has the distribution moved? The share of missing values? Is it constant, or are there new categories?"""

EFFECT_SIZES: dict[Method, float] = {
    "psi": 0.1,
    "jensen_shannon": 0.1,
    "wasserstein": 0.1,
    "kolmogorov_smirnov": 0.1,
    "chi_square": 0.1,
}
"""The smallest difference that can matter: where Evidently's defaults alarm; Cohen's (1988) small effect."""


def alpha_per_question(false_alarm_rate: float, columns: int) -> float:
    """The chance of a false alarm that one question about one column may take."""
    return false_alarm_rate / (QUESTIONS_PER_COLUMN * max(columns, 1))


def chi_square_noise(method: Method, cells: int, rows: int, current_rows: int, alpha: float) -> float:
    """The score that chance exceeds with probability `alpha`, of a method that compares shares cell by cell.

    To first order PSI, 8 JS^2 and 4 times the squared chi-square distance are the same sum, which is
    (1/n + 1/m) times a chi-square of cells - 1 degrees of freedom. Source: Yurdakul, Statistical Properties
    of the Population Stability Index (2018).
    """
    noise = (1 / rows + 1 / current_rows) * float(special.chdtri(max(cells - 1, 1), alpha))
    match method:
        case "psi":
            return noise
        case "jensen_shannon":
            return min(float(np.sqrt(noise / 8)), float(np.sqrt(np.log(2))))
        case "chi_square":
            return min(float(np.sqrt(noise / 4)), 1.0)
        case _:
            raise ValueError(f"{method} does not compare cell by cell")


def kolmogorov_smirnov_noise(rows: int, current_rows: int, alpha: float) -> float:
    """The distance that chance exceeds with probability `alpha`. Source: Smirnov (1948)."""
    return min(float(special.kolmogi(alpha) * np.sqrt(1 / rows + 1 / current_rows)), 1.0)


def wasserstein_noise(
    positions: Floats, reference: Integers, unit: float, current_rows: int, alpha: float
) -> float:
    """The distance, in `unit`, that chance exceeds with a probability of at most `alpha`.

    The gap of two empirical distribution functions tends to a Brownian bridge B(F), and the distance to the
    integral of its modulus (del Barrio, Giné and Matrán 1999). The mean of that is an integral over F. The
    integral of B itself has the variance of the values, so that Borell's inequality (1975) bounds what
    exceeds the mean by a normal variable with their standard deviation.
    """
    rows = int(reference.sum())
    below = np.cumsum(reference)[:-1] / rows
    mean = np.sqrt(2 / np.pi) * float(np.sum(np.sqrt(below * (1 - below)) * np.diff(positions)))
    deviation = float(np.sqrt(np.cov(positions, fweights=reference, ddof=0)))
    size = np.sqrt(1 / rows + 1 / current_rows)
    return float(size * (mean - special.ndtri(alpha) * deviation) / unit)
