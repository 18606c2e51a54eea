"""CSV: a file, a folder or a glob, here or on any storage that fsspec knows."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from retraining.errors import UnreadableSource, WrongColumnType
from retraining.sources import files
from retraining.sources.csv_lines import find_bad_line
from retraining.sources.masking import mask_credentials
from retraining.sources.order import in_canonical_order
from retraining.sources.time_column import INSTANT, in_utc, inside, require_columns, require_time
from retraining.sources.window import Window

SUFFIXES = (".csv", ".csv.gz", ".csv.zst")
INFERRED_FROM = 10_000
"""Lines from which the columns' types are inferred."""

NEEDED = "a date or a datetime in ISO 8601 (2024-01-31, 2024-01-31T12:00:00Z), or a time_format"

Inputs = list[Path] | list[bytes] | str
"""Files on this machine, the contents of files that fsspec opened, or an address that polars opens."""

_ISO = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, repr=False)
class CsvSource:
    """Rows from CSV files with a header. Only the asked columns are parsed, only the window's rows are kept.

    `path` is a file, a folder or a glob, local or an address, as for `ParquetSource`; the files have the same
    columns in the same order. CSV has no index: every line is looked at, whatever the window.

    Types are inferred from the first 10,000 lines, and a later value that does not fit is an error that names
    the line: nothing is dropped or set to null in silence. Text that stands for a missing value
    is listed in `null_values`; types that the first lines cannot show are given in `schema_overrides`
    (`{"zip": pl.String}`). A line that is too short has nulls in its missing fields. Times are ISO 8601, or
    in the `time_format` that is given (`"%d.%m.%Y %H:%M"`): 01/02/2024 is not guessed at.
    """

    path: str | os.PathLike[str]
    _: KW_ONLY
    storage_options: Mapping[str, Any] | None = field(default=None, hash=False)
    separator: str = ","
    null_values: tuple[str, ...] = ()
    schema_overrides: Mapping[str, pl.DataType | type[pl.DataType]] = field(default_factory=dict, hash=False)
    time_format: str | None = None

    def describe(self) -> str:
        """The path, without credentials."""
        return mask_credentials(os.fspath(self.path))

    def __repr__(self) -> str:
        return f"CsvSource({self.describe()!r})"

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        """Read as `DataSource.read` promises."""
        source = self.describe()
        wanted = list(dict.fromkeys((*columns, time_column)))
        with files.reading(source):
            inputs = self._inputs()
            try:
                frame = self._read_window(inputs, window, time_column, wanted)
            # At any step: polars reads ahead, so that even the first value may fail on a line far below.
            except pl.exceptions.PolarsError as exc:
                problem = self._bad_line(inputs, time_column, wanted)
                if problem is None:
                    raise
                raise UnreadableSource(source, problem) from exc
        return in_canonical_order(in_utc(frame, time_column), time_column, columns)

    def _read_window(
        self, inputs: Inputs, window: Window, time_column: str, wanted: list[str]
    ) -> pl.DataFrame:
        source = self.describe()
        rows = self._scan(inputs, time_column)
        schema = rows.collect_schema()
        require_columns(source, schema, wanted)
        first_time = self._first_value(inputs, time_column)
        if first_time is None:
            return pl.DataFrame(schema={**schema, time_column: INSTANT}).select(wanted)
        if self.time_format is None and not _ISO.match(first_time):
            raise WrongColumnType(source, time_column, f"text like {first_time!r}", NEEDED)
        require_time(source, time_column, schema[time_column])
        return rows.filter(inside(window, time_column, schema[time_column])).select(wanted).collect()

    def _inputs(self) -> Inputs:
        path = os.fspath(self.path)
        here = files.local_path(path)
        if here is not None:
            return files.list_local(here, SUFFIXES)
        if files.is_read_by_polars(path):
            return files.as_searched(path, SUFFIXES)
        file_system, root = files.open_file_system(path, self.storage_options)
        return [file_system.cat_file(file) for file in files.list_remote(file_system, root, SUFFIXES)]

    def _scan(self, inputs: Inputs, time_column: str) -> pl.LazyFrame:
        types = dict(self.schema_overrides)
        if self.time_format is None:
            return self._open(inputs, schema_overrides=types, try_parse_dates=True)
        rows = self._open(inputs, schema_overrides={**types, time_column: pl.String}, try_parse_dates=True)
        require_columns(self.describe(), rows.collect_schema(), [time_column])
        return rows.with_columns(pl.col(time_column).str.strptime(pl.Datetime("us"), self.time_format))

    def _first_value(self, inputs: Inputs, column: str) -> str | None:
        text = pl.col(column)
        first = (
            self._open(inputs, infer_schema=False).select(text).filter(text.is_not_null()).head(1).collect()
        )
        return None if first.is_empty() else str(first.item())

    def _open(self, inputs: Inputs, **types: Any) -> pl.LazyFrame:
        options: dict[str, Any] = {}
        if isinstance(inputs, str):
            options = {
                "storage_options": dict(self.storage_options or {}),
                "glob": files.has_wildcard(inputs),
            }
        return pl.scan_csv(
            inputs,
            separator=self.separator,
            null_values=list(self.null_values),
            infer_schema_length=INFERRED_FROM,
            **{"glob": False, **options, **types},
        )

    def _bad_line(self, inputs: Inputs, time_column: str, wanted: list[str]) -> str | None:
        if isinstance(inputs, str):
            return None
        try:
            schema = self._scan(inputs, time_column).collect_schema()
        except pl.exceptions.PolarsError:
            schema = pl.Schema()
        return find_bad_line(
            inputs,
            {name: schema[name] for name in wanted if name in schema},
            separator=self.separator,
            null_values=self.null_values,
            formats={time_column: self.time_format} if self.time_format else {},
        )
