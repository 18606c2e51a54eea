"""Small models that learn in milliseconds, and fail where a test wants them to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field
from sklearn.linear_model import LinearRegression

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.policy import EntityHoldout
from retraining.catalog.spec import ModelSpec, TrainingInput
from retraining.sources.window import Window

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """y = 2x + 1 with noise: one row an hour and a customer of its own, from 2026-01-01 on."""

    rows: int = 600

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        rng = np.random.default_rng(7)
        x = rng.normal(size=self.rows)
        frame = pl.DataFrame(
            {
                "at": [DAY + timedelta(hours=hour) for hour in range(self.rows)],
                "customer": range(self.rows),
                "x": x,
                "y": 2 * x + 1 + rng.normal(scale=0.1, size=self.rows),
            }
        )
        return frame.filter(pl.col("at") <= window.end).select(columns)

    def describe(self) -> str:
        return "a line"


class LineParameters(TrainingParameters):
    fail: Literal["", "training"] = ""
    noise: float = Field(1.0, ge=0, le=10)


def _train(given: TrainingInput) -> LinearRegression:
    if given.parameters.fail == "training":
        raise ArithmeticError("the matrix is singular")
    noise = np.random.default_rng(0).normal(scale=given.parameters.noise, size=len(given.labels))
    given.progress(0.5, "half way")
    return LinearRegression().fit(given.features, given.labels + noise * given.features["x"])


tiny = ModelSpec(
    name="tiny",
    task="regression",
    source=Line(),
    label="y",
    features=("x",),
    time_column="at",
    holdout=EntityHoldout(column="customer"),
    parameters=LineParameters,
    train=_train,
    metric="mae",
    min_rows=100,
)
fragile = tiny.model_copy(update={"name": "fragile"})
