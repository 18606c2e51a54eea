"""What is known of a column in one window: its values counted in the bins of the reference."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from retraining.drift.bins import CELLS, CategoryBins, Floats, Integers, NumericBins


@dataclass(frozen=True, slots=True, eq=False)
class NumericCounts:
    """A numeric column's values by cell. Infinite and NaN count as missing, as with Evidently."""

    missing: int
    cells: Integers
    """The cells with values in them, ascending."""
    counts: Integers
    """The number of values in each of `cells`."""
    minimum: float
    maximum: float
    mean: float
    std: float
    """Population standard deviation (ddof 0). The four are NaN without values."""
    integers: bool
    """The column's type is a whole number."""

    @property
    def present(self) -> int:
        """Number of values that are not missing."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True, eq=False)
class CategoryCounts:
    """A categorical or boolean column's values by category."""

    missing: int
    counts: Integers
    """The number of values in each of the bins' categories, in their order."""
    other: int
    """The number of values in none of them."""
    examples: tuple[str, ...] = ()
    """Some of the others, where the reference has none."""

    @property
    def present(self) -> int:
        """Number of values that are not missing."""
        return int(self.counts.sum()) + self.other


@dataclass(frozen=True, slots=True)
class Vanished:
    """The reference has the column, the window does not."""


@dataclass(frozen=True, slots=True)
class Retyped:
    """The column has become something that cannot be counted in the reference's bins."""

    found: str


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
        """Count floats; null, NaN and infinite ones as missing."""
        values: Floats = column.to_numpy()
        if not np.isfinite(values.sum()):  # far cheaper than looking at each
            values = values[np.isfinite(values)]
        self._missing += len(column) - len(values)
        if not len(values):
            return
        self._cells += np.bincount(self._bins.cells_of(values), minlength=CELLS)
        self._minimum = min(self._minimum, values.min())
        self._maximum = max(self._maximum, values.max())
        self._add_moments(values)

    def _add_moments(self, values: Floats) -> None:
        # Chan, Golub, LeVeque (1983): stable, whatever the mean.
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
            minimum=np.nan if none else float(self._minimum),
            maximum=np.nan if none else float(self._maximum),
            mean=np.nan if none else self._mean,
            std=np.nan if none else float(np.sqrt(self._squares / self._present)),
            integers=self._integers,
        )


class CategoryTally:
    """Counts a categorical or boolean column, batch by batch."""

    MAX_EXAMPLES = 5

    def __init__(self, bins: CategoryBins) -> None:
        self._bins = bins
        self._counts = np.zeros(len(bins.categories) + 1, np.int64)
        self._missing = 0
        self._examples: dict[str, None] = {}

    def add(self, texts: pl.Series, codes: pl.Series) -> None:
        """Count values given as text and as positions in the bins' categories (null: in none of them)."""
        nowhere = len(self._counts) - 1
        self._counts += np.bincount(codes.fill_null(nowhere).to_numpy(), minlength=nowhere + 1)
        self._missing += texts.null_count()
        unknown = codes.null_count() - texts.null_count()
        if unknown and self._bins.complete and len(self._examples) < self.MAX_EXAMPLES:
            found = texts.filter(codes.is_null() & texts.is_not_null()).unique(maintain_order=True)
            self._examples |= dict.fromkeys(found.cast(pl.String).head(self.MAX_EXAMPLES))

    def finish(self) -> CategoryCounts:
        """The counts of everything added."""
        return CategoryCounts(
            missing=self._missing,
            counts=self._counts[:-1],
            other=int(self._counts[-1]) - self._missing,
            examples=tuple(self._examples)[: self.MAX_EXAMPLES],
        )


ColumnCounts = NumericCounts | CategoryCounts
WindowColumns = Mapping[str, ColumnCounts | Vanished | Retyped]
