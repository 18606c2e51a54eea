"""Counting a table's columns in given bins: one pass, and memory that does not grow with the rows."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from retraining.drift.batches import COLUMNS_PER_BATCH, Table, read_batches, schema_of
from retraining.drift.bins import CELLS, CategoryBins, Floats, NumericBins
from retraining.drift.counts import CategoryCounts, ColumnCounts, NumericCounts
from retraining.drift.kinds import as_codes, as_numbers, as_text

BinsByColumn = dict[str, NumericBins | CategoryBins]

NOT_MEASURED = 1e100
"""Nothing is so large, but some systems write the largest float for a missing value."""

_CODE = "\0code"  # no column is called so


def count_columns(
    table: Table, bins: BinsByColumn, *, where: pl.Expr | None, time_column: str | None
) -> tuple[int, dict[str, ColumnCounts]]:
    """The number of rows that meet `where`, and the counts of each column that `bins` names.

    The columns go through in small groups: of a columnar file each group reads its own part, and what is in
    memory at a time stays small.
    """
    schema = schema_of(table)
    counts: dict[str, ColumnCounts] = {}
    rows = 0
    names = list(bins)
    for start in range(0, max(len(names), 1), COLUMNS_PER_BATCH):
        group = {name: bins[name] for name in names[start : start + COLUMNS_PER_BATCH]}
        rows, counted = _count_group(table, group, schema, where, time_column)
        counts |= counted
    return rows, counts


def _count_group(
    table: Table,
    bins: BinsByColumn,
    schema: Mapping[str, pl.DataType],
    where: pl.Expr | None,
    time_column: str | None,
) -> tuple[int, dict[str, ColumnCounts]]:
    tallies: dict[str, NumericTally | CategoryTally] = {}
    expressions: list[pl.Expr] = []
    for name, column_bins in bins.items():
        dtype = schema[name]
        if isinstance(column_bins, NumericBins):
            tallies[name] = NumericTally(column_bins, integers=dtype.is_integer())
            expressions.append(as_numbers(name, dtype, time_column))
        else:
            tallies[name] = CategoryTally(column_bins)
            codes = as_codes(name, dtype, column_bins.categories)
            expressions += [as_text(name, dtype), codes.alias(name + _CODE)]
    rows = 0
    for batch in read_batches(table, expressions or [pl.int_range(pl.len())], where):
        rows += batch.height
        for name, tally in tallies.items():
            if isinstance(tally, NumericTally):
                tally.add(batch[name])
            else:
                tally.add(batch[name], batch[name + _CODE])
    return rows, {name: tally.finish() for name, tally in tallies.items()}


def measured(column: pl.Series) -> Floats:
    """The values of a float column without null, NaN, infinity and stand-ins for it beyond 1e100."""
    values: Floats = column.to_numpy()
    if len(values) and not (values.min() > -NOT_MEASURED and values.max() < NOT_MEASURED):  # NaN: not either
        values = values[np.abs(values) < NOT_MEASURED]
    return values


class NumericTally:
    """Counts a numeric column, batch by batch."""

    def __init__(self, bins: NumericBins, *, integers: bool) -> None:
        self._bins = bins
        self._integers = integers
        self._cells = np.zeros(CELLS, np.int64)
        self._missing = self._present = 0
        self._minimum, self._maximum = np.inf, -np.inf
        self._mean = self._squares = 0.0

    def add(self, column: pl.Series) -> None:
        """Count floats; what `measured` drops counts as missing."""
        values = measured(column)
        self._missing += len(column) - len(values)
        if not len(values):
            return
        self._cells += np.bincount(self._bins.cells_of(values), minlength=CELLS)
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))
        self._add_moments(values)

    def _add_moments(self, values: Floats) -> None:
        # Chan, Golub and LeVeque (1983): stable, whatever the mean.
        mean = float(values.mean())
        deviations = values - mean
        deviations *= deviations  # np.dot would wake the threads of BLAS, which then compete with polars'
        gap, before, total = mean - self._mean, self._present, self._present + len(values)
        self._squares += float(deviations.sum()) + gap * gap * before * len(values) / total
        self._mean += gap * len(values) / total
        self._present = total

    def finish(self) -> NumericCounts:
        """The counts of everything added."""
        cells = np.flatnonzero(self._cells)
        none = not self._present
        return NumericCounts(
            missing=self._missing,
            cells=cells,
            counts=self._cells[cells],
            minimum=np.nan if none else self._minimum,
            maximum=np.nan if none else self._maximum,
            mean=np.nan if none else self._mean,
            std=np.nan if none else (self._squares / self._present) ** 0.5,
            integers=self._integers,
        )


class CategoryTally:
    """Counts a categorical or boolean column, batch by batch."""

    MAX_EXAMPLES = 5

    def __init__(self, bins: CategoryBins) -> None:
        self._complete = bins.complete
        self._counts = np.zeros(len(bins.categories) + 1, np.int64)
        self._missing = 0
        self._examples: dict[str, None] = {}

    def add(self, values: pl.Series, codes: pl.Series) -> None:
        """Count values, given with their positions among the bins' categories (null: in none of them)."""
        nowhere = len(self._counts) - 1
        self._counts += np.bincount(codes.fill_null(nowhere).to_numpy(), minlength=nowhere + 1)
        self._missing += values.null_count()
        is_some_unknown = codes.null_count() > values.null_count()
        if is_some_unknown and self._complete and len(self._examples) < self.MAX_EXAMPLES:
            unknown = values.filter(codes.is_null() & values.is_not_null()).unique(maintain_order=True)
            self._examples |= dict.fromkeys(unknown.head(self.MAX_EXAMPLES).cast(pl.String))

    def finish(self) -> CategoryCounts:
        """The counts of everything added."""
        return CategoryCounts(
            missing=self._missing,
            counts=self._counts[:-1],
            other=int(self._counts[-1]) - self._missing,
            examples=tuple(self._examples)[: self.MAX_EXAMPLES],
        )
