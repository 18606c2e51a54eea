"""Parquet through fsspec: the addresses that polars does not open itself, read with pyarrow's dataset."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as arrow_fs

from retraining.sources import files
from retraining.sources.time_column import bounds, require_columns
from retraining.sources.window import Window


def open_dataset(
    path: str, storage_options: Mapping[str, Any] | None, suffixes: Sequence[str]
) -> ds.FileSystemDataset:
    """The Parquet files of an fsspec address as one dataset; nothing but the first footer is read."""
    file_system, root = files.open_file_system(path, storage_options)
    found = files.list_remote(file_system, root, suffixes)
    return ds.dataset(
        found,
        filesystem=arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(file_system)),
        format="parquet",
        partitioning=ds.partitioning(_partition_schema(found, root), flavor="hive"),
    )


def polars_schema(dataset: ds.FileSystemDataset) -> pl.Schema:
    """The dataset's columns in polars' types."""
    return pl.DataFrame(dataset.schema.empty_table()).schema


def read_window(
    dataset: ds.FileSystemDataset, window: Window, time_column: str, columns: Sequence[str]
) -> pl.DataFrame:
    """Rows x `columns` inside the window, reading the row groups that may hold such rows.

    Raises:
        MissingColumns: naming the file that lacks a column the first one has.
    """
    chosen = _inside(window, time_column, dataset.schema.field(time_column).type)
    for fragment in dataset.get_fragments(filter=chosen):
        # Arrow would fill a column that one file lacks with nulls, without a word.
        there = {*fragment.physical_schema.names, *dataset.partitioning.schema.names}
        require_columns(fragment.path, sorted(there), columns)
    return pl.DataFrame(dataset.to_table(columns=list(columns), filter=chosen))


def _partition_schema(found: Sequence[str], root: str) -> pa.Schema:
    """The columns of the `key=value` folders below the fixed part of `root`, typed as polars types them."""
    fixed = (
        re.split(r"[*?\[]", root, maxsplit=1)[0].rpartition("/")[0] if files.WILDCARD.search(root) else root
    )
    values: dict[str, set[str]] = {}
    for file in found:
        for folder in file.removeprefix(fixed).split("/")[:-1]:
            key, is_partition, value = folder.partition("=")
            if is_partition:
                values.setdefault(key, set()).add(value)
    return pa.schema([(key, _partition_type(taken)) for key, taken in values.items()])


def _partition_type(folders: set[str]) -> pa.DataType:
    values = folders - {"__HIVE_DEFAULT_PARTITION__"}  # what Hive calls null
    if all(re.fullmatch(r"-?\d+", value) for value in values):
        return pa.int64()
    if all(re.fullmatch(r"\d{4}-\d\d-\d\d", value) for value in values):
        return pa.date32()
    return pa.string()


def _inside(window: Window, column: str, dtype: pa.DataType) -> ds.Expression:
    is_timestamp = pa.types.is_timestamp(dtype)
    limits = bounds(window, dates=not is_timestamp, unit=dtype.unit if is_timestamp else "us")

    def scalar(value: object) -> pa.Scalar:
        if isinstance(value, datetime) and dtype.tz is None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return pa.scalar(value, type=dtype)

    until = ds.field(column) <= scalar(limits.until)
    return until if limits.after is None else (ds.field(column) > scalar(limits.after)) & until
