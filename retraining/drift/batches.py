"""Reading a table piece by piece, so that memory does not grow with its rows."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl

Table = pl.DataFrame | pl.LazyFrame | Sequence[pl.DataFrame | pl.LazyFrame]
"""Rows in memory, a plain scan of a file, or a sequence of these, with the columns of the first.

A scan is read slice by slice, so it should be one that polars can slice without reading what comes before:
`pl.scan_parquet(file)`, one for each file. A filter belongs into the `where` that goes with the table.
"""

ROWS_PER_BATCH = 262_144
COLUMNS_PER_BATCH = 8


def schema_of(table: Table) -> pl.Schema:
    """The names and types of the table's columns; empty for an empty sequence."""
    first = next(iter(_parts(table)), None)
    return pl.Schema() if first is None else first.lazy().collect_schema()


def read_batches(
    table: Table, columns: Sequence[pl.Expr], where: pl.Expr | None = None
) -> Iterator[pl.DataFrame]:
    """The table's rows that meet `where`, as `columns`, at most ROWS_PER_BATCH at a time.

    The next batch is read while the caller works on this one; no more than these two are in memory.
    """
    slices = _slices(table, columns, where)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="drift-read") as reader:
        upcoming = reader.submit(next, slices, None)
        while (batch := upcoming.result()) is not None:
            upcoming = reader.submit(next, slices, None)
            yield batch


def _slices(table: Table, columns: Sequence[pl.Expr], where: pl.Expr | None) -> Iterator[pl.DataFrame]:
    for part in _parts(table):
        rows = part.lazy()
        height = part.height if isinstance(part, pl.DataFrame) else rows.select(pl.len()).collect().item()
        for start in range(0, height, ROWS_PER_BATCH):
            piece = rows.slice(start, ROWS_PER_BATCH)
            if where is not None:
                piece = piece.filter(where)
            yield piece.select(columns).collect()


def _parts(table: Table) -> Sequence[pl.DataFrame | pl.LazyFrame]:
    return (table,) if isinstance(table, pl.DataFrame | pl.LazyFrame) else table
