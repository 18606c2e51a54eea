"""The time column: which types it may have, which rows a window takes, and how times become UTC.

A timestamp without a zone is taken as UTC. A date stands for its midnight, UTC. A row without a time is in no
window. What the sources return has times as `Date` or as `Datetime("us", "UTC")`, whatever is stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

import polars as pl

from retraining.errors import MissingColumns, WrongColumnType
from retraining.sources.window import Window

INSTANT = pl.Datetime("us", "UTC")
NEEDED = "a date or a datetime"

_UNIT_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}
_NANOSECOND_RANGE = datetime(1677, 9, 22, tzinfo=UTC), datetime(2262, 4, 11, tzinfo=UTC)


@dataclass(frozen=True)
class Bounds:
    """A window in the values of one column: `after < value <= until`."""

    after: datetime | date | None
    until: datetime | date


def require_columns(source: str, available: Iterable[str], needed: Iterable[str]) -> None:
    """Raise MissingColumns unless every needed column is available."""
    there = list(available)
    missing = [column for column in dict.fromkeys(needed) if column not in there]
    if missing:
        raise MissingColumns(source, missing, there)


def require_time(source: str, column: str, dtype: pl.DataType) -> None:
    """Raise WrongColumnType unless the column can place rows in time."""
    if not isinstance(dtype, (pl.Date, pl.Datetime)):
        raise WrongColumnType(source, column, str(dtype), NEEDED)


def bounds(window: Window, *, dates: bool, unit: Literal["s", "ms", "us", "ns"] = "us") -> Bounds:
    """The window's ends as a column can hold them: dates, or datetimes in UTC cut to the column's unit.

    Cutting both ends down takes the same rows: values lie on the unit's grid, and for those `value > end` and
    `value > cut(end)` agree. It keeps the comparison in the column's own type, which is what lets Parquet
    skip row groups by their statistics.
    """
    ends = (window.start, window.end)
    if dates:
        after, until = (None if end is None else end.astimezone(UTC).date() for end in ends)
    else:
        after, until = (None if end is None else _cut(end.astimezone(UTC), unit) for end in ends)
    assert until is not None
    return Bounds(after, until)


def _cut(moment: datetime, unit: str) -> datetime:
    if unit == "ns":
        low, high = _NANOSECOND_RANGE
        return min(max(moment, low), high)
    return moment.replace(microsecond=moment.microsecond - moment.microsecond % _UNIT_MICROSECONDS[unit])


def inside(window: Window, column: str, dtype: pl.DataType) -> pl.Expr:
    """Whether a row is inside the window, as a predicate that polars pushes down into files."""
    if isinstance(dtype, pl.Datetime):
        limits = bounds(window, dates=False, unit=dtype.time_unit)
    else:
        limits = bounds(window, dates=True)
    time = pl.col(column)
    until = time <= _literal(limits.until, dtype)
    return until if limits.after is None else (time > _literal(limits.after, dtype)) & until


def _literal(value: datetime | date, dtype: pl.DataType) -> pl.Expr:
    if not isinstance(dtype, pl.Datetime) or not isinstance(value, datetime):
        return pl.lit(value)
    instant = pl.lit(value.replace(tzinfo=None)).cast(pl.Datetime(dtype.time_unit))
    if dtype.time_zone is None:
        return instant
    return instant.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)


def in_utc(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """The frame with its time column as `Date` or `Datetime("us", "UTC")`."""
    dtype = frame.schema[column]
    if not isinstance(dtype, pl.Datetime) or dtype == INSTANT:
        return frame
    time = pl.col(column)
    zoned = time.dt.replace_time_zone("UTC") if dtype.time_zone is None else time.dt.convert_time_zone("UTC")
    return frame.with_columns(zoned.dt.cast_time_unit("us"))
