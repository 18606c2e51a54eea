"""The profile of a reference window: all that a drift check needs to know of it, in about 100 KB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from retraining.drift.batches import Table, read_batches, schema_of
from retraining.drift.bins import CategoryBins, NumericBins
from retraining.drift.counting import BinsByColumn, count_columns, measured
from retraining.drift.counts import ColumnCounts
from retraining.drift.kinds import FALSE_AND_TRUE, NEEDED, Kind, as_numbers, as_text, find_kind
from retraining.errors import DataProblem, MissingColumns, WrongColumnType

SAMPLE_ROWS = 65_536
"""Rows from which the layout of numeric bins is chosen. What is counted in them is every row."""
MAX_CANDIDATES = 100_000
"""Categories counted at a time while looking for the most frequent ones."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column of the reference."""

    kind: Kind
    bins: NumericBins | CategoryBins
    counts: ColumnCounts


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """The reference, counted. `profile_format` turns it into bytes and back."""

    rows: int
    columns: Mapping[str, ColumnProfile]
    time_column: str | None = None
    """Datetimes are compared by how long before this column they lie; if None, as they are."""


def build_profile(
    table: Table,
    columns: Sequence[str],
    *,
    where: pl.Expr | None = None,
    time_column: str | None = None,
    source: str = "the reference",
) -> ReferenceProfile:
    """Summarise the rows of `table` that meet `where`, in two passes: one to choose the bins, one to count.

    The bins of a numeric column are laid out from a random sample of its rows (fixed seed); categories are
    counted exactly up to 100,000 of them, beyond that the rarest are dropped on the way (lossy counting,
    Manku and Motwani 2002). `source` names the table in errors.

    Raises:
        MissingColumns: a column, or the time column, is not in the table.
        WrongColumnType: a column has a type without a distribution, such as a list.
        DataProblem: there are no rows.
    """
    schema = schema_of(table)
    needed = [*columns, *([] if time_column is None else [time_column])]
    if missing := [name for name in dict.fromkeys(needed) if name not in schema]:
        raise MissingColumns(source, missing, list(schema))
    kinds = {name: _kind_of(source, name, schema[name]) for name in dict.fromkeys(columns)}
    bins = _choose_bins(table, kinds, schema, where, time_column)
    rows, counts = count_columns(table, bins, where=where, time_column=time_column)
    if not rows:
        raise DataProblem(source, "there are no rows to compare with")
    return ReferenceProfile(
        rows=rows,
        columns={name: ColumnProfile(kind, bins[name], counts[name]) for name, kind in kinds.items()},
        time_column=time_column,
    )


def _kind_of(source: str, name: str, dtype: pl.DataType) -> Kind:
    if dtype == pl.Null:  # nothing but nulls: no type, no values
        return "numeric"
    kind = find_kind(dtype)
    if kind is None:
        raise WrongColumnType(source, name, str(dtype), NEEDED)
    return kind


def _choose_bins(
    table: Table,
    kinds: Mapping[str, Kind],
    schema: Mapping[str, pl.DataType],
    where: pl.Expr | None,
    time_column: str | None,
) -> BinsByColumn:
    readings = {
        name: [as_text(name, schema[name])]
        if kind == "categorical"
        else [as_numbers(name, schema[name], time_column)]
        for name, kind in kinds.items()
        if kind != "boolean"
    }
    frequencies = {name: _Frequencies() for name, kind in kinds.items() if kind == "categorical"}
    samples: dict[tuple[str, ...], _Sample] = {}
    for names, batch in read_batches(table, readings, where) if readings else ():
        sample = samples.setdefault(names, _Sample())
        sample.add(batch.select(name for name in names if name not in frequencies))
        for name in frequencies.keys() & names:
            frequencies[name].add(batch[name])
    bins: BinsByColumn = dict.fromkeys(kinds, CategoryBins(FALSE_AND_TRUE, len(FALSE_AND_TRUE)))
    bins |= {name: frequency.bins() for name, frequency in frequencies.items()}
    bins |= dict.fromkeys(readings.keys() - frequencies.keys(), NumericBins(center=0.0, scale=1.0))
    for sample in samples.values():
        for column in sample.rows:
            values, _, _ = measured(column)
            if len(values):
                bins[column.name] = NumericBins.fit(values)
    return bins


class _Sample:
    """A uniform sample of rows, of a stream of unknown length: those with the smallest random keys."""

    def __init__(self) -> None:
        self.rows = pl.DataFrame()
        self._keys = np.empty(0)
        self._random = np.random.default_rng(0)

    def add(self, batch: pl.DataFrame) -> None:
        keys = self._random.random(batch.height)
        if len(self._keys) == SAMPLE_ROWS:
            keep = keys < self._keys.max()
            keys, batch = keys[keep], batch.filter(pl.Series(keep))
        keys = np.concatenate([self._keys, keys])
        rows = self.rows.vstack(batch) if self.rows.width else batch
        if len(keys) > SAMPLE_ROWS:
            chosen = np.argpartition(keys, SAMPLE_ROWS)[:SAMPLE_ROWS]
            keys, rows = keys[chosen], rows[chosen]
        self._keys, self.rows = keys, rows


class _Frequencies:
    """The categories of a stream and how often they occur; of too many, the frequent ones."""

    def __init__(self) -> None:
        self._counts: pl.DataFrame | None = None
        self._dropped = 0

    def add(self, texts: pl.Series) -> None:
        counts = pl.DataFrame({"category": texts.drop_nulls()}).group_by("category").len("count")
        if self._counts is not None:
            together = pl.concat([self._counts, counts])
            counts = together.group_by("category").agg(pl.col("count").sum())
        if counts.height > MAX_CANDIDATES:
            self._dropped += counts.height - MAX_CANDIDATES // 2
            counts = counts.top_k(MAX_CANDIDATES // 2, by="count")
        self._counts = counts

    def bins(self) -> CategoryBins:
        if self._counts is None:
            return CategoryBins((), 0)
        # By name where counts are equal, so that the same rows make the same profile.
        ordered = self._counts.sort(["count", "category"], descending=[True, False])
        return CategoryBins.fit(ordered["category"].to_list(), ordered.height + self._dropped)
