"""Parquet: a file, a folder or a glob, here or on any storage that fsspec knows."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from retraining.sources import files
from retraining.sources.lazy import LazyRows
from retraining.sources.masking import mask_credentials
from retraining.sources.order import in_canonical_order
from retraining.sources.time_column import in_utc, inside, require_columns, require_time
from retraining.sources.window import Window

SUFFIXES = (".parquet",)


@dataclass(frozen=True, repr=False)
class ParquetSource:
    """Rows from Parquet files, of which only the window's row groups and the asked columns are read.

    `path` is a file, a folder (searched through all its levels, `key=value` folders being columns) or a glob;
    local, or an address. polars reads s3, gs, azure, http and hf addresses itself, with its own
    `storage_options` (`aws_region`, ...); every other fsspec address (`memory://`, `sftp://`,
    `simplecache::s3://`) goes through fsspec with its options. Partitions outside of the window are not
    opened if the time column is a `key=value` folder; otherwise the footers' statistics decide, so keep row
    groups small enough (100,000 rows) and roughly in order of time. Every file has the same columns in the
    same types.

    >>> ParquetSource("purchases/year=*/*.parquet")  # doctest: +SKIP
    """

    path: str | os.PathLike[str]
    storage_options: Mapping[str, Any] | None = field(default=None, hash=False)

    def describe(self) -> str:
        """The path, without credentials."""
        return mask_credentials(os.fspath(self.path))

    def __repr__(self) -> str:
        return f"ParquetSource({self.describe()!r})"

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        """Read as `DataSource.read` promises."""
        wanted = list(dict.fromkeys((*columns, time_column)))
        read = (
            self._read_with_polars if files.is_read_by_polars(os.fspath(self.path)) else self._read_with_arrow
        )
        frame = read(window, time_column, wanted)
        return in_canonical_order(in_utc(frame, time_column), time_column, columns)

    def scan(self, window: Window, *, time_column: str) -> LazyRows | None:
        """See `Scannable.scan`. For files on this machine; an address elsewhere is read, not scanned."""
        path, source = os.fspath(self.path), self.describe()
        here = files.local_path(path)
        if here is None:
            return None
        from retraining.sources.parquet_scan import scan_files

        with files.reading(source):
            local_files = files.list_local(here, SUFFIXES)
        with files.reading(source, files_to_blame=local_files):
            schema = self._scan(path, local_files).collect_schema()
            require_columns(source, schema, [time_column])
            require_time(source, time_column, schema[time_column])
            partitioned = self._is_partitioned(path, local_files)
            return scan_files(local_files, schema, window, time_column, partitioned=partitioned)

    def _read_with_polars(self, window: Window, time_column: str, wanted: list[str]) -> pl.DataFrame:
        source, path = self.describe(), os.fspath(self.path)
        here = files.local_path(path)
        with files.reading(source):
            local_files = [] if here is None else files.list_local(here, SUFFIXES)
        with files.reading(source, files_to_blame=local_files):
            rows = self._scan(path, local_files)
            schema = rows.collect_schema()
            require_columns(source, schema, wanted)
            require_time(source, time_column, schema[time_column])
            return rows.filter(inside(window, time_column, schema[time_column])).select(wanted).collect()

    def _scan(self, path: str, local_files: list[Path]) -> pl.LazyFrame:
        if local_files:
            partitioned = self._is_partitioned(path, local_files)
            return pl.scan_parquet(
                local_files, glob=False, hive_partitioning=partitioned, extra_columns="ignore"
            )
        path = files.as_searched(path, SUFFIXES)
        return pl.scan_parquet(
            path,
            glob=files.has_wildcard(path),
            hive_partitioning=files.has_wildcard(path),
            extra_columns="ignore",
            storage_options=dict(self.storage_options) if self.storage_options else None,
        )

    def _is_partitioned(self, path: str, local_files: list[Path]) -> bool:
        here = Path(files.fixed_part(str(files.local_path(path))))
        below = [file.relative_to(here) for file in local_files] if here.is_dir() else []
        return any("=" in folder for file in below for folder in file.parts[:-1])

    def _read_with_arrow(self, window: Window, time_column: str, wanted: list[str]) -> pl.DataFrame:
        # Only addresses that polars cannot open need pyarrow and fsspec.
        from retraining.sources import arrow

        source = self.describe()
        with files.reading(source):
            dataset = arrow.open_dataset(os.fspath(self.path), self.storage_options, SUFFIXES)
            schema = arrow.polars_schema(dataset)
            require_columns(source, schema, wanted)
            require_time(source, time_column, schema[time_column])
            return arrow.read_window(dataset, window, time_column, wanted)
