"""What every data source promises."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import polars as pl

from retraining.sources.window import Window


@runtime_checkable
class DataSource(Protocol):
    """Rows by time window. Files and SQL come with the product; a team may bring its own."""

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        """Read the columns (the time column among them if listed) of the rows inside the window.

        Returns rows x columns in the order of `columns`, rows in a deterministic order, times as `Date` or
        as `Datetime("us", "UTC")`. Only what the window and the columns need is read. Returns zero rows for
        an empty window: the caller decides whether that is an error.

        Raises:
            UnreadableSource: the file, folder or table cannot be read.
            SourceUnreachable: the storage or database does not answer; trying again later may work.
            MissingColumns: with the columns there are.
            WrongColumnType: the time column is not a date or datetime.
        """
        ...

    def describe(self) -> str:
        """What people call this source: a path or a table, never with a password in it."""
        ...
