"""Reading a table piece by piece, so that memory does not grow with its rows."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl

Table = pl.DataFrame | pl.LazyFrame | Sequence[pl.DataFrame | pl.LazyFrame]
"""Rows in memory, a plain scan of a file, or a sequence of these, with the columns of the first.

A scan is read slice by slice, so it should be one that polars can slice without reading what comes before:
`pl.scan_parquet(file)`, one for each file. A filter belongs into the `where` that goes with the table.
"""

ROWS_PER_BATCH = 262_144
COLUMNS_PER_BATCH = 3
"""polars unpacks a whole row group of each column for the slice that is asked for, a million rows as pandas
writes them: five columns at once take 23 MB more and save a twentieth of the time; two take 36 MB less."""

Batch = tuple[tuple[str, ...], pl.DataFrame]
"""The names of some columns, and some rows of what is read for them."""


def schema_of(table: Table) -> pl.Schema:
    """The names and types of the table's columns; empty for an empty sequence."""
    first = next(iter(_parts(table)), None)
    return pl.Schema() if first is None else first.lazy().collect_schema()


def read_batches(
    table: Table, readings: Mapping[str, Sequence[pl.Expr]], where: pl.Expr | None = None
) -> Iterator[Batch]:
    """Read what `readings` says for each column, from the rows that meet `where`.

    A batch has at most ROWS_PER_BATCH rows and COLUMNS_PER_BATCH columns: of a columnar file each group of
    columns reads its own part. With nothing to read the batches are as high as the table, without a name.
    The next batch is read while the caller works on this one; no more than these two are in memory.
    """
    batches = _batches(table, readings, where)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="drift-read") as reader:
        upcoming = reader.submit(next, batches, None)
        while (batch := upcoming.result()) is not None:
            upcoming = reader.submit(next, batches, None)
            yield batch


def _batches(
    table: Table, readings: Mapping[str, Sequence[pl.Expr]], where: pl.Expr | None
) -> Iterator[Batch]:
    names = tuple(readings)
    for first in range(0, max(len(names), 1), COLUMNS_PER_BATCH):
        group = names[first : first + COLUMNS_PER_BATCH]
        expressions = [expression for name in group for expression in readings[name]]
        for part in _parts(table):
            for rows in _slices(part):
                chosen = rows if where is None else rows.filter(where)
                yield group, chosen.select(expressions or [pl.int_range(pl.len())]).collect()


def _slices(part: pl.DataFrame | pl.LazyFrame) -> Iterator[pl.LazyFrame]:
    rows = part.lazy()
    height = part.height if isinstance(part, pl.DataFrame) else rows.select(pl.len()).collect().item()
    for start in range(0, height, ROWS_PER_BATCH):
        yield rows.slice(start, ROWS_PER_BATCH)


def _parts(table: Table) -> Sequence[pl.DataFrame | pl.LazyFrame]:
    return (table,) if isinstance(table, pl.DataFrame | pl.LazyFrame) else table
