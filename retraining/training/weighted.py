"""Metrics of many resamples at once: NumPy over a matrix of row weights.

A bootstrap resample is a row of whole-number weights, so a metric that can be written with weights is
computed for a whole batch of resamples without copying the data. `tests/training/test_metrics.py` holds each
of these to scikit-learn's own value.
"""

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]
"""resamples x rows: how often each row is in each resample."""


def predicted_classes(scores: Vector) -> Vector:
    """(rows,) class indices. A binary tie at one half goes to class 0, as scikit-learn's argmax does."""
    winners = scores > 0.5 if scores.ndim == 1 else scores.argmax(axis=1)
    return np.asarray(winners, dtype=np.float64)


def hits(labels: Vector, scores: Vector) -> Vector:
    """(rows,) 1 where the predicted class is right."""
    return np.asarray(predicted_classes(scores) == labels, dtype=np.float64)


def log_losses(labels: Vector, scores: Vector) -> Vector:
    """(rows,) negative log likelihoods of binary labels, in nats; probabilities kept off 0 and 1."""
    return -np.log(_inside(np.where(labels == 1, scores, 1 - scores)))


def log_losses_multiclass(labels: Vector, scores: Vector) -> Vector:
    """(rows,) negative log likelihoods of the true classes, in nats."""
    return -np.log(_inside(scores[np.arange(len(labels)), labels.astype(np.intp)]))


def squared_errors(labels: Vector, scores: Vector) -> Vector:
    """(rows,) squared errors; of probabilities, Brier's score."""
    return (labels - scores) ** 2


def absolute_errors(labels: Vector, scores: Vector) -> Vector:
    """(rows,) absolute errors."""
    return np.abs(labels - scores)


def percentage_errors(labels: Vector, scores: Vector) -> Vector:
    """(rows,) absolute errors as shares of the label; huge where the label is zero."""
    return np.abs(labels - scores) / np.maximum(np.abs(labels), np.finfo(np.float64).eps)


def roc_auc(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) areas under the ROC curve, ties counting half; NaN where a class is missing."""
    positives, negatives = _by_score(labels, scores, weights, descending=False)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return _ratio((positives * below).sum(axis=1), pairs)


def roc_auc_ovr(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) mean over the classes that the resample holds of class-against-the-rest areas."""
    present = np.unique(labels).astype(np.intp)
    areas = [roc_auc((labels == index).astype(np.float64), scores[:, index], weights) for index in present]
    return _mean_of_defined(np.array(areas))


def average_precision(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) average precisions (no interpolation); NaN where there is no positive."""
    positives, negatives = _by_score(labels, scores, weights, descending=True)
    found = np.cumsum(positives, axis=1)
    precision = np.nan_to_num(_ratio(found, found + np.cumsum(negatives, axis=1)))
    return _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))


def f1(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) F1 of class 1; 0 where it is neither there nor predicted."""
    return np.nan_to_num(_f1_of_class(labels, predicted_classes(scores), 1, weights))


def f1_macro(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) mean F1 over the classes that are there or predicted."""
    predicted = predicted_classes(scores)
    each = [_f1_of_class(labels, predicted, index, weights) for index in range(scores.shape[1])]
    return _mean_of_defined(np.array(each))


def rmse(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) root mean squared errors."""
    return np.sqrt(_ratio(weights @ squared_errors(labels, scores), weights.sum(axis=1)))


def r2(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) shares of explained variance, each against its own resample's mean."""
    centred = labels - labels.mean()  # the variance below is a difference of two sums: keep them small
    total = weights @ centred**2 - _ratio((weights @ centred) ** 2, weights.sum(axis=1))
    return 1 - _ratio(weights @ squared_errors(labels, scores), total)


def median_absolute_error(labels: Vector, scores: Vector, weights: Weights) -> Vector:
    """(resamples,) medians of the absolute errors; the mean of the middle two where their number is even."""
    errors = absolute_errors(labels, scores)
    order = np.argsort(errors)
    ordered, reached = errors[order], np.cumsum(weights[:, order], axis=1)
    rows = reached[:, -1:]
    lower = (reached <= (rows - 1) // 2).sum(axis=1)
    upper = (reached <= rows // 2).sum(axis=1)
    return np.asarray((ordered[lower] + ordered[upper]) / 2)


def _by_score(
    labels: Vector, scores: Vector, weights: Weights, *, descending: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights of positives and of negatives, resamples x distinct scores, in the order of the scores."""
    order = np.argsort(-scores if descending else scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sorted_weights = weights[:, order]
    positives = sorted_weights * labels[order]
    negatives = sorted_weights - positives
    if len(starts) == len(order):
        return positives, negatives
    return np.add.reduceat(positives, starts, axis=1), np.add.reduceat(negatives, starts, axis=1)


def _f1_of_class(labels: Vector, predicted: Vector, index: int, weights: Weights) -> Vector:
    """(resamples,) F1 of one class; NaN where it is neither there nor predicted."""
    there, said = labels == index, predicted == index
    both = weights @ (there & said).astype(np.float64)
    return _ratio(2 * both, weights @ (there.astype(np.float64) + said))


def _inside(probabilities: Vector) -> Vector:
    eps = np.finfo(np.float64).eps
    return np.asarray(np.clip(probabilities, eps, 1 - eps))


def _ratio(above: Vector, below: Vector) -> Vector:
    ratios: Vector = np.full(np.shape(above), np.nan)
    return np.divide(above, below, out=ratios, where=below > 0)


def _mean_of_defined(values: npt.NDArray[np.float64]) -> Vector:
    """Means over the first axis, leaving NaN out; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))
