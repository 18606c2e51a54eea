"""What kind of column a polars type is, and how its values are read for counting."""

from collections.abc import Sequence
from typing import Literal

import polars as pl

Kind = Literal["numeric", "categorical", "boolean", "datetime"]

NEEDED = "a number, a text, a boolean, a date or a time"
FALSE_AND_TRUE = ("false", "true")


def find_kind(dtype: pl.DataType) -> Kind | None:
    """The kind of a column, or None for types that have no distribution to compare (lists, structs, ...)."""
    if dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        return "numeric"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "categorical"
    if dtype in (pl.Date, pl.Datetime):
        return "datetime"
    return None


def is_readable_as(kind: Kind, dtype: pl.DataType) -> bool:
    """Whether a current column of this type can be counted as one of `kind`.

    Booleans and the numbers 0 and 1 stand for each other: pandas turns booleans with a missing value into
    floats. A column of nothing but nulls has no type and fits any.
    """
    if dtype == pl.Null:
        return True
    found = find_kind(dtype)
    return found == kind or {found, kind} == {"numeric", "boolean"}


def as_numbers(column: str, dtype: pl.DataType, time_column: str | None) -> pl.Expr:
    """The column as floats: durations and times in seconds, datetimes as `lag_in_seconds`."""
    value = pl.col(column)
    if dtype in (pl.Date, pl.Datetime):
        moment = value.dt.epoch("us")
        # A date moves on with the calendar and would drift for ever. What a model sees of it is its distance
        # to the row's own time.
        since = moment if time_column is None else pl.col(time_column).dt.epoch("us") - moment
        return (since / 1e6).alias(column)
    if dtype == pl.Duration:
        return (value.dt.total_microseconds() / 1e6).alias(column)
    if dtype == pl.Time:
        return (value.cast(pl.Int64) / 1e9).alias(column)
    return value.cast(pl.Float64)


def as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """The column as text; 0 and 1, which stand for booleans, as "false" and "true"."""
    value = pl.col(column)
    if dtype.is_numeric():
        boolean = pl.when(value == 0).then(pl.lit("false")).when(value == 1).then(pl.lit("true"))
        return boolean.otherwise(value.cast(pl.String)).alias(column)
    return value if dtype == pl.String else value.cast(pl.String)


def as_codes(column: str, dtype: pl.DataType, categories: Sequence[str]) -> pl.Expr:
    """The position of each value in `categories`; null for any other value."""
    if not categories:
        return pl.repeat(None, pl.len(), dtype=pl.UInt32)
    if dtype == pl.Boolean:
        return pl.col(column).cast(pl.UInt32)
    return as_text(column, dtype).cast(pl.Enum(categories), strict=False).to_physical().cast(pl.UInt32)
