"""Specifications and rows for the tests of training: small, without files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from retraining import ModelSpec, Window
from retraining.registry.values import DataFingerprint, ModelVersion

START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rows:
    """A source that gives the rows it was made with, whatever the window."""

    frame: pl.DataFrame

    def describe(self) -> str:
        return "rows of a test"

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        return self.frame.select(columns)


EMPTY = Rows(pl.DataFrame())


def spec_for(task: str = "binary", **given: Any) -> ModelSpec:
    """A model of the columns of `rows`."""
    metric = {"binary": "roc_auc", "multiclass": "roc_auc_ovr", "regression": "mae"}[task]
    defaults: dict[str, Any] = {
        "name": "tested",
        "task": task,
        "source": EMPTY,
        "label": "label",
        "features": ("x", "noise"),
        "time_column": "at",
        "metric": metric,
        "min_rows": 10,
    }
    if "train" not in given:
        defaults["estimator"] = lambda parameters: None
    return ModelSpec(**{**defaults, **given})


def rows(
    count: int = 400, *, label: Callable[[npt.NDArray[np.float64]], Any] | None = None, every_hours: float = 1
) -> pl.DataFrame:
    """`count` rows, one an hour, each customer twice; the label follows x with noise."""
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=count), rng.normal(size=count)
    values = x + 0.5 * rng.normal(size=count)
    return pl.DataFrame(
        {
            "at": [START + timedelta(hours=every_hours * index) for index in range(count)],
            "customer": np.arange(count) // 2,
            "x": x,
            "noise": noise,
            "label": (values > 0).astype(int) if label is None else label(values),
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


def fingerprint_until(end: datetime, start: datetime = START) -> DataFingerprint:
    return DataFingerprint(content_hash="ab" * 32, rows=100, start=start, end=end)


def version(**given: Any) -> ModelVersion:
    """A registered version."""
    defaults: dict[str, Any] = {
        "model_name": "tested",
        "version": "3",
        "created_at": START,
        "job_id": None,
        "correlation_id": None,
        "run_id": None,
        "run_url": None,
        "metrics": {},
        "parameters": {},
        "fingerprint": None,
        "holdout": None,
        "decision": None,
    }
    return ModelVersion(**{**defaults, **given})


@dataclass(frozen=True)
class Scoring:
    """A model that scores with a function of the features."""

    score_rows: Callable[[pd.DataFrame], npt.NDArray[np.float64]]

    def score(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        return self.score_rows(features)
