from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LinearRegression

from retraining.catalog.policy import EntityHoldout
from retraining.catalog.spec import ModelSpec
from retraining.errors import (
    EmptyWindow,
    InsufficientTrainingData,
    MissingColumns,
    UnusableFeatures,
    UnusableLabels,
    WrongColumnType,
)
from retraining.sources import ParquetSource, Window, load_training_set
from retraining.sources.fingerprint import fingerprint
from tests.sources.rows import a_year, utc

NEW_YEAR = utc(2025, 1, 1)
METRICS = {"binary": "roc_auc", "multiclass": "f1_macro", "regression": "mae"}


@dataclass(frozen=True, eq=False)
class Rows:
    """A team's own source: a frame, cut by the window."""

    frame: pl.DataFrame

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        time = pl.col(time_column)
        if self.frame.schema[time_column] == pl.Datetime("us", "UTC"):
            return self.frame.filter(time <= window.end)
        return self.frame

    def describe(self) -> str:
        return "rows"


def a_spec(source: object, task: str = "regression", label: str = "label", **changes: Any) -> ModelSpec:
    given = {"features": ("amount", "items"), "time_column": "at", "min_rows": 10, **changes}
    return ModelSpec.model_validate(
        {
            "name": "orders",
            "task": task,
            "source": source,
            "label": label,
            "metric": METRICS[task],
            "estimator": lambda _: LinearRegression(),
            **given,
        }
    )


def rows_with(label: list[Any] | None = None, **columns: list[Any]) -> pl.DataFrame:
    """Twelve rows; the given values are repeated to fill them."""
    given = {"label": [0.5, 1.5] if label is None else label, **columns}
    twelve = {name: pl.Series((values * 12)[:12], strict=False) for name, values in given.items()}
    return a_year(12).with_columns(**twelve)


def load(frame: pl.DataFrame, task: str = "regression", **changes: Any) -> pl.DataFrame:
    return load_training_set(a_spec(Rows(frame), task, **changes), NEW_YEAR).frame


def test_rows_whose_labels_are_complete_are_read_with_the_specs_columns(tmp_path: Path):
    a_year().write_parquet(tmp_path / "rows.parquet")
    spec = a_spec(
        ParquetSource(tmp_path),
        label="amount",
        features=("items", "channel", "returned"),
        holdout=EntityHoldout(column="customer"),
        label_delay=timedelta(days=30),
        window=timedelta(days=10),
    )

    found = load_training_set(spec, utc(2024, 3, 31))

    assert found.window == Window(utc(2024, 2, 20), utc(2024, 3, 1))
    expected = a_year().filter(
        pl.col("at").is_between(utc(2024, 2, 20), utc(2024, 3, 1), closed="right"),
        pl.col("amount").is_not_null(),
    )
    assert_frame_equal(
        found.frame, expected.select("at", "customer", "items", "channel", "returned", "amount")
    )
    assert found.unlabelled == 240 - expected.height
    assert found.fingerprint == fingerprint(found.frame, "at")
    assert found.fingerprint.rows == found.frame.height


def test_a_job_can_be_replayed(tmp_path: Path):
    """The same `as_of` gives the same rows and fingerprint after newer rows came and files were compacted."""
    year = a_year().drop_nulls("amount")
    early = year.filter(pl.col("at") < utc(2024, 6, 1))
    for number in range(3):
        early.gather_every(3, number).write_parquet(tmp_path / f"{number}.parquet")
    spec = a_spec(ParquetSource(tmp_path), label="amount", features=("items",))
    before = load_training_set(spec, utc(2024, 5, 1))

    for number in range(3):
        (tmp_path / f"{number}.parquet").unlink()
    year.sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "all.parquet", row_group_size=777)
    after = load_training_set(spec, utc(2024, 5, 1))

    assert_frame_equal(after.frame, before.frame)
    assert after.fingerprint == before.fingerprint


def test_an_empty_window_names_the_source_and_the_window(tmp_path: Path):
    a_year().write_parquet(tmp_path / "rows.parquet")
    spec = a_spec(ParquetSource(tmp_path), label="amount", features=("items",), window=timedelta(days=30))

    with pytest.raises(EmptyWindow) as caught:
        load_training_set(spec, utc(2026, 1, 1))
    assert str(caught.value) == f"{tmp_path}: no rows in the window (2025-12-02 00:00, 2026-01-01 00:00] UTC"


def test_fewer_rows_than_the_minimum_are_counted(tmp_path: Path):
    a_year(120).with_columns(label=pl.lit(1.0)).write_parquet(tmp_path / "rows.parquet")

    with pytest.raises(InsufficientTrainingData) as caught:
        load_training_set(a_spec(ParquetSource(tmp_path), min_rows=500), NEW_YEAR)
    assert str(caught.value) == "insufficient training data: 120 rows, needs 500"


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_rows_without_a_label_do_not_count(missing: float | None):
    frame = rows_with([1.0, missing, missing])

    with pytest.raises(InsufficientTrainingData) as caught:
        load(frame)
    assert str(caught.value) == "insufficient training data: 4 rows, needs 10; 8 more have no label"


def test_as_of_carries_a_time_zone():
    with pytest.raises(ValueError, match="time zone"):
        load_training_set(a_spec(Rows(rows_with())), NEW_YEAR.replace(tzinfo=None))


def test_a_column_that_a_teams_own_source_leaves_out_is_named():
    with pytest.raises(MissingColumns, match="rows: missing column label; the source has at,"):
        load(a_year(12))


def test_a_time_that_a_teams_own_source_returns_as_text_is_refused():
    with pytest.raises(WrongColumnType, match="rows: column at is String, needs a date or a datetime"):
        load(rows_with(at=["2024-01-01"]))


@pytest.mark.parametrize(
    ("task", "label"),
    [
        ("binary", [True, False]),
        ("binary", [0, 1]),
        ("binary", [0.0, 1.0]),
        ("binary", ["stays", "leaves"]),
        ("binary", [-1, 1]),
        ("multiclass", ["a", "b", "c"]),
        ("multiclass", [1, 2, 3]),
        ("multiclass", [1.0, 2.0, 7.0]),
        ("regression", [1, 2]),
        ("regression", [-0.5, 1e300]),
        ("regression", [1.0, 1.0]),
        ("regression", [Decimal("1.5")]),
    ],
)
def test_labels_that_fit_the_task_pass_as_they_are(task: str, label: list[Any]):
    frame = rows_with(label)

    assert load(frame, task)["label"].equals(frame["label"])


@pytest.mark.parametrize(
    ("task", "label", "problem"),
    [
        ("binary", [1], "is 1 in all 12 rows, there is nothing to tell apart"),
        ("multiclass", ["a"], "is 'a' in all 12 rows, there is nothing to tell apart"),
        ("binary", [0, 1, 2], "has 3 classes (0, 1, 2), a binary model has two"),
        ("binary", list("abcdefg"), "has 7 classes (a, b, c, d, e, …), a binary model has two"),
        ("binary", [0.0, 0.5], "holds 0.5 in 6 rows, classes are text, booleans or whole numbers"),
        (
            "multiclass",
            [1.0, float("inf")],
            "holds inf in 6 rows, classes are text, booleans or whole numbers",
        ),
        ("multiclass", [date(2024, 1, 1)], "is Date, classes are text, booleans or whole numbers"),
        ("regression", ["1.5"], "is String, a regression needs numbers"),
        ("regression", [True, False], "is Boolean, a regression needs numbers"),
        ("regression", [1.5] * 11 + [float("-inf")], "is infinite in 1 row"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(task: str, label: list[Any], problem: str):
    with pytest.raises(UnusableLabels) as caught:
        load(rows_with(label), task)
    assert str(caught.value) == f"rows: label label {problem}"


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [1.5, None, float("nan")],
        [True, None],
        ["web", None],
        [date(2024, 1, 1)],
        [utc(2024, 1, 1)],
        [timedelta(days=1)],
        [Decimal("1.5")],
        [None],
    ],
)
def test_features_of_these_types_pass_as_they_are(values: list[Any]):
    frame = rows_with(amount=values)

    assert load(frame)["amount"].equals(frame["amount"])


def test_all_features_that_cannot_be_used_are_named_at_once():
    frame = rows_with(amount=[1.0, float("inf"), float("-inf")], items=[[1, 2]])

    with pytest.raises(UnusableFeatures) as caught:
        load(frame)
    assert caught.value.problems == (
        ("amount", "is infinite in 8 rows"),
        ("items", "is List(Int64), needs to be a number, boolean, text, category, time or duration"),
    )
    assert str(caught.value).startswith(
        "rows: column amount is infinite in 8 rows; column items is List(Int64)"
    )


def test_an_entity_that_is_no_plain_value_is_refused():
    frame = rows_with(customer=[{"id": 1}])

    with pytest.raises(UnusableFeatures, match="column customer is Struct"):
        load(frame, holdout=EntityHoldout(column="customer"))


def test_infinite_values_of_rows_without_a_label_do_no_harm():
    frame = rows_with([1.0] * 11 + [None], amount=[1.0] * 11 + [float("inf")])

    assert load(frame).height == 11


def test_the_packaged_purchases_are_read_by_window():
    """The real table: purchases of the first quarter of 1998, by a date column."""
    from importlib import resources

    packaged = resources.files("retraining.builtin") / "data" / "cdnow_purchases.parquet"
    with resources.as_file(packaged) as file:
        spec = a_spec(
            ParquetSource(file),
            label="amount",
            features=("cds",),
            time_column="purchased_on",
            window=timedelta(days=90),
        )
        found = load_training_set(spec, utc(1998, 4, 1))
        every = pl.read_parquet(file)

    inside = every.filter(pl.col("purchased_on").is_between(date(1998, 1, 2), date(1998, 4, 1)))
    assert found.frame.height == inside.height > 1_000
    assert found.frame["amount"].sum() == pytest.approx(inside["amount"].sum())
    assert found.fingerprint.start == utc(1998, 1, 2)
    assert found.fingerprint.end == utc(1998, 4, 1)
