"""Challengers for tests: small, trained once, and unique by job."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow import MlflowClient
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from retraining.registry.values import Challenger, DataFingerprint

AS_OF = datetime(1998, 1, 1, tzinfo=UTC)
FINGERPRINT = DataFingerprint(
    content_hash="ab" * 32,
    rows=1_234,
    start=datetime(1997, 1, 1, tzinfo=UTC),
    end=datetime(1997, 10, 3, tzinfo=UTC),
)


def features(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "orders": rng.integers(1, 20, rows),
            "spend": rng.gamma(2.0, 30.0, rows),
            "recency": rng.uniform(0, 90, rows),
        }
    )


def labels(rows: int = 200, classes: int = 2) -> npt.NDArray[np.float64]:
    return np.digitize(features(rows).spend, np.linspace(40, 80, classes - 1)).astype(np.float64)


@cache
def linear_model() -> LogisticRegression:
    return LogisticRegression(max_iter=500).fit(features(), labels())


@cache
def boosted_model() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(features(), labels())


def challenger(model: Any = None, **facts: Any) -> Challenger:
    """A challenger of a job of its own; `facts` are the fields that the test is about."""
    made = Challenger(
        model=linear_model() if model is None else model,
        input_example=features().head(3),
        output_example=np.array([0.1, 0.2, 0.3]),
        metrics={"roc_auc": 0.81, "log_loss": 0.42},
        parameters={"iterations": 20, "learning_rate": 0.05},
        fingerprint=FINGERPRINT,
        holdout='{"by":"time","fraction":0.2}',
        job_id=str(uuid4()),
        correlation_id="req-1",
        as_of=AS_OF,
    )
    return replace(made, **facts)


def copy_version(client: MlflowClient, model_name: str, *, run_id: str | None = None) -> None:
    """Register version 1 once more, by hand: without a job, and much faster than a registration."""
    source = client.get_model_version(model_name, "1").source or ""
    client.create_model_version(
        model_name,
        source,
        run_id=run_id,
        model_id=source.removeprefix("models:/"),
        await_creation_for=0,
    )
