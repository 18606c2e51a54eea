"""Counting a table's columns in given bins: one pass, and memory that does not grow with the rows."""

import numpy as np
import polars as pl

from retraining.drift.batches import Table, read_batches, schema_of
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
    """The number of rows that meet `where`, and the counts of each column that `bins` names."""
    schema = schema_of(table)
    readings = {name: _reading(name, schema[name], bins[name], time_column) for name in bins}
    # What no batch comes for, in a table without rows, is counted as nothing.
    counts = {name: _new_tally(bins[name], schema[name]).finish() for name in bins}
    tallies: dict[str, NumericTally | CategoryTally] = {}
    rows, first_group = 0, None
    for names, batch in read_batches(table, readings, where):
        if first_group in (None, names):
            first_group = names
            rows += batch.height
        if tallies.keys() != set(names):  # a new group: the cells of the last one are not needed any more
            counts |= {name: tally.finish() for name, tally in tallies.items()}
            tallies = {name: _new_tally(bins[name], schema[name]) for name in names}
        for name, tally in tallies.items():
            if isinstance(tally, NumericTally):
                tally.add(batch[name])
            else:
                tally.add(batch[name], batch[name + _CODE])
    counts |= {name: tally.finish() for name, tally in tallies.items()}
    return rows, counts


def _reading(
    name: str, dtype: pl.DataType, bins: NumericBins | CategoryBins, time_column: str | None
) -> list[pl.Expr]:
    if isinstance(bins, NumericBins):
        return [as_numbers(name, dtype, time_column)]
    return [as_text(name, dtype), as_codes(name, dtype, bins.categories).alias(name + _CODE)]


def _new_tally(bins: NumericBins | CategoryBins, dtype: pl.DataType) -> "NumericTally | CategoryTally":
    if isinstance(bins, NumericBins):
        return NumericTally(bins, integers=dtype.is_integer())
    return CategoryTally(bins)


def measured(column: pl.Series) -> tuple[Floats, float, float]:
    """The values of a float column, their minimum and maximum.

    Null, NaN, infinity and what stands for it beyond 1e100 are no values. Without any the ends are NaN.
    """
    values: Floats = column.to_numpy()
    for _ in range(2):
        if not len(values):
            break
        minimum, maximum = float(values.min()), float(values.max())
        if minimum > -NOT_MEASURED and maximum < NOT_MEASURED:  # not with a NaN among the values
            return values, minimum, maximum
        values = values[np.abs(values) < NOT_MEASURED]
    return values, np.nan, np.nan


class NumericTally:
    """Counts a numeric column, batch by batch."""

    def __init__(self, bins: NumericBins, *, integers: bool) -> None:
        self._bins = bins
        self._integers = integers
        self._cells = np.zeros(CELLS, np.int64)
        self._rows = self._present = 0
        self._minimum, self._maximum = np.inf, -np.inf
        # About the center, from which the mean is at most a standard deviation away: nothing cancels out.
        self._total = self._squares = 0.0

    def add(self, column: pl.Series) -> None:
        """Count floats; what `measured` drops counts as missing."""
        for chunk in column.get_chunks():  # in one piece they would be copied first
            values, minimum, maximum = measured(chunk)
            self._rows += len(chunk)
            if not len(values):
                continue
            counts, total, squares = self._bins.count(values)
            self._cells += counts
            self._present += len(values)
            self._total += total
            self._squares += squares
            self._minimum = min(self._minimum, minimum)
            self._maximum = max(self._maximum, maximum)

    def finish(self) -> NumericCounts:
        """The counts of everything added."""
        cells = np.flatnonzero(self._cells)
        minimum = maximum = mean = std = np.nan
        if self._present:
            offset = self._total / self._present
            minimum, maximum, mean = self._minimum, self._maximum, self._bins.center + offset
            variance = 0.0 if minimum == maximum else self._squares / self._present - offset * offset
            std = max(variance, 0.0) ** 0.5
        return NumericCounts(
            missing=self._rows - self._present,
            cells=cells,
            counts=self._cells[cells],
            minimum=minimum,
            maximum=maximum,
            mean=mean,
            std=std,
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
