"""Parquet files on this machine as scans, without the rows before and after a window.

polars leaves row groups out by their statistics when it filters a whole file. Drift checks read slices, which
polars filters after it has read them. So the window's rows are looked for first, by the time column alone;
where they lie together, as in files in order of time, nothing is left to be filtered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from retraining.sources.lazy import LazyRows
from retraining.sources.time_column import inside
from retraining.sources.window import Window

_ROW = "\0row"  # no column is called so
ROWS_AT_ONCE = 262_144


@dataclass(frozen=True)
class _Span:
    """From the first row of a file that is inside the window to the last one."""

    offset: int
    length: int
    inside: int
    """How many of these rows are inside."""


def scan_files(
    local_files: Sequence[Path], schema: pl.Schema, window: Window, time_column: str, *, partitioned: bool
) -> LazyRows:
    """The window's rows of files on this machine; `schema` is that of all of them together.

    A column that only some of the files with such rows have is null in the others.
    """
    chosen = inside(window, time_column, schema[time_column])
    parts: list[pl.LazyFrame] = []
    all_inside = True
    for file in local_files:
        span = _find_span(_scan(file, schema, partitioned, row_index_name=_ROW), chosen)
        if span is not None:
            parts.append(_scan(file, schema, partitioned).slice(span.offset, span.length))
            all_inside &= span.inside == span.length
    if not parts:
        return LazyRows([pl.DataFrame(schema=schema)])
    return LazyRows(_alike(parts), None if all_inside else chosen)


def _scan(
    file: Path, schema: pl.Schema, partitioned: bool, *, row_index_name: str | None = None
) -> pl.LazyFrame:
    folders = {folder.partition("=")[0] for folder in file.parts[:-1] if "=" in folder}
    # Typed by all files together: one folder's name may look like a number where another's does not.
    keys = {name: dtype for name, dtype in schema.items() if partitioned and name in folders}
    return pl.scan_parquet(
        file,
        glob=False,
        hive_partitioning=partitioned,
        hive_schema=keys or None,
        row_index_name=row_index_name,
    )


def _find_span(rows: pl.LazyFrame, chosen: pl.Expr) -> _Span | None:
    """In slices: of a whole file polars would hold several row groups at once, however large they are.

    Of slices, too, polars leaves out what the row groups' statistics exclude.
    """
    row = pl.col(_ROW)
    found = [
        rows.slice(start, ROWS_AT_ONCE)
        .filter(chosen)
        .select(row.min().alias("first"), row.max().alias("last"), row.len().alias("count"))
        .collect(engine="streaming")
        for start in range(0, rows.select(pl.len()).collect().item(), ROWS_AT_ONCE)
    ]
    if not found:
        return None
    first, last, count = (
        pl.concat(found).select(pl.col("first").min(), pl.col("last").max(), pl.col("count").sum()).row(0)
    )
    return None if first is None else _Span(first, last - first + 1, count)


def _alike(parts: Sequence[pl.LazyFrame]) -> list[pl.LazyFrame]:
    """The parts, each with the columns of all."""
    schemas = [part.collect_schema() for part in parts]
    everything: dict[str, pl.DataType] = {}
    for schema in schemas:
        everything = {**everything, **{name: schema[name] for name in schema if name not in everything}}
    return [
        part.with_columns(
            pl.lit(None, dtype).alias(name) for name, dtype in everything.items() if name not in schema
        )
        if len(schema) < len(everything)
        else part
        for part, schema in zip(parts, schemas, strict=True)
    ]
