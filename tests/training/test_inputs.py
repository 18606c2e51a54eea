from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from retraining import ModelSpec
from retraining.errors import UnusableLabels, WrongColumnType
from retraining.training.inputs import classes_of, encode_labels, features_of, labels_of
from tests.training.specs import spec_for


def spec_of(*features: str, **given: Any) -> ModelSpec:
    return spec_for(features=features, **given)


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "pandas_dtype"),
    [
        ([1, 2], pl.Int8, [1.0, 2.0], "float64"),
        ([1, None], pl.Int64, [1.0, np.nan], "float64"),
        ([True, False], pl.Boolean, [1.0, 0.0], "float64"),
        ([True, None], pl.Boolean, [1.0, np.nan], "float64"),
        ([Decimal("1.50"), None], pl.Decimal(9, 2), [1.5, np.nan], "float64"),
        ([0.5, None], pl.Float64, [0.5, np.nan], "float64"),
        ([0.5, None], pl.Float32, [0.5, np.nan], "float32"),
        ([None, None], pl.Null, [np.nan, np.nan], "float64"),
        ([timedelta(minutes=1), None], pl.Duration("ms"), [60.0, np.nan], "float64"),
        (["a", None], pl.String, ["a", None], "object"),
        (["a", "b"], pl.Categorical, ["a", "b"], "object"),
        (["a", "b"], pl.Enum(["b", "a"]), ["a", "b"], "object"),
        ([date(2024, 1, 2), None], pl.Date, [pd.Timestamp("2024-01-02"), pd.NaT], "datetime64[us]"),
        (
            [datetime(2024, 1, 2, 3, tzinfo=UTC)] * 2,
            pl.Datetime("ns", "Asia/Tokyo"),
            [pd.Timestamp("2024-01-02 03:00")] * 2,
            "datetime64[us]",
        ),
    ],
)
def test_a_features_type_follows_from_its_kind_and_not_from_its_nulls(
    values: list[object], dtype: pl.DataType, expected: list[object], pandas_dtype: str
) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    found = features_of(frame, spec_of("x"))["x"]
    assert str(found.dtype) == pandas_dtype
    pd.testing.assert_series_equal(found, pd.Series(expected, name="x", dtype=pandas_dtype))


def test_features_come_in_the_order_of_the_specification_and_without_the_rest() -> None:
    frame = pl.DataFrame({"a": [1], "b": ["x"], "label": [0], "at": [datetime(2024, 1, 1, tzinfo=UTC)]})
    assert list(features_of(frame, spec_of("b", "a")).columns) == ["b", "a"]


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, b"raw"])
def test_a_column_that_no_estimator_takes_is_refused(value: object) -> None:
    with pytest.raises(
        WrongColumnType, match=r"column x is .*, needs to be a number, boolean, string or time"
    ):
        features_of(pl.DataFrame({"x": [value]}), spec_of("x"))


@pytest.mark.parametrize(
    ("labels", "classes", "trains_on", "encoded"),
    [
        (["stays", "leaves", "stays"], ("leaves", "stays"), ["stays", "leaves", "stays"], [1, 0, 1]),
        ([True, False, True], (0, 1), [1, 0, 1], [1, 0, 1]),
        ([5, -1, 5], (-1, 5), [5, -1, 5], [1, 0, 1]),
        ([1.0, 0.0, 1.0], (0, 1), [1, 0, 1], [1, 0, 1]),
        ([Decimal(1), Decimal(0), Decimal(1)], (0, 1), [1, 0, 1], [1, 0, 1]),
    ],
)
def test_classes_keep_their_names_in_training_and_become_positions_for_metrics(
    labels: list[object], classes: tuple[object, ...], trains_on: list[object], encoded: list[int]
) -> None:
    frame, spec = pl.DataFrame({"label": labels}), spec_of("x")
    assert classes_of(frame, spec) == classes
    assert labels_of(frame, spec).tolist() == trains_on
    assert encode_labels(frame, spec, classes_of(frame, spec)).tolist() == encoded
    assert encode_labels(frame, spec, classes_of(frame, spec)).dtype == np.float64


def test_values_of_a_regression_are_floats() -> None:
    frame, spec = pl.DataFrame({"label": [1, 2]}), spec_of("x", task="regression")
    assert classes_of(frame, spec) == ()
    assert labels_of(frame, spec).dtype == np.float64
    assert encode_labels(frame, spec, ()).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("task", "labels", "needed"),
    [
        ("regression", ["a"], "to be a number for a regression"),
        ("binary", [0.5], "to be a boolean, string or whole number for a classification"),
        ("binary", [date(2024, 1, 1)], "to be a boolean, string or whole number for a classification"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(task: str, labels: list[object], needed: str) -> None:
    with pytest.raises(WrongColumnType, match=f"column label is .*, needs {needed}"):
        labels_of(pl.DataFrame({"label": labels}), spec_of("x", task=task))


def test_a_class_that_no_training_row_has_is_refused() -> None:
    with pytest.raises(UnusableLabels, match=r"classes in the holdout that no training row has \(c, d\)"):
        encode_labels(pl.DataFrame({"label": ["d", "a", "c"]}), spec_of("x", task="multiclass"), ("a", "b"))


def test_compact_features_are_floats_of_four_bytes_and_categories() -> None:
    """Categories are in sorted order of what the rows hold, however their source has coded them."""
    frame = pl.DataFrame(
        {
            "amount": pl.Series([1.5, None, 3.0]),
            "count": pl.Series([1, 2, 3], dtype=pl.Int16),
            "text": ["b", None, "a"],
            "color": pl.Series(["red", "blue", "red"], dtype=pl.Enum(["unseen", "red", "blue"])),
            "on": [date(2024, 1, 1)] * 3,
            "took": [timedelta(seconds=1)] * 3,
        }
    )
    spec = spec_of("text", "amount", "count", "color", "on", "took", compact_features=True)
    found = features_of(frame, spec)
    assert list(found.columns) == list(spec.features)
    assert [str(dtype) for dtype in found.dtypes] == [
        *("category", "float32", "float32", "category", "datetime64[us]", "float32")
    ]
    assert found["text"].cat.categories.tolist() == ["a", "b"]
    assert found["color"].cat.categories.tolist() == ["blue", "red"]
    assert not found["color"].cat.ordered
    plain = features_of(frame, spec_of("text", "amount", "count", "color", "on", "took"))
    for name in spec.features:
        expected = plain[name].tolist()
        assert [None if pd.isna(one) else one for one in found[name].tolist()] == [
            None if pd.isna(one) else one for one in expected
        ]


def test_compact_features_may_all_be_categories() -> None:
    found = features_of(pl.DataFrame({"x": ["b", "a"]}), spec_of("x", compact_features=True))
    assert found["x"].tolist() == ["b", "a"]
