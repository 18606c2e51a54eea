"""A version's scores on a holdout."""

import numpy as np

from retraining.catalog.spec import ModelSpec
from retraining.errors import TrainingFailed
from retraining.training.metrics import Labels, Scores


def evaluate(spec: ModelSpec, labels: Labels, scores: Scores) -> dict[str, float]:
    """All metrics of the specification, the primary one first.

    A score that is not a finite number makes every metric NaN, which `decide_promotion` refuses.

    Raises:
        TrainingFailed: the scores do not have the shape or range of the task, or a metric of the team's own
            fails.
    """
    check_scores(spec, labels, scores)
    if not np.isfinite(scores).all():
        return {metric.name: float("nan") for metric in spec.metrics}
    values = {}
    for metric in spec.metrics:
        try:
            values[metric.name] = float(metric.compute(labels, scores))
        except Exception as exc:
            raise TrainingFailed(spec.name, f"metric {metric.name}", f"{type(exc).__name__}: {exc}") from exc
    return values


def check_scores(spec: ModelSpec, labels: Labels, scores: Scores) -> None:
    """Refuse scores that do not have the shape or range of the task. Raises TrainingFailed."""
    rows = len(labels)
    match spec.task:
        case "multiclass":
            fits, needed = scores.ndim == 2 and len(scores) == rows, f"({rows}, classes)"
        case "binary" | "regression":
            fits, needed = scores.shape == (rows,), f"({rows},)"
    if not fits:
        raise TrainingFailed(spec.name, "scoring", f"scores have the shape {scores.shape}, need {needed}")
    if spec.task == "multiclass" and labels.max() >= scores.shape[1]:
        raise TrainingFailed(
            spec.name, "scoring", f"scores for {scores.shape[1]} classes, needs {int(labels.max()) + 1}"
        )
    if spec.task != "regression" and ((scores < 0) | (scores > 1)).any():
        raise TrainingFailed(
            spec.name,
            "scoring",
            f"probabilities lie in {scores.min():.3g} to {scores.max():.3g}, need 0 to 1",
        )
