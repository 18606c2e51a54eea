"""The published car loans as a team's own model: a folder of Parquet files, and a specification over it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl

from retraining.catalog.spec import ModelSpec
from retraining.sources.parquet import ParquetSource

DATA = Path(__file__).parents[1] / "data"
CAR_LOAN = json.loads((DATA / "car_loan" / "expected.json").read_text())
MISSING = json.loads((DATA / "car_loan_missing" / "expected.json").read_text())
START = datetime(2018, 1, 1, tzinfo=UTC)
REFERENCE_END = datetime(2018, 10, 30, 17, 55, tzinfo=UTC)
END = {
    "before": datetime(2019, 3, 31, 2, 55, tzinfo=UTC),
    "after": datetime(2019, 8, 29, 12, tzinfo=UTC),
}
Window = Literal["before", "after"]


def car_loans(folder: Path, *windows: Window) -> ModelSpec:
    """Over the reference and the current rows of these windows, all with labels."""
    reference = pl.read_parquet(DATA / "car_loan" / "reference.parquet")
    reference.with_columns(pl.col("repaid").cast(pl.Int64)).write_parquet(folder / "0.parquet")
    for position, window in enumerate(windows, start=1):
        current = pl.read_parquet(DATA / "car_loan" / f"current_{window}.parquet")
        labels = pl.read_parquet(DATA / "car_loan" / f"labels_{window}.parquet")
        current.join(labels, on="id", how="left").write_parquet(folder / f"{position}.parquet")
    return _spec("car-loan", folder, tuple(CAR_LOAN["features"]))


def car_loans_with_missing_values(folder: Path, *windows: Window) -> ModelSpec:
    """Three columns of the same loans, by the times that they have in the other tables; labels made up."""
    for position, window in enumerate(("reference", *windows)):
        name = "reference" if window == "reference" else f"current_{window}"
        rows = pl.read_parquet(DATA / "car_loan_missing" / f"{name}.parquet")
        times = pl.read_parquet(DATA / "car_loan" / f"{name}.parquet", columns=["id", "timestamp"])
        labelled = rows.join(times, on="id").with_columns(repaid=pl.col("id") % 2)
        labelled.write_parquet(folder / f"{position}.parquet")
    return _spec("car-loan-missing", folder, ("salary_range", "driver_tenure", "size_of_downpayment"))


def _spec(name: str, folder: Path, features: tuple[str, ...]) -> ModelSpec:
    return ModelSpec(
        name=name,
        task="binary",
        source=ParquetSource(folder),
        label="repaid",
        features=features,
        time_column="timestamp",
        metric="roc_auc",
        estimator=lambda parameters: None,
    )
