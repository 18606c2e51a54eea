"""Models ready to score: one code path for the model just trained and the one loaded from the registry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retraining.errors import UnsupportedModel

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EstimatorScoring:
    """An estimator with scikit-learn's interface: probabilities if it classifies, else predictions.

    A classifier's labels are 0 and 1, or class indices; the positive class is 1.
    """

    estimator: Any
    model_name: str

    def score(self, features: pd.DataFrame) -> Scores:
        """Scores of features (rows x columns; columns that the estimator does not know are left out)."""
        from sklearn.base import is_classifier

        features = _known_columns(features, getattr(self.estimator, "feature_names_in_", None))
        if not is_classifier(self.estimator):
            return _checked(self.estimator.predict(features), len(features), self.model_name)
        if not hasattr(self.estimator, "predict_proba"):
            raise UnsupportedModel(
                self.model_name,
                f"{type(self.estimator).__name__} has no predict_proba; wrap it in CalibratedClassifierCV",
            )
        probabilities = _checked(self.estimator.predict_proba(features), len(features), self.model_name)
        classes = self.estimator.classes_
        if len(classes) > 2:
            return probabilities
        if len(classes) == 2:
            return probabilities[:, 1]
        # It has only ever seen one class.
        return np.full(len(features), float(classes[0] == 1))


@dataclass(frozen=True)
class BoosterScoring:
    """A `lightgbm.Booster`, whose predictions are scores already."""

    booster: Any
    model_name: str

    def score(self, features: pd.DataFrame) -> Scores:
        """Scores of features (rows x columns)."""
        # A booster takes columns by position and would not notice another order.
        features = _known_columns(features, self.booster.feature_name())
        return _checked(self.booster.predict(features), len(features), self.model_name)


@dataclass(frozen=True)
class PyfuncScoring:
    """A loaded `mlflow.pyfunc.PythonModel`, whose predictions are scores by agreement."""

    model: Any
    model_name: str

    def score(self, features: pd.DataFrame) -> Scores:
        """Scores of features (rows x columns)."""
        return _checked(self.model.predict(features), len(features), self.model_name)


def _known_columns(features: pd.DataFrame, names: Sequence[str] | None) -> pd.DataFrame:
    """The columns in the order of training; as they are if some are missing, so that the model complains."""
    wanted = [] if names is None else list(names)
    if not wanted or wanted == list(features.columns) or not set(wanted) <= set(features.columns):
        return features
    return features[wanted]


def _checked(predictions: object, rows: int, model_name: str) -> Scores:
    """Predictions as scores: (rows,) or (rows, classes).

    Raises:
        UnsupportedModel: they are not numbers, or have another shape.
    """
    try:
        scores = np.asarray(predictions, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise UnsupportedModel(model_name, f"its predictions are not numbers ({exc})") from exc
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim not in (1, 2) or len(scores) != rows:
        raise UnsupportedModel(
            model_name,
            f"it predicts an array of shape {scores.shape} for {rows} rows; "
            f"({rows},) or ({rows}, classes) is needed",
        )
    return scores
