"""Which columns are never the same again, and which only look so."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from retraining.monitoring.identifiers import find_counters

ROWS = 5_000
RANDOM = np.random.default_rng(11)
NUMBERS = np.arange(ROWS)
HOURLY = [datetime(2026, 1, 1) + timedelta(minutes=row) for row in range(ROWS)]
DAILY = [date(2026, 1, 1) + timedelta(days=row // 50) for row in range(ROWS)]
ONE_DAY = [date(2026, 1, 1)] * ROWS


def found(values: object, times: object = HOURLY) -> str | None:
    frame = pl.DataFrame({"at": times, "value": values})
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)
    return find_counters(shuffled, ("value",), "at").get("value")


@pytest.mark.parametrize("times", [HOURLY, DAILY])
@pytest.mark.parametrize(
    "values",
    [
        1_000_000 + NUMBERS,
        5_000 - NUMBERS,
        (NUMBERS // 3).astype(float),
        [None if row % 4 == 0 else row for row in range(ROWS)],
        1.7e9 + 60.0 * NUMBERS,
    ],
    ids=["id", "down", "three at a time", "with gaps", "clock"],
)
def test_numbers_that_count_on_with_time_are_found(values: object, times: object) -> None:
    assert found(values, times) == "counts on with time, as identifiers and clocks do"


def test_row_numbers_of_a_single_moment_are_found() -> None:
    assert found(RANDOM.permutation(ROWS) + 7, ONE_DAY) == (
        "is another whole number in every row, as identifiers are"
    )


@pytest.mark.parametrize("times", [HOURLY, DAILY])
def test_categories_that_name_single_things_are_found(times: object) -> None:
    assert found([f"order {row}" for row in range(ROWS)], times) is not None
    assert found([f"customer {row // 4}" for row in range(ROWS)], times) is not None


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(size=ROWS),
        RANDOM.normal(size=ROWS) + NUMBERS / 1_000,
        RANDOM.integers(10_000, 99_999, ROWS),
        RANDOM.integers(0, 2, ROWS),
        NUMBERS // 2_500,
        RANDOM.choice([f"product {n}" for n in range(800)], ROWS),
        RANDOM.random(ROWS) < 0.5,
        [None] * ROWS,
        [float("nan")] * ROWS,
        RANDOM.permutation(ROWS) * 1_000_003,
    ],
    ids=["noise", "trend", "zip", "flag", "step", "product", "boolean", "null", "nan", "spread"],
)
@pytest.mark.parametrize("times", [HOURLY, DAILY, ONE_DAY])
def test_other_columns_are_compared(values: object, times: object) -> None:
    assert found(values, times) is None


def test_the_time_column_itself_and_absent_columns_are_no_counters() -> None:
    assert find_counters(pl.DataFrame({"at": HOURLY}), ("at", "gone"), "at") == {}
    assert find_counters(pl.DataFrame({"at": [], "x": []}), ("x",), "at") == {}


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt8, pl.Int16, pl.Float32])
def test_numbers_of_few_bytes_are_looked_at_like_others(dtype: pl.DataType) -> None:
    assert found(pl.Series(NUMBERS % 100, dtype=dtype)) is None
    assert found(pl.Series(NUMBERS // 50, dtype=dtype)) == "counts on with time, as identifiers and clocks do"
