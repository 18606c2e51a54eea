"""A regression's errors without labels: learned on the champion's holdout, predicted for today's rows.

The method of NannyML's `DLE`, direct loss estimation (NannyML documentation, How it works: Performance
Estimation): a second model learns, from the features and the champion's prediction, how large the champion's
error is, and the mean of its predictions estimates the metric. It is fitted at the time of the check, on the
held-out rows that the version keeps, so that no fitted model has to be stored and loaded. The level of its
predictions is set by rows that it was not fitted on (five folds), because on its own rows it is too sure.

The interval covers what the labels would have shown: rows of the window and of the holdout are drawn anew,
and what the second model does not explain is drawn from its residuals on the holdout, as large in proportion
as the errors it predicts. It sees covariate shift and, as everything without labels, no concept drift. Rows
beyond all that the holdout holds count with the errors at its edge.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retraining.catalog.spec import ModelSpec
from retraining.errors import UnusableFeatures
from retraining.monitoring.estimation import RESAMPLES, Estimate
from retraining.monitoring.performance_reference import PerformanceReference
from retraining.training.bootstrap import SEED, BootstrappedScore, Codes, entity_codes, percentile_interval
from retraining.training.inputs import features_of
from retraining.training.metrics import Metric, Scores
from retraining.training.weighted import Vector, squared_errors

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingRegressor

FOLDS = 5


def estimate_regression(
    metric: Metric,
    reference: PerformanceReference,
    features: "pd.DataFrame",
    scores: Scores,
    spec: ModelSpec,
    *,
    entities: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """The metric, a mean over rows or rmse, that `scores` (rows,) are expected to have.

    Raises:
        UnusableFeatures: the features of the holdout are not those of today.
    """
    losses = _losses(metric, reference)
    known, wanted = _matrices(reference, features, scores, spec)
    fitted_elsewhere = _fitted_elsewhere(known, losses, reference.entities)
    level = losses.mean() / fitted_elsewhere.mean() if fitted_elsewhere.mean() > 0 else 1.0
    expected = level * np.maximum(_error_model().fit(known, losses).predict(wanted), 0)

    rng = np.random.default_rng(seed)
    units = _units(entities, len(expected))
    held = _units(reference.entities, len(losses))
    residuals = _unit_sums(losses - level * fitted_elsewhere, held)
    # Errors twice as large scatter twice as much.
    scale = expected.mean() / losses.mean() if losses.mean() > 0 else 1.0
    sums, sizes = _unit_sums(expected, units), np.bincount(units).astype(np.float64)
    held_sums, held_sizes = _unit_sums(losses, held), np.bincount(held).astype(np.float64)
    drawn, before = np.empty(resamples), np.empty(resamples)
    for index in range(resamples):
        chosen = rng.integers(0, len(sums), len(sums))
        again = rng.integers(0, len(held_sums), len(held_sums))
        unexplained = residuals[rng.integers(0, len(residuals), len(sums))].sum() / held_sizes.mean()
        luck = residuals[again].sum() / held_sizes[again].sum()
        drawn[index] = sums[chosen].sum() / sizes[chosen].sum() + scale * (unexplained / len(sums) + luck)
        before[index] = held_sums[again].sum() / held_sizes[again].sum()
    drawn, estimate = np.maximum(drawn, 0), float(expected.mean())
    if metric.per_row is None:
        drawn, before, estimate = np.sqrt(drawn), np.sqrt(before), float(np.sqrt(estimate))
    return Estimate(BootstrappedScore(estimate, percentile_interval(drawn, resamples, 0.95), drawn), before)


def _losses(metric: Metric, reference: PerformanceReference) -> Vector:
    """(rows,) what the metric is the mean of; of rmse, before the root."""
    if metric.per_row is not None:
        return metric.per_row(reference.labels, reference.scores)
    return squared_errors(reference.labels, reference.scores)


def _error_model() -> "HistGradientBoostingRegressor":
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=50, random_state=SEED
    )


def _fitted_elsewhere(known: npt.NDArray[np.float64], losses: Vector, entities: Codes | None) -> Vector:
    """(rows,) losses predicted by models of the other folds; an entity is in one fold only."""
    units = _units(entities, len(losses))
    folds = np.random.default_rng(SEED).permutation(units.max() + 1)[units] % FOLDS
    predicted = np.empty(len(losses))
    for fold in range(FOLDS):
        held = folds == fold
        if held.any():
            predicted[held] = _error_model().fit(known[~held], losses[~held]).predict(known[held])
    return np.maximum(predicted, 0)


def _matrices(
    reference: PerformanceReference, features: "pd.DataFrame", scores: Scores, spec: ModelSpec
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Numbers for the error model, (rows, features + 1) each: the holdout's and today's."""
    if reference.features is None or set(reference.features.columns) != set(spec.features):
        raise UnusableFeatures(
            spec.source.describe(), [("features", "are not those that the champion's holdout had")]
        )
    known = features_of(reference.features, spec)
    sides: tuple[list[Vector], list[Vector]] = ([reference.scores], [scores])
    for name in spec.features:
        before, now = known[name], features[name]
        if before.dtype == object:
            codes = {value: float(code) for code, value in enumerate(sorted(before.dropna().unique()))}
            before, now = before.map(codes), now.map(codes)  # a new category is a missing one
        elif before.dtype.kind == "M":
            before, now = (side.astype("int64").where(side.notna()) for side in (before, now))
        for side, column in zip(sides, (before, now), strict=True):
            side.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.column_stack(sides[0]), np.column_stack(sides[1])


def _units(entities: npt.ArrayLike | None, rows: int) -> Codes:
    codes = None if entities is None else entity_codes(entities)
    return np.arange(rows) if codes is None else codes


def _unit_sums(values: Vector, units: Codes) -> Vector:
    return np.bincount(units, weights=values).astype(np.float64)
