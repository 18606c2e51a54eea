"""The metrics by which versions are compared.

Scores of a version are computed by scikit-learn, imported at the place of use so that this module stays
cheap. What resampling needs on top (`per_row`, `weighted`) is NumPy alone and agrees with scikit-learn to
rounding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from retraining.training import weighted
from retraining.training.weighted import Weights

Task = Literal["binary", "multiclass", "regression"]

Scores = npt.NDArray[np.float64]
"""(rows,) probabilities of the positive class (binary) or values (regression); (rows, classes) probabilities
(multiclass), columns in the sorted order of the classes."""
Labels = npt.NDArray[np.float64]
"""(rows,) 0 or 1 (binary), class index (multiclass) or value (regression)."""


@dataclass(frozen=True)
class Metric:
    """A named score of predictions against labels, and which way is better.

    `name`, `direction`, `tasks` and `compute` make a metric. `per_row` or `weighted`, where there is such a
    thing, make its bootstrap interval fast; without them it is computed once per resample.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    tasks: tuple[Task, ...]
    compute: Callable[[Labels, Scores], float]
    per_row: Callable[[Labels, Scores], npt.NDArray[np.float64]] | None = None
    """(rows,) losses whose mean is the metric, where there is such a thing: makes resampling cheap."""
    weighted: Callable[[Labels, Scores, Weights], npt.NDArray[np.float64]] | None = None
    """(resamples,) scores, one for each line of a resamples x rows matrix of row weights."""

    def improvement(self, champion: float, challenger: float) -> float:
        """How much better the challenger is, in the metric's unit; negative if it is worse."""
        return challenger - champion if self.direction == "maximize" else champion - challenger


def find_metric(metric: str | Metric) -> Metric:
    """The metric of this name; a metric passes through.

    Raises:
        ValueError: for a name that is not in the table, listing the names that are.
    """
    if isinstance(metric, Metric):
        return metric
    try:
        return METRICS[metric]
    except KeyError:
        raise ValueError(f"unknown metric {metric!r}; known metrics: {', '.join(sorted(METRICS))}") from None


def _score(function: str, labels: Labels, scores: Scores, /, **options: Any) -> float:
    """A function of `sklearn.metrics` on scores."""
    from sklearn import metrics

    return float(getattr(metrics, function)(labels, scores, **options))


def _score_classes(function: str, labels: Labels, scores: Scores, /, **options: Any) -> float:
    """A function of `sklearn.metrics` on predicted classes."""
    return _score(function, labels, weighted.predicted_classes(scores), **options)


def _roc_auc_ovr(labels: Labels, scores: Scores) -> float:
    """Mean over the classes that the labels hold of the class-against-the-rest AUC."""
    present = np.unique(labels).astype(int)
    if len(present) < 2:
        return float("nan")
    return float(np.mean([_score("roc_auc_score", labels == index, scores[:, index]) for index in present]))


def _log_loss_multiclass(labels: Labels, scores: Scores) -> float:
    return _score("log_loss", labels, scores, labels=list(range(scores.shape[1])))


_roc_auc = partial(_score, "roc_auc_score")
_average_precision = partial(_score, "average_precision_score")
_log_loss = partial(_score, "log_loss", labels=[0, 1])
_brier = partial(_score, "brier_score_loss")
_accuracy = partial(_score_classes, "accuracy_score")
_f1 = partial(_score_classes, "f1_score", zero_division=0)
_f1_macro = partial(_score_classes, "f1_score", average="macro", zero_division=0)
_mae = partial(_score, "mean_absolute_error")
_rmse = partial(_score, "root_mean_squared_error")
_r2 = partial(_score, "r2_score")
_mape = partial(_score, "mean_absolute_percentage_error")
_median_ae = partial(_score, "median_absolute_error")

_binary: tuple[Task, ...] = ("binary",)
_multi: tuple[Task, ...] = ("multiclass",)
_regression: tuple[Task, ...] = ("regression",)
_w = weighted  # keeps the table's rows on one line each

_TABLE = (
    Metric("roc_auc", "maximize", _binary, _roc_auc, weighted=_w.roc_auc),
    Metric("average_precision", "maximize", _binary, _average_precision, weighted=_w.average_precision),
    Metric("log_loss", "minimize", _binary, _log_loss, per_row=_w.log_losses),
    Metric("brier", "minimize", _binary, _brier, per_row=_w.squared_errors),
    Metric("accuracy", "maximize", _binary, _accuracy, per_row=_w.hits),
    Metric("f1", "maximize", _binary, _f1, weighted=_w.f1),
    Metric("roc_auc_ovr", "maximize", _multi, _roc_auc_ovr, weighted=_w.roc_auc_ovr),
    Metric("log_loss_multiclass", "minimize", _multi, _log_loss_multiclass, per_row=_w.log_losses_multiclass),
    Metric("accuracy_multiclass", "maximize", _multi, _accuracy, per_row=_w.hits),
    Metric("f1_macro", "maximize", _multi, _f1_macro, weighted=_w.f1_macro),
    Metric("mae", "minimize", _regression, _mae, per_row=_w.absolute_errors),
    Metric("rmse", "minimize", _regression, _rmse, weighted=_w.rmse),
    Metric("r2", "maximize", _regression, _r2, weighted=_w.r2),
    Metric("mape", "minimize", _regression, _mape, per_row=_w.percentage_errors),
    Metric("median_absolute_error", "minimize", _regression, _median_ae, weighted=_w.median_absolute_error),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
"""Every metric with a name. Multiclass metrics are macro averages over classes where they average at all."""
