"""One order of rows, whatever order they are stored in."""

from collections.abc import Sequence

import polars as pl


def in_canonical_order(frame: pl.DataFrame, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
    """The frame, rows x `columns`, sorted by time and then by the other columns from left to right.

    The same rows come in the same order however they are cut into files, row groups, partitions or pages of
    a database: an estimator that subsamples trains the same model, and the fingerprint stays. Missing values
    come first, text sorts by its UTF-8 bytes. Columns of lists, structs or objects do not take part.
    """
    times = frame[time_column]
    if not times.null_count() and times.is_sorted() and _all_differ(times):
        return frame.select(columns)  # as files in order of time come: sorting would copy all of it
    others = [name for name in columns if name != time_column and _is_sortable(frame.schema[name])]
    keys = [time_column, *others]
    by = keys
    size = 1
    # Time and an entity tell most tables' rows apart: sorting by all columns would cost twenty times as much.
    while size < len(keys):
        if frame.select(pl.struct(keys[:size]).n_unique()).item() == frame.height:
            by = keys[:size]
            break
        size *= 2
    return frame.sort([_sort_key(name, frame.schema[name]) for name in by], maintain_order=True).select(
        columns
    )


def _all_differ(sorted_values: pl.Series) -> bool:
    return not (sorted_values == sorted_values.shift()).any()


def _is_sortable(dtype: pl.DataType) -> bool:
    return not dtype.is_nested() and dtype != pl.Object


def _sort_key(name: str, dtype: pl.DataType) -> pl.Expr:
    # The order of a categorical's codes depends on which values were read first.
    is_coded = isinstance(dtype, (pl.Categorical, pl.Enum))
    return pl.col(name).cast(pl.String) if is_coded else pl.col(name)
