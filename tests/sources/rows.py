"""Rows that the tests store in one way or another."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from retraining.sources.window import Window

YEAR = datetime(2024, 1, 1, tzinfo=UTC)


def a_year(rows: int = 8_784) -> pl.DataFrame:
    """A row an hour through 2024, its columns of many types, nulls among them, in order of time."""
    rng = np.random.default_rng(3)
    number = pl.int_range(rows, eager=True)
    return pl.DataFrame(
        {
            "at": [YEAR + timedelta(hours=hour) for hour in range(rows)],
            "customer": number % 97,
            "amount": rng.normal(50, 10, rows).round(3),
            "items": number % 5,
            "channel": ["shop", "web", "phone", None][0:4] * (rows // 4) + ["web"] * (rows % 4),
            "returned": (number % 11 == 0),
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    ).with_columns(amount=pl.when(number % 13 == 0).then(None).otherwise(pl.col("amount")))


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def window(start: datetime | None, end: datetime) -> Window:
    return Window(start, end)


MARCH = window(utc(2024, 2, 29), utc(2024, 3, 31))
COLUMNS = ("at", "customer", "amount", "items", "channel", "returned")
