"""Two scans in the bins of one profile as the scan of both: rows are read once, and judged in parts too."""

from dataclasses import replace

import numpy as np

from retraining.drift.counting import CategoryTally
from retraining.drift.counts import CategoryCounts, ColumnCounts, NumericCounts
from retraining.drift.scan import Retyped, Vanished, WindowScan

EXAMPLES = CategoryTally.MAX_EXAMPLES


def merge_scans(first: WindowScan, second: WindowScan) -> WindowScan:
    """The scan of the rows of both, as if they had been scanned at once.

    A column that one of them lacks is missing in its rows.
    """
    columns = {
        name: _merge(column, first.rows, second.columns[name], second.rows)
        for name, column in first.columns.items()
    }
    return WindowScan(first.rows + second.rows, columns)


_Column = ColumnCounts | Vanished | Retyped


def _merge(first: _Column, first_rows: int, second: _Column, second_rows: int) -> _Column:
    # A part without rows says nothing, not even that a column has vanished.
    if not (first_rows and second_rows):
        return first if first_rows else second
    match first, second:
        case (Retyped() as retyped, _) | (_, Retyped() as retyped):
            return retyped
        case (Vanished(), other):
            return _with_missing(other, first_rows)
        case (other, Vanished()):
            return _with_missing(other, second_rows)
        case (NumericCounts() as one, NumericCounts() as other):
            return _merge_numbers(one, other)
        case (CategoryCounts() as one, CategoryCounts() as other):
            return CategoryCounts(
                missing=one.missing + other.missing,
                counts=one.counts + other.counts,
                other=one.other + other.other,
                examples=tuple(dict.fromkeys((*one.examples, *other.examples)))[:EXAMPLES],
            )
    raise TypeError(f"scans of different profiles: {first} and {second}")


def _with_missing(column: _Column, rows: int) -> _Column:
    if isinstance(column, Vanished | Retyped):
        return column
    return replace(column, missing=column.missing + rows)


def _merge_numbers(first: NumericCounts, second: NumericCounts) -> NumericCounts:
    missing, integers = first.missing + second.missing, first.integers and second.integers
    filled = [side for side in (first, second) if side.present] or [first]
    cells, positions = np.unique(np.concatenate([side.cells for side in filled]), return_inverse=True)
    counts = np.zeros(len(cells), np.int64)
    np.add.at(counts, positions, np.concatenate([side.counts for side in filled]))
    weights = np.array([max(side.present, 1) for side in filled], np.float64)
    means = np.array([side.mean for side in filled])
    mean = float(np.average(means, weights=weights))
    variances = np.array([side.std**2 for side in filled]) + (means - mean) ** 2
    return NumericCounts(
        missing=missing,
        cells=cells,
        counts=counts,
        minimum=min(side.minimum for side in filled),
        maximum=max(side.maximum for side in filled),
        mean=mean,
        std=float(np.sqrt(np.average(variances, weights=weights))),
        integers=integers,
    )
