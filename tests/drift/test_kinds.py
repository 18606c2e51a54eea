from datetime import date, datetime, time, timedelta
from decimal import Decimal

import polars as pl
import pytest

from retraining.drift.kinds import as_codes, as_numbers, as_text, find_kind, is_readable_as

NOON = datetime(2024, 3, 1, 12)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pl.Series([1]), "numeric"),
        (pl.Series([1.5]), "numeric"),
        (pl.Series([Decimal("1.5")]), "numeric"),
        (pl.Series([timedelta(hours=1)]), "numeric"),
        (pl.Series([time(12)]), "numeric"),
        (pl.Series([True]), "boolean"),
        (pl.Series(["a"]), "categorical"),
        (pl.Series(["a"], dtype=pl.Categorical), "categorical"),
        (pl.Series(["a"], dtype=pl.Enum(["a"])), "categorical"),
        (pl.Series([date(2024, 3, 1)]), "datetime"),
        (pl.Series([NOON]), "datetime"),
        (pl.Series([NOON]).dt.replace_time_zone("Europe/Berlin"), "datetime"),
        (pl.Series([[1]]), None),
        (pl.Series([{"a": 1}]), None),
        (pl.Series([b"a"]), None),
        (pl.Series([None]), None),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else str(value),
)
def test_each_type_has_its_kind(values: pl.Series, kind: str | None) -> None:
    assert find_kind(values.dtype) == kind


@pytest.mark.parametrize(
    ("kind", "dtype", "readable"),
    [
        ("numeric", pl.Int8(), True),
        ("numeric", pl.Boolean(), True),
        ("boolean", pl.Float64(), True),
        ("categorical", pl.Categorical(), True),
        ("datetime", pl.Date(), True),
        ("boolean", pl.Null(), True),
        ("numeric", pl.String(), False),
        ("categorical", pl.Int64(), False),
        ("categorical", pl.Boolean(), False),
        ("datetime", pl.Int64(), False),
    ],
)
def test_a_column_is_readable_as_its_own_kind_and_booleans_as_numbers(kind, dtype, readable) -> None:
    assert is_readable_as(kind, dtype) is readable


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (pl.Series([timedelta(minutes=1, milliseconds=500)]), 60.5),
        (pl.Series([time(0, 1, 0, 500_000)]), 60.5),
        (pl.Series([Decimal("60.5")]), 60.5),
        (pl.Series([True]), 1.0),
        (pl.Series([datetime(1970, 1, 1, 0, 1)]), 60.0),
        (pl.Series([date(1970, 1, 2)]), 86_400.0),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)
def test_values_become_floats_in_seconds(values: pl.Series, seconds: float) -> None:
    frame = pl.DataFrame({"column": values})
    assert frame.select(as_numbers("column", values.dtype, None)).item() == seconds


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_datetimes_are_how_long_before_the_rows_own_time_they_lie(zone: str | None) -> None:
    """A naive time is UTC, and a date is midnight UTC."""
    at = pl.Series([NOON]).dt.replace_time_zone("UTC")
    if zone is not None:
        at = at.dt.convert_time_zone(zone)
    frame = pl.DataFrame({"at": at if zone else pl.Series([NOON]), "day": [date(2024, 2, 29)]})
    assert frame.select(as_numbers("day", pl.Date(), "at")).item() == 36 * 3600


def test_codes_are_positions_among_the_categories() -> None:
    frame = pl.DataFrame({"column": ["b", "a", None, "c", ""]})
    codes = frame.select(as_codes("column", pl.String(), ["a", "b", ""])).to_series()
    assert codes.to_list() == [1, 0, None, None, 2]


def test_zero_and_one_are_false_and_true() -> None:
    """pandas turns a boolean column with a missing value into floats."""
    frame = pl.DataFrame({"column": [0.0, 1.0, None, 2.0]})
    codes = frame.select(as_codes("column", pl.Float64(), ["false", "true"])).to_series()
    assert codes.to_list() == [0, 1, None, None]
    assert frame.select(as_text("column", pl.Float64())).to_series().to_list() == [
        "false",
        "true",
        None,
        "2.0",
    ]


def test_without_categories_there_are_no_codes() -> None:
    frame = pl.DataFrame({"column": ["a", "b"]})
    assert frame.select(as_codes("column", pl.String(), [])).to_series().to_list() == [None, None]
