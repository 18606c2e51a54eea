"""What a job does with a built-in model, from the window to the decision, without Prefect and MLflow."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retraining import ModelSpec
from retraining.promotion import PromotionDecision
from retraining.registry.values import ModelVersion
from retraining.sources.fingerprint import fingerprint
from retraining.sources.training_set import load_training_set
from retraining.training.challenger import train_challenger
from retraining.training.comparison import Comparison, compare
from retraining.training.holdout import Split, holdout_record, split


def at(year: int, month: int, day: int = 1) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@dataclass(frozen=True)
class Trained:
    """A fitted model that scores as the registry would."""

    spec: ModelSpec
    model: Any

    def score(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        if self.spec.task == "binary":
            return np.asarray(self.model.predict_proba(features)[:, 1])
        return np.asarray(self.model.predict(features))


@cache
def parts_of(spec: ModelSpec, as_of: datetime) -> Split:
    return split(load_training_set(spec, as_of).frame, spec)


@cache
def trained(spec: ModelSpec, as_of: datetime, **parameters: Any) -> Trained:
    train = parts_of(spec, as_of).train
    return Trained(spec, train_challenger(spec, spec.parameters(**parameters), train))


def compared(
    spec: ModelSpec, as_of: datetime, *, champion_as_of: datetime, **parameters: Any
) -> tuple[Comparison, PromotionDecision]:
    """A job as of `as_of` against the champion that a first job made as of `champion_as_of`."""
    parts, first = parts_of(spec, as_of), parts_of(spec, champion_as_of)
    champion = ModelVersion(
        model_name=spec.name,
        version="1",
        created_at=champion_as_of,
        job_id=None,
        correlation_id=None,
        run_id=None,
        run_url=None,
        metrics={},
        parameters={},
        fingerprint=fingerprint(first.train, spec.time_column),
        holdout=holdout_record(spec, first.classes),
        decision=None,
    )
    comparison = compare(
        spec,
        parts,
        fingerprint(parts.train, spec.time_column),
        trained(spec, as_of, **parameters),
        champion=champion,
        load=lambda version: trained(spec, champion_as_of),
    )
    return comparison, comparison.decide("2")
