"""How sure an improvement is, or one version's score: percentile bootstraps.

An improvement is paired: both versions score the same rows, and each resample draws the same rows for both,
so what makes a row hard for both cancels out. B. Efron and R. Tibshirani, An Introduction to the Bootstrap
(1993), ch. 13 (percentile interval); where an entity has several rows, whole entities are drawn, because its
rows are not independent (the cluster bootstrap: A. C. Davison and D. V. Hinkley, Bootstrap Methods and Their
Application (1997), 3.8).

Cost and memory are bounded whatever the size of the holdout. A metric that is a mean of row losses uses all
rows: beyond `MAX_BLOCKS` units they are merged at random into blocks, which leaves the variance of a mean
as it is. Any other metric is resampled on at most `MAX_ROWS` rows drawn once at random, and the resamples are
centred on the estimate over all rows: the interval is then wider than it need be, never narrower.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retraining.training.metrics import Labels, Metric, Scores
from retraining.training.weighted import Vector, Weights

SEED = 1997
MAX_ROWS = 50_000
MAX_BLOCKS = 20_000
_BATCH_CELLS = 400_000
"""Cells of one batch of weights (resamples x rows): 3 MB, so that it stays near the processor."""
_MIN_DEFINED = 0.9
"""Share of resamples in which the metric must be defined for their quantiles to mean anything."""

Codes = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """A confidence interval in the metric's unit; of an improvement, above zero the newer score is better."""

    low: float
    high: float
    confidence: float

    @property
    def tells_nothing_apart(self) -> bool:
        """Whether the versions scored the same on every resample, as those do that predict alike."""
        return self.low == self.high == 0


@dataclass(frozen=True, eq=False)
class Improvement:
    """How much better the challenger is than the champion, and how sure that is."""

    estimate: float
    """On all rows of the holdout."""
    interval: Interval
    resamples: Vector
    """The improvement in each resample in which the metric is defined."""


@dataclass(frozen=True, eq=False)
class BootstrappedScore:
    """One version's score on some rows, and how sure that is."""

    estimate: float
    """On all of the rows."""
    interval: Interval
    """Infinite where too few resamples define the metric."""
    resamples: Vector
    """The score in each resample in which the metric is defined."""


def bootstrap_improvement(
    metric: Metric,
    labels: Labels,
    champion: Scores,
    challenger: Scores,
    *,
    entities: npt.ArrayLike | None = None,
    resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = SEED,
) -> Improvement:
    """The challenger's improvement over the champion on the same rows, with its bootstrap interval.

    `entities` (rows,) names each row's entity where the rows are not independent. Where the metric is
    undefined in more than a tenth of the resamples (one class only), the interval is infinite.
    """
    estimate = metric.improvement(metric.compute(labels, champion), metric.compute(labels, challenger))
    rng = np.random.default_rng(seed)
    codes = None if entities is None else entity_codes(entities)
    if metric.per_row is not None:
        losses = metric.per_row(labels, champion) - metric.per_row(labels, challenger)
        gains = losses if metric.direction == "minimize" else -losses
        drawn = _resampled_means(gains, codes, resamples, rng)
    else:
        rows = some_rows(len(labels), codes, rng)
        part = (labels[rows], champion[rows], challenger[rows])

        def improvements(weights: Weights) -> Vector:
            before, after = (weighted_scores(metric, part[0], scores, weights) for scores in part[1:])
            return after - before if metric.direction == "maximize" else before - after

        part_codes = None if codes is None else entity_codes(codes[rows])
        drawn = _resampled(improvements, len(part[0]), part_codes, resamples, rng)
        if len(part[0]) < len(labels):
            of_part = metric.improvement(metric.compute(part[0], part[1]), metric.compute(part[0], part[2]))
            drawn += estimate - of_part
    defined = drawn[np.isfinite(drawn)]
    return Improvement(estimate, percentile_interval(defined, resamples, confidence), defined)


def bootstrap_score(
    metric: Metric,
    labels: Labels,
    scores: Scores,
    *,
    entities: npt.ArrayLike | None = None,
    resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = SEED,
) -> BootstrappedScore:
    """One version's metric on its rows, with its bootstrap interval; `entities` as above.

    An undefined metric (one class only) is NaN, with an infinite interval.
    """
    estimate = _score(metric, labels, scores)
    rng = np.random.default_rng(seed)
    codes = None if entities is None else entity_codes(entities)
    if metric.per_row is not None:
        drawn = _resampled_means(metric.per_row(labels, scores), codes, resamples, rng)
    else:
        rows = some_rows(len(labels), codes, rng)
        part_labels, part_scores = labels[rows], scores[rows]
        part_codes = None if codes is None else entity_codes(codes[rows])
        drawn = _resampled(
            lambda weights: weighted_scores(metric, part_labels, part_scores, weights),
            len(part_labels),
            part_codes,
            resamples,
            rng,
        )
        if len(part_labels) < len(labels):
            drawn += estimate - _score(metric, part_labels, part_scores)
    defined = drawn[np.isfinite(drawn)]
    return BootstrappedScore(estimate, percentile_interval(defined, resamples, confidence), defined)


def percentile_interval(drawn: Vector, resamples: int, confidence: float) -> Interval:
    """The interval that leaves equal tails of the drawn values out; infinite if too few are defined."""
    if len(drawn) < _MIN_DEFINED * resamples:
        return Interval(-np.inf, np.inf, confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(high), confidence)


def entity_codes(entities: npt.ArrayLike) -> Codes | None:
    """Each row's entity as a number from 0; None where every row is an entity of its own."""
    distinct, codes = np.unique(np.asarray(entities), return_inverse=True)
    return None if len(distinct) == len(codes) else codes.astype(np.intp)


def some_rows(
    rows: int, codes: Codes | None, rng: np.random.Generator, most: int = MAX_ROWS
) -> Codes | slice:
    """All rows, or a random part of at most `most` made of whole entities."""
    if rows <= most:
        return slice(None)
    if codes is None:
        return np.sort(rng.choice(rows, most, replace=False))
    sizes = np.bincount(codes)
    shuffled = rng.permutation(len(sizes))
    fitting = np.searchsorted(np.cumsum(sizes[shuffled]), most, side="right")
    return np.flatnonzero(np.isin(codes, shuffled[: max(fitting, 1)]))


def _resampled_means(gains: Vector, codes: Codes | None, resamples: int, rng: np.random.Generator) -> Vector:
    """(resamples,) means over rows, from sums over units (entities, or random blocks of units) drawn."""
    units = np.arange(len(gains)) if codes is None else codes
    count = int(units.max()) + 1
    if count > MAX_BLOCKS:
        units, count = (rng.permutation(count) % MAX_BLOCKS)[units], MAX_BLOCKS
    sums = np.bincount(units, weights=gains, minlength=count)
    sizes = np.bincount(units, minlength=count).astype(np.float64)
    return np.concatenate([(w @ sums) / (w @ sizes) for w in draws(count, count, resamples, rng)])


def _resampled(
    scores_of: Callable[[Weights], Vector],
    rows: int,
    codes: Codes | None,
    resamples: int,
    rng: np.random.Generator,
) -> Vector:
    """(resamples,) values of a metric that is not a mean; NaN where it is undefined."""
    units = rows if codes is None else int(codes.max()) + 1
    return np.concatenate(
        [
            scores_of(drawn if codes is None else drawn[:, codes])
            for drawn in draws(units, rows, resamples, rng)
        ]
    )


def weighted_scores(metric: Metric, labels: Labels, scores: Scores, weights: Weights) -> Vector:
    """(resamples,) scores, one for each line of `weights`; whole numbers where `weighted` is missing."""
    if metric.weighted is not None:
        return metric.weighted(labels, scores, weights)
    repeated = [np.repeat(np.arange(len(labels)), line.astype(np.intp)) for line in weights]
    return np.array([_score(metric, labels[rows], scores[rows]) for rows in repeated])


def score_once(metric: Metric, labels: Labels, scores: Scores) -> float:
    """The metric, by NumPy where it can be; NaN where it is undefined."""
    if metric.per_row is not None:
        return float(metric.per_row(labels, scores).mean())
    if metric.weighted is not None:
        return float(metric.weighted(labels, scores, np.ones((1, len(labels))))[0])
    return _score(metric, labels, scores)


def _score(metric: Metric, labels: Labels, scores: Scores) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of each resample with one class only
        try:
            return metric.compute(labels, scores)
        except ValueError:
            return float("nan")


def draws(units: int, rows: int, resamples: int, rng: np.random.Generator) -> Iterator[Weights]:
    """Multinomial weights, in batches of resamples x units that keep resamples x rows within bounds."""
    batch = max(1, _BATCH_CELLS // max(units, rows))
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        chosen = rng.integers(0, units, size=(size, units))
        chosen += np.arange(size)[:, None] * units
        counts = np.bincount(chosen.ravel(), minlength=size * units)
        yield counts.reshape(size, units).astype(np.float64)
