"""The second, optional capability of a source: rows that are read piece by piece, as drift checks read them.

A window's rows in memory cost what the window is long. A check of distributions looks at every value once and
keeps none, so a source that can hands out scans instead, and the check reads them slice by slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl

from retraining.errors import MissingColumns
from retraining.sources.source import DataSource
from retraining.sources.window import Window


@dataclass(frozen=True, eq=False)
class LazyRows:
    """Some rows of a source, not read yet: those of `parts` that meet `where`, in any order.

    Each part is a plain scan of a file, or a slice of one, that can be sliced again without reading what
    comes before. All have the columns of the first. Times are as they are stored, in any unit and zone.
    """

    parts: Sequence[pl.DataFrame | pl.LazyFrame]
    where: pl.Expr | None = None


@runtime_checkable
class Scannable(Protocol):
    """A source whose rows can be had without being in memory at once."""

    def scan(self, window: Window, *, time_column: str) -> LazyRows | None:
        """The rows of the window, with every column there is; None if it cannot be done for this source.

        Which rows are inside, and the errors, are those of `DataSource.read`; of the columns only that of
        time has to be there.
        """
        ...


def scan_rows(source: DataSource, window: Window, *, time_column: str, columns: Sequence[str]) -> LazyRows:
    """The window's rows with those of the columns that there are: scanned if the source can, otherwise read.

    Raises as `DataSource.read` does, MissingColumns for the time column alone.
    """
    rows = source.scan(window, time_column=time_column) if isinstance(source, Scannable) else None
    if rows is not None:
        return rows
    wanted = list(dict.fromkeys((time_column, *columns)))
    try:
        return LazyRows([source.read(window, time_column=time_column, columns=wanted)])
    except MissingColumns as exc:
        there = [column for column in wanted if column not in exc.missing]
        if time_column not in there or there == wanted:
            raise
        return LazyRows([source.read(window, time_column=time_column, columns=there)])
