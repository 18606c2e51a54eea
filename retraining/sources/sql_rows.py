"""From a database's rows to a frame: batch by batch, each column of one type."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl

from retraining.errors import UnreadableSource


class FrameBuilder:
    """Collects batches of rows; a column that mixes types is an error, whole numbers among floats are not."""

    def __init__(self, source: str, columns: Sequence[str]) -> None:
        self._source = source
        self._columns = columns
        self._batches: list[pl.DataFrame] = []

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Append rows, their values in the order of the columns.

        Raises:
            UnreadableSource: a column holds values of several types.
        """
        by_column = zip(self._columns, zip(*rows, strict=True), strict=True)
        self._batches.append(pl.DataFrame([self._series(name, values) for name, values in by_column]))

    def frame(self) -> pl.DataFrame:
        """All rows x columns so far. A column without any value is of type Null.

        Raises:
            UnreadableSource: a column's type changes from batch to batch.
        """
        if not self._batches:
            return pl.DataFrame(schema=dict.fromkeys(self._columns, pl.Null()))
        for name in self._columns:
            types = {batch.schema[name] for batch in self._batches} - {pl.Null()}
            if len(types) > 1 and not all(dtype.is_numeric() for dtype in types):
                raise self._mixed(name, map(str, types))
        return pl.concat(self._batches, how="vertical_relaxed")

    def _series(self, name: str, values: Sequence[Any]) -> pl.Series:
        kinds = {type(value) for value in values} - {type(None)}
        # Drivers return classes of their own, derived from Python's.
        if any(issubclass(kind, Decimal) for kind in kinds) or kinds == {int, float}:
            return pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64)
        if any(issubclass(kind, UUID) for kind in kinds):
            return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)
        if len(kinds) > 1:
            raise self._mixed(name, (kind.__name__ for kind in kinds))
        if kinds and issubclass(next(iter(kinds)), datetime):
            # One column may hold the offsets of summer and of winter.
            values = [value.astimezone(UTC) if value and value.tzinfo else value for value in values]
        try:
            series = pl.Series(name, values)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as exc:
            raise self._foreign(name, kinds) from exc
        if series.dtype == pl.Object:
            raise self._foreign(name, kinds)
        return series

    def _foreign(self, column: str, kinds: Iterable[type]) -> UnreadableSource:
        found = " and ".join(sorted(kind.__name__ for kind in kinds))
        problem = f"column {column} holds {found} values, which no column here can; cast it in a query"
        return UnreadableSource(self._source, problem)

    def _mixed(self, column: str, types: Iterable[str]) -> UnreadableSource:
        return UnreadableSource(self._source, f"column {column} mixes {' and '.join(sorted(types))}")


def parse_times(source: str, text: pl.Series, *, dates: bool) -> pl.Series:
    """ISO 8601 text as dates, or as instants (UTC unless the text says otherwise).

    Raises:
        UnreadableSource: naming the first value that is neither.
    """
    values: list[date | None] = []
    for value in text:
        try:
            values.append(None if value is None else date.fromisoformat(value) if dates else _instant(value))
        except ValueError as exc:
            needed = "a date like the others" if dates else "an ISO 8601 time"
            raise UnreadableSource(
                source, f"column {text.name} holds {value!r}, which is not {needed}"
            ) from exc
    return pl.Series(text.name, values, pl.Date() if dates else pl.Datetime("us", "UTC"))


def _instant(value: str) -> datetime:
    parsed = datetime.fromisoformat(value)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
