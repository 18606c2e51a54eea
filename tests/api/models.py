"""Two models, whose data nobody reads."""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl
from pydantic import Field
from sklearn.linear_model import LinearRegression, LogisticRegression

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.spec import ModelSpec
from retraining.sources.window import Window


class NoPurchases:
    """A source without rows: nothing is trained here."""

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.Float64))

    def describe(self) -> str:
        return "purchases.parquet"


class Iterations(TrainingParameters):
    iterations: int = Field(100, ge=1, le=5_000)
    learning_rate: float = Field(0.1, gt=0, le=1)


CHURN = ModelSpec(
    name="churn",
    description="Who will not come back.",
    task="binary",
    source=NoPurchases(),
    label="churned",
    features=("orders", "spend"),
    time_column="snapshot",
    label_delay=timedelta(days=90),
    parameters=Iterations,
    estimator=lambda _: LogisticRegression(),
    metric="roc_auc",
)
PROFITABILITY = ModelSpec(
    name="profitability",
    task="regression",
    source=NoPurchases(),
    label="spent",
    features=("orders",),
    time_column="snapshot",
    parameters=Iterations,
    estimator=lambda _: LinearRegression(),
    metric="mae",
    report=("r2",),
)
MODELS = (CHURN, PROFITABILITY)
