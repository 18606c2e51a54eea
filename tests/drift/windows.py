"""Checking one table against another, as a test needs it."""

from collections.abc import Mapping

import polars as pl

from retraining.drift.counts import CategoryCounts, ColumnCounts, NumericCounts
from retraining.drift.profile import build_profile
from retraining.drift.scan import Retyped, Vanished, scan_window
from retraining.drift.verdict import ColumnVerdict, DriftSettings, DriftVerdict, check_drift


def check(reference: pl.DataFrame, current: pl.DataFrame, **settings: object) -> DriftVerdict:
    """The verdict on `current`, all columns of `reference` taken."""
    profile = build_profile(reference, reference.columns)
    return check_drift(profile, scan_window(profile, current), DriftSettings(**settings))  # type: ignore[arg-type]


def check_column(reference: object, current: object, **settings: object) -> ColumnVerdict:
    """The verdict on a column alone."""
    verdict = check(pl.DataFrame({"column": reference}), pl.DataFrame({"column": current}), **settings)
    return verdict.columns[0]


def plain(columns: Mapping[str, ColumnCounts | Vanished | Retyped]) -> dict[str, object]:
    """What was counted, as values that can be compared; sums depend on their order in the last digits."""
    found: dict[str, object] = {}
    for name, column in columns.items():
        if isinstance(column, NumericCounts):
            figures = (column.minimum, column.maximum, f"{column.mean:.9g}", f"{column.std:.9g}")
            found[name] = (column.missing, column.cells.tolist(), column.counts.tolist(), figures)
        elif isinstance(column, CategoryCounts):
            found[name] = (column.missing, column.counts.tolist(), column.other)
        else:
            found[name] = column
    return found
