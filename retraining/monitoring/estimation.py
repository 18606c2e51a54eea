"""Performance without labels: what the champion's own probabilities say about it.

Confidence-based performance estimation, the method of NannyML's `CBPE` (J. Kivimäki, J. Białek, J. K.
Nurminen and W. Kuberski, Confidence-based Estimators for Predictive Performance in Model Monitoring, 2024,
arXiv:2407.08649). The scores are calibrated on the champion's holdout (isotonic regression; each class
against the rest, made to sum to one). A row that is of a class with probability p then counts with weight p
as a row of that class, and the metric of those weighted rows is the expected one. That works for every metric
that can be computed with weights; any other one of a team is averaged over labels drawn at random.

The interval covers what the labels would have shown: in each resample the holdout is drawn anew and
calibrates anew, the window's rows are drawn anew, and each gets a label by its probability. Entities are
drawn whole, and their rows get their labels by one and the same random number, as if they depended on each
other fully. The holdout's own score is computed in each resample too, so that its luck, which the estimate
has learned, cancels out of the change.

It sees covariate shift: more rows of the kind that the champion is unsure about. It cannot see concept drift:
where the same features come to mean something else, the champion is as sure of itself as ever. Only labels
show that, so an estimate does not replace a check with labels.

Regressions have no probabilities: `error_estimation` learns how large their errors are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retraining.monitoring.performance_reference import PerformanceReference
from retraining.training.bootstrap import (
    SEED,
    BootstrappedScore,
    Codes,
    entity_codes,
    percentile_interval,
    score_once,
    some_rows,
)
from retraining.training.metrics import Labels, Metric, Scores
from retraining.training.weighted import Vector

RESAMPLES = 400
MAX_SCORES = 20_000
"""Rows times classes that a resample draws from at most: the intervals of longer windows are those of
windows of this size, wider than they need be."""
MIN_REFERENCE_ROWS = 100
"""A holdout of fewer rows calibrates nothing."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimated score, and the holdout's own score in the same resamples."""

    score: BootstrappedScore
    holdout: Vector
    """(resamples,), one for one with `score.resamples`."""


def estimate_classification(
    metric: Metric,
    reference: PerformanceReference,
    scores: Scores,
    *,
    entities: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """The metric that `scores` (rows,) or (rows, classes) are expected to have once their labels are known.

    Where the metric is undefined in more than a tenth of the resamples, the interval is infinite.
    """
    rng = np.random.default_rng(seed)
    calibration = _Calibration(reference)
    codes = None if entities is None else entity_codes(entities)
    expected = _expected(metric, scores, calibration.probabilities(scores))

    classes = 2 if scores.ndim == 1 else scores.shape[1]
    most = max(MAX_SCORES // (classes - 1), 1_000)
    rows = some_rows(len(scores), codes, rng, most)
    part = scores[rows]
    units = np.arange(len(part)) if codes is None else _from_zero(codes[rows])
    held = some_rows(len(reference.labels), reference.entities, rng, most)
    held_labels, held_scores = reference.labels[held], reference.scores[held]
    held_units = (
        np.arange(len(held_labels)) if reference.entities is None else _from_zero(reference.entities[held])
    )
    sampled = _Calibration(reference, held)

    drawn, before = np.empty(resamples), np.empty(resamples)
    for index in range(resamples):
        weights = _drawn_weights(held_units, rng)
        probabilities = sampled.probabilities(part, weights)
        chosen = np.repeat(np.arange(len(part)), _drawn_weights(units, rng).astype(np.intp))
        labels = _labels_by_chance(probabilities[chosen], rng.random(units.max() + 1)[units[chosen]])
        drawn[index] = score_once(metric, labels, part[chosen])
        again = np.repeat(np.arange(len(held_labels)), weights.astype(np.intp))
        before[index] = score_once(metric, held_labels[again], held_scores[again])
    if expected is None:
        expected = float(np.nanmean(drawn))
    else:
        of_part = _expected(metric, part, calibration.probabilities(part))
        of_holdout = _expected(metric, reference.scores, calibration.probabilities(reference.scores))
        assert of_part is not None
        assert of_holdout is not None  # whether there is one depends on the metric alone
        # What the calibration gets wrong on the holdout itself it gets wrong here.
        error = score_once(metric, reference.labels, reference.scores) - of_holdout
        drawn += expected - of_part + error
        expected += error
    defined = np.isfinite(drawn) & np.isfinite(before)
    interval = percentile_interval(drawn[defined], resamples, 0.95)
    return Estimate(BootstrappedScore(expected, interval, drawn[defined]), before[defined])


class _Calibration:
    """Isotonic regressions of labels on scores, prepared so that many resamples are fitted quickly."""

    def __init__(self, reference: PerformanceReference, rows: Codes | slice = slice(None)) -> None:
        labels, scores = reference.labels[rows], reference.scores[rows]
        self._multiclass = scores.ndim == 2
        columns = scores.T if self._multiclass else scores[None]
        self._curves = []
        for index, column in enumerate(columns):
            values, places = np.unique(column, return_inverse=True)
            positive = (labels == (index if self._multiclass else 1)).astype(np.float64)
            self._curves.append((values, places, positive))

    def probabilities(self, scores: Scores, weights: Vector | None = None) -> Vector:
        """Calibrated scores; (rows,) of the positive class, or rows x classes that sum to one."""
        if not self._multiclass:
            return self._calibrated(0, scores, weights)
        each = np.stack([self._calibrated(index, column, weights) for index, column in enumerate(scores.T)])
        total = each.sum(axis=0)
        # Where no class is possible by the calibration, the champion's own probabilities stand.
        return np.where(total > 0, each / np.where(total > 0, total, 1), scores.T).T

    def _calibrated(self, index: int, scores: Vector, weights: Vector | None) -> Vector:
        from sklearn.isotonic import isotonic_regression

        values, places, positive = self._curves[index]
        total = np.bincount(places, weights=weights, minlength=len(values)).astype(np.float64)
        hits = np.bincount(
            places, weights=positive if weights is None else positive * weights, minlength=len(values)
        )
        seen = total > 0
        fitted = isotonic_regression(
            hits[seen] / total[seen], sample_weight=total[seen], y_min=0.0, y_max=1.0
        )
        return np.asarray(np.interp(scores, values[seen], fitted))


def _expected(metric: Metric, scores: Scores, probabilities: Vector) -> float | None:
    """The metric of rows that are of every class at once, each with its probability as weight.

    None if the metric cannot be computed with weights.
    """
    rows = len(scores)
    each = np.stack([1 - probabilities, probabilities]) if scores.ndim == 1 else probabilities.T
    labels = np.repeat(np.arange(len(each), dtype=np.float64), rows)
    repeated = np.concatenate([scores] * len(each))
    weights = each.ravel()
    if metric.per_row is not None:
        return float(weights @ metric.per_row(labels, repeated) / weights.sum())
    if metric.weighted is not None:
        return float(metric.weighted(labels, repeated, weights[None])[0])
    return None


def _drawn_weights(units: Codes, rng: np.random.Generator) -> Vector:
    """(rows,) how often each row is drawn, with its whole unit."""
    count = int(units.max()) + 1
    return np.bincount(rng.integers(0, count, count), minlength=count)[units].astype(np.float64)


def _labels_by_chance(probabilities: Vector, uniform: Vector) -> Labels:
    if probabilities.ndim == 1:
        return np.asarray(uniform < probabilities, dtype=np.float64)
    reached = np.cumsum(probabilities, axis=1)
    drawn = (uniform[:, None] > reached).sum(axis=1)
    return np.asarray(np.minimum(drawn, probabilities.shape[1] - 1), dtype=np.float64)


def _from_zero(codes: Codes) -> Codes:
    return np.unique(codes, return_inverse=True)[1].astype(np.intp)
