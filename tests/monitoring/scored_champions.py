"""Champions that keep what the performance check needs, as a job makes them, and models of known scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from retraining import ModelSpec, TrainingInput, Window
from retraining.monitoring.performance_reference import performance_reference
from retraining.registry.values import Challenger, ModelVersion
from retraining.sources.fingerprint import fingerprint
from retraining.sources.training_set import load_training_set
from retraining.training.challenger import train_challenger
from retraining.training.evaluation import evaluate
from retraining.training.holdout import holdout_record, split
from retraining.training.inputs import encode_labels, features_of
from tests.registry.fake import FakeRegistry


@dataclass(frozen=True)
class TimedRows:
    """A source that gives the rows of the window."""

    frame: pl.DataFrame

    def describe(self) -> str:
        return "rows of a test"

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        inside = pl.col(time_column) <= window.end
        if window.start is not None:
            inside &= pl.col(time_column) > window.start
        return self.frame.filter(inside).select(columns)


class PublishedScores(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its scores: one of the positive class, or one for each class."""

    def fit(self, features: pd.DataFrame, labels: pd.Series) -> "PublishedScores":
        self.classes_ = np.arange(max(features.shape[1], 2))
        return self

    def predict_proba(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        scores = features.to_numpy(dtype=np.float64)
        return np.column_stack([1 - scores, scores]) if scores.shape[1] == 1 else scores


class PublishedValues(RegressorMixin, BaseEstimator):
    """A regression that predicts its first feature."""

    def fit(self, features: pd.DataFrame, labels: pd.Series) -> "PublishedValues":
        self.fitted_ = True
        return self

    def predict(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        return features.iloc[:, 0].to_numpy(dtype=np.float64)


def train_published(given: TrainingInput) -> Any:
    """A classifier that passes its scores through."""
    return PublishedScores().fit(given.features, given.labels)


def train_published_values(given: TrainingInput) -> Any:
    """A regression that passes its first feature through."""
    return PublishedValues().fit(given.features, given.labels)


def promote_champion(
    spec: ModelSpec, registry: FakeRegistry, as_of: datetime, *, files: bool = True, **facts: Any
) -> ModelVersion:
    """Train on what was known as of a time, register and promote.

    `files=False`: it keeps nothing of its holdout, as a version of an older release. `facts` replace those of
    the challenger.
    """
    parts = split(load_training_set(spec, as_of).frame, spec)
    model = train_challenger(spec, spec.parameters(), parts.train)
    scores = registry.as_scoring(model, spec.name).score(features_of(parts.holdout, spec))
    labels = encode_labels(parts.holdout, spec, parts.classes)
    made: dict[str, Any] = {
        "model": model,
        "input_example": features_of(parts.holdout.head(3), spec),
        "output_example": scores[:3],
        "metrics": evaluate(spec, labels, scores),
        "parameters": {},
        "fingerprint": fingerprint(parts.train, spec.time_column),
        "holdout": holdout_record(spec, parts.classes),
        "job_id": str(uuid4()),
        "correlation_id": None,
        "as_of": as_of,
        "files": performance_reference(spec, parts, scores) if files else {},
    }
    version = registry.register(spec.name, Challenger(**{**made, **facts}))
    registry.promote(spec.name, version.version, by="a test", reason="the test needs a champion")
    return version
