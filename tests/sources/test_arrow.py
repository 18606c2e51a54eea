"""Parquet through fsspec, on its own memory file system: what is read is counted."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import fsspec
import numpy as np
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from polars.testing import assert_frame_equal

from retraining.errors import MissingColumns, UnreadableSource
from retraining.sources import ParquetSource, Window
from tests.sources.rows import COLUMNS, MARCH, a_year, utc

EVER = Window(None, utc(2100, 1, 1))


class CountingFile:
    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, *args: Any) -> bytes:
        content: bytes = self._file.read(*args)
        CountingFileSystem.bytes_read += len(content)
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class CountingFileSystem(MemoryFileSystem):
    """A storage as a team may bring one: fsspec knows it, polars does not."""

    protocol = "counting"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    bytes_read = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("counting://")))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        file = super()._open(path, mode, **kwargs)
        return CountingFile(file) if mode == "rb" else file


fsspec.register_implementation("counting", CountingFileSystem, clobber=True)


@pytest.fixture(autouse=True)
def storage() -> Iterator[CountingFileSystem]:
    CountingFileSystem.bytes_read = 0
    yield CountingFileSystem()
    CountingFileSystem.store.clear()
    CountingFileSystem.pseudo_dirs[:] = [""]


def write(rows: pl.DataFrame, path: str, **options: Any) -> int:
    with fsspec.open(f"counting://{path}", "wb") as file:
        rows.write_parquet(file, **options)
    return int(CountingFileSystem().size(path))


@pytest.mark.parametrize("kind", ["date", "naive ms", "naive us", "naive ns", "UTC us", "Europe/Berlin us"])
def test_a_window_costs_what_the_window_costs(kind: str):
    """A week of a year and one of seven columns: less than a twentieth of the bytes."""
    name, _, unit = kind.partition(" ")
    at = pl.col("at").dt.convert_time_zone("UTC" if name in {"date", "naive"} else name)
    at = at.dt.date() if name == "date" else at.dt.cast_time_unit(unit)
    if name == "naive":
        at = at.dt.replace_time_zone(None)
    minutes = pl.datetime_range(utc(2024, 1, 1), utc(2024, 12, 31), "5m", eager=True).alias("at")
    rng = np.random.default_rng(0)
    noise = {f"x{number}": rng.normal(size=minutes.len()) for number in range(6)}
    rows = pl.DataFrame(noise).with_columns(minutes)
    size = write(rows.with_columns(at), "/rows.parquet", row_group_size=288 * 7)
    week = Window(utc(2024, 3, 4), utc(2024, 3, 10, 23, 55))

    found = ParquetSource("counting://rows.parquet").read(week, time_column="at", columns=("x3",))

    in_week = (pl.col("at") >= utc(2024, 3, 5)) if name == "date" else (pl.col("at") > utc(2024, 3, 4))
    expected = rows.filter(in_week & (pl.col("at") <= utc(2024, 3, 10, 23, 55)))
    assert found["x3"].sort().equals(expected["x3"].sort())
    assert CountingFileSystem.bytes_read < size / 20


def test_partitions_outside_of_the_window_are_not_opened(storage: CountingFileSystem):
    sizes = []
    for month in range(1, 13):
        rows = a_year(480)
        sizes.append(write(rows, f"/rows/month={month}/day=2024-{month:02}-15/part.parquet"))
        if month not in {1, 3}:  # the first tells the schema
            storage.pipe(f"/rows/month={month}/day=2024-{month:02}-15/part.parquet", b"garbage")

    found = ParquetSource("counting://rows").read(MARCH, time_column="day", columns=("day", "month", "items"))

    assert found.height == 480
    assert found.schema == {"day": pl.Date(), "month": pl.Int64(), "items": pl.Int64()}
    assert found["month"].unique().to_list() == [3]


@pytest.mark.parametrize("path", ["counting://rows", "counting://rows/", "counting://rows/**/*.parquet"])
def test_hidden_files_and_other_things_are_left_out(path: str, storage: CountingFileSystem):
    year = a_year(48)
    write(year, "/rows/sub/part.parquet")
    storage.pipe("/rows/_SUCCESS", b"")
    storage.pipe("/rows/README.md", b"what this is")

    assert_frame_equal(ParquetSource(path).read(EVER, time_column="at", columns=COLUMNS), year)


def test_text_partitions_are_text_and_hives_null_is_null():
    for name in ("shop", "__HIVE_DEFAULT_PARTITION__"):
        write(a_year(48).drop("channel"), f"/rows/channel={name}/part.parquet")
    for name in ("7", "__HIVE_DEFAULT_PARTITION__"):
        write(a_year(48).drop("items"), f"/more/items={name}/part.parquet")

    channels = ParquetSource("counting://rows").read(EVER, time_column="at", columns=("channel",))
    items = ParquetSource("counting://more").read(EVER, time_column="at", columns=("items",))

    assert set(channels["channel"]) == {"shop", None}
    assert set(items["items"]) == {7, None}


def test_a_column_that_one_file_lacks_is_not_filled_with_nulls():
    write(a_year(48), "/rows/1.parquet")
    write(a_year(48).drop("returned"), "/rows/2.parquet")

    with pytest.raises(
        MissingColumns, match=r"rows/2\.parquet: missing column returned; the source has amount,"
    ):
        ParquetSource("counting://rows").read(EVER, time_column="at", columns=("returned",))


@pytest.mark.parametrize("path", ["none.parquet", "none-*.parquet", "none"])
def test_a_source_without_a_file_says_so(path: str):
    with pytest.raises(UnreadableSource, match=r"cannot be read: no \.parquet file is there"):
        ParquetSource(f"counting://{path}").read(EVER, time_column="at", columns=("items",))


def test_a_damaged_file_is_named(storage: CountingFileSystem):
    write(a_year(48), "/rows/1.parquet")
    storage.pipe("/rows/2.parquet", b"garbage, and long enough to look at")

    with pytest.raises(UnreadableSource, match=r"counting://rows: cannot be read: .*/rows/2\.parquet"):
        ParquetSource("counting://rows").read(EVER, time_column="at", columns=("items",))


def test_an_address_that_nobody_knows_is_unreadable():
    with pytest.raises(UnreadableSource, match="Protocol not known: carrierpigeon"):
        ParquetSource("carrierpigeon://rows.parquet").read(EVER, time_column="at", columns=("items",))


def test_a_chained_address_is_fsspecs(tmp_path: Any):
    write(a_year(48), "/rows.parquet")
    source = ParquetSource(
        "simplecache::counting://rows.parquet", {"simplecache": {"cache_storage": str(tmp_path)}}
    )

    assert source.read(EVER, time_column="at", columns=("items",)).height == 48
