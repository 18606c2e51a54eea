"""Two scans in the bins of one profile as the scan of both: rows that were read once are judged in parts too."""

import numpy as np

from retraining.drift.counts import CategoryCounts, ColumnCounts, NumericCounts
from retraining.drift.scan import Retyped, Vanished, WindowScan


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
    if not second_rows:
        return first
    if not first_rows:
        return second
    for column in (first, second):
        if isinstance(column, Retyped):
            return column
    if isinstance(first, Vanished):
        return _with_missing(second, first_rows)
    if isinstance(second, Vanished):
        return _with_missing(first, second_rows)
    if isinstance(first, NumericCounts) and isinstance(second, NumericCounts):
        return _merge_numbers(first, second)
    assert isinstance(first, CategoryCounts)
    assert isinstance(second, CategoryCounts)
    return CategoryCounts(
        missing=first.missing + second.missing,
        counts=first.counts + second.counts,
        other=first.other + second.other,
        examples=tuple(dict.fromkeys((*first.examples, *second.examples)))[:5],
    )


def _with_missing(column: _Column, rows: int) -> _Column:
    match column:
        case NumericCounts():
            return NumericCounts(
                missing=column.missing + rows,
                cells=column.cells,
                counts=column.counts,
                minimum=column.minimum,
                maximum=column.maximum,
                mean=column.mean,
                std=column.std,
                integers=column.integers,
            )
        case CategoryCounts():
            return CategoryCounts(column.missing + rows, column.counts, column.other, column.examples)
        case _:
            return column


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
