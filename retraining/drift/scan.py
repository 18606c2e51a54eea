"""The current window, counted in the bins of the reference."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from retraining.drift.batches import Table, schema_of
from retraining.drift.counting import BinsByColumn, count_columns
from retraining.drift.counts import ColumnCounts
from retraining.drift.kinds import is_readable_as
from retraining.drift.profile import ReferenceProfile
from retraining.errors import MissingColumns


@dataclass(frozen=True, slots=True)
class Vanished:
    """The reference has the column, the window does not."""


@dataclass(frozen=True, slots=True)
class Retyped:
    """The column has become something that cannot be counted in the reference's bins."""

    found: str


@dataclass(frozen=True, slots=True)
class WindowScan:
    """A window counted in the bins of a reference profile."""

    rows: int
    columns: Mapping[str, ColumnCounts | Vanished | Retyped]
    """Every column of the profile, in its order."""


def scan_window(profile: ReferenceProfile, table: Table, *, where: pl.Expr | None = None) -> WindowScan:
    """Count the rows of `table` that meet `where` in the bins of `profile`.

    Only the profile's columns are read, each once. A column that the table lacks is noted as vanished, one
    whose values cannot be counted any more as retyped: both are findings, not errors.

    Raises:
        MissingColumns: the table lacks the time column from which the profile's datetimes are measured.
    """
    schema = schema_of(table)
    notes: dict[str, ColumnCounts | Vanished | Retyped] = {}
    countable: BinsByColumn = {}
    for name, column in profile.columns.items():
        if name not in schema:
            notes[name] = Vanished()
        elif not is_readable_as(column.kind, schema[name]):
            notes[name] = Retyped(str(schema[name]))
        else:
            countable[name] = column.bins
    is_datetime = any(profile.columns[name].kind == "datetime" for name in countable)
    if is_datetime and profile.time_column is not None and profile.time_column not in schema:
        raise MissingColumns("the current window", [profile.time_column], list(schema))
    rows, counts = count_columns(table, countable, where=where, time_column=profile.time_column)
    notes |= counts
    return WindowScan(rows=rows, columns={name: notes[name] for name in profile.columns})
