"""What `DataSource` promises, of every source that comes with the product."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retraining.errors import MissingColumns, UnreadableSource, WrongColumnType
from retraining.sources import CsvSource, DataSource, ParquetSource, SqlSource, Window
from tests.sources.object_store import object_store
from tests.sources.rows import COLUMNS, MARCH, a_year, utc

Store = Callable[[pl.DataFrame, Path], DataSource]


def one_file(rows: pl.DataFrame, folder: Path) -> DataSource:
    rows.write_parquet(folder / "rows.parquet", row_group_size=500)
    return ParquetSource(folder / "rows.parquet")


def folder_of_files(rows: pl.DataFrame, folder: Path) -> DataSource:
    """Rows of one time lie in different files, and the files are not in order of time."""
    for number in range(3):
        (folder / f"sub{number}").mkdir(exist_ok=True)
        rows.gather_every(3, number).reverse().write_parquet(folder / f"sub{number}" / "part.parquet")
    return ParquetSource(folder)


def partitions(rows: pl.DataFrame, folder: Path) -> DataSource:
    if "channel" in rows.columns:
        for (channel,), part in rows.partition_by("channel", include_key=False, as_dict=True).items():
            name = "__HIVE_DEFAULT_PARTITION__" if channel is None else channel
            (folder / f"channel={name}").mkdir()
            part.write_parquet(folder / f"channel={name}" / "part.parquet")
    else:
        rows.write_parquet(folder / "part.parquet")
    return ParquetSource(f"{folder}/**/*.parquet")


def fsspec_file(rows: pl.DataFrame, folder: Path) -> DataSource:
    with fsspec.open(f"memory://{folder}/rows.parquet", "wb") as file:
        rows.write_parquet(file, row_group_size=500)
    return ParquetSource(f"memory://{folder}/rows.parquet")


def fsspec_folder(rows: pl.DataFrame, folder: Path) -> DataSource:
    for number in range(3):
        with fsspec.open(f"memory://{folder}/{number}.parquet", "wb") as file:
            rows.gather_every(3, number).write_parquet(file)
    return ParquetSource(f"memory://{folder}")


def csv(rows: pl.DataFrame, folder: Path) -> DataSource:
    rows.write_csv(folder / "rows.csv")
    return CsvSource(folder / "rows.csv")


def csv_folder(rows: pl.DataFrame, folder: Path) -> DataSource:
    for number in range(2):
        rows.gather_every(2, number).write_csv(folder / f"{number}.csv")
    return CsvSource(folder)


def sqlite_table(rows: pl.DataFrame, folder: Path) -> DataSource:
    declared = ", ".join(f"{name} {'BOOLEAN' if name == 'returned' else ''}" for name in rows.columns)
    # Text times as most writers leave them in SQLite; the day is what the database can compare.
    text = [
        pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S")
        for name in rows.columns
        if name == "at" and is_time(rows)
    ]
    with sqlite3.connect(folder / "rows.db") as connection:
        connection.execute(f"create table rows ({declared})")
        marks = ", ".join("?" * rows.width)
        connection.executemany(f"insert into rows values ({marks})", rows.with_columns(text).rows())
    connection.close()
    return SqlSource(f"sqlite:///{folder}/rows.db", table="rows", batch_rows=100)


def is_time(rows: pl.DataFrame) -> bool:
    return isinstance(rows.schema["at"], pl.Datetime)


def sqlite_query(rows: pl.DataFrame, folder: Path) -> DataSource:
    sqlite_table(rows, folder)
    return SqlSource(f"sqlite:///{folder}/rows.db", query="select * from rows order by 2; ")


def sqlite_asynchronous(rows: pl.DataFrame, folder: Path) -> DataSource:
    sqlite_table(rows, folder)
    return SqlSource(f"sqlite+aiosqlite:///{folder}/rows.db", table="rows", batch_rows=100)


STORES = (
    *(one_file, folder_of_files, partitions, fsspec_file, fsspec_folder),
    *(csv, csv_folder, sqlite_table, sqlite_query, sqlite_asynchronous),
)


@pytest.fixture(params=STORES, ids=lambda store: store.__name__)
def store(request: pytest.FixtureRequest) -> Store:
    return request.param


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def as_read(rows: pl.DataFrame, source: DataSource) -> pl.DataFrame:
    """What SQLite makes of a boolean is 0 or 1."""
    if isinstance(source, SqlSource):
        return rows.with_columns(pl.col("returned").cast(pl.Int64))
    return rows


def test_the_windows_rows_come_with_the_asked_columns_by_time(store: Store, tmp_path: Path):
    year = a_year()
    source = store(year, tmp_path)

    found = source.read(MARCH, time_column="at", columns=COLUMNS)

    in_march = year.filter((pl.col("at") > utc(2024, 2, 29)) & (pl.col("at") <= utc(2024, 3, 31)))
    assert_frame_equal(found, as_read(in_march, source))


def test_rows_of_one_time_come_in_one_order_however_they_are_stored(store: Store, tmp_path: Path):
    """The columns after the time decide, not the files, partitions or pages."""
    day = a_year(240).with_columns(pl.col("at").dt.truncate("1d"))
    source = store(day, tmp_path)

    found = source.read(Window(None, utc(2025, 1, 1)), time_column="at", columns=COLUMNS)

    expected = day.sort(COLUMNS)
    assert_frame_equal(found, as_read(expected, source))


def test_columns_come_in_the_order_asked_for_and_the_time_only_if_asked_for(store: Store, tmp_path: Path):
    source = store(a_year(100), tmp_path)

    found = source.read(Window(None, utc(2024, 1, 2)), time_column="at", columns=("items", "customer"))

    assert found.columns == ["items", "customer"]
    assert found["customer"].to_list() == list(range(25))


def test_an_empty_window_gives_no_rows_and_all_columns(store: Store, tmp_path: Path):
    source = store(a_year(100), tmp_path)

    found = source.read(Window(utc(2030, 1, 1), utc(2031, 1, 1)), time_column="at", columns=COLUMNS)

    assert found.is_empty()
    assert found.columns == list(COLUMNS)
    assert found.schema["at"] == pl.Datetime("us", "UTC")


def test_missing_columns_are_named_with_those_there_are(store: Store, tmp_path: Path):
    source = store(a_year(100).select("at", "items", "returned"), tmp_path)

    with pytest.raises(MissingColumns) as caught:
        source.read(MARCH, time_column="at", columns=("items", "label", "size"))

    assert caught.value.missing == ("label", "size")
    assert caught.value.available == ("at", "items", "returned")
    assert str(caught.value).startswith(
        f"{source.describe()}: missing columns label, size; the source has at,"
    )


def test_a_missing_time_column_is_named(store: Store, tmp_path: Path):
    source = store(a_year(100).select("items", "returned", "at").rename({"at": "since"}), tmp_path)

    with pytest.raises(MissingColumns, match="missing column at; the source has items, returned, since"):
        source.read(MARCH, time_column="at", columns=("items",))


def test_a_time_column_that_is_no_time_is_refused_by_name_and_type(store: Store, tmp_path: Path):
    source = store(a_year(100).with_columns(pl.col("items").alias("at")), tmp_path)

    with pytest.raises(
        WrongColumnType, match=r"column at is .*(Int64|int|text).*, needs a date or a datetime"
    ):
        source.read(MARCH, time_column="at", columns=("items",))


def test_dates_stay_dates_and_stand_for_their_midnight(store: Store, tmp_path: Path):
    days = a_year(240).with_columns(pl.col("at").dt.date())
    source = store(days, tmp_path)

    found = source.read(
        Window(utc(2024, 1, 2), utc(2024, 1, 4)), time_column="at", columns=("at", "customer")
    )

    assert found.schema["at"] == pl.Date()
    assert found["at"].unique().sort().cast(pl.String).to_list() == ["2024-01-03", "2024-01-04"]
    assert found.height == 48


def test_every_source_is_a_data_source_that_can_be_compared(store: Store, tmp_path: Path):
    source = store(a_year(8), tmp_path)

    assert isinstance(source, DataSource)
    assert hash(source) == hash(source)
    assert source.describe() in repr(source)


@pytest.mark.parametrize(
    "source",
    [
        ParquetSource("ftp://ann:pa55@127.0.0.1:9/rows.parquet", {"timeout": 0.2}),
        SqlSource("postgresql+asyncpg://ann:pa55@127.0.0.1:9/shop?ssl=disable", table="rows"),
        SqlSource("oracle+nothere://ann:pa55@host/shop", table="rows"),
        SqlSource("postgresql+psycopg2://ann:pa55@host/shop", query="select 1"),
        SqlSource("postgresql:/ann:pa55@host", table="rows"),
    ],
    ids=lambda source: source.describe(),
)
def test_no_password_is_in_a_message_its_causes_or_a_representation(source: DataSource):
    assert_tells_no_password(source)


def test_no_password_of_a_web_address_is_in_a_message(tmp_path: Path):
    with object_store(tmp_path) as store:
        address = store.url.replace("://", "://ann:pa55@") + "/none.parquet?sig=pa55"
        assert_tells_no_password(ParquetSource(address))


def assert_tells_no_password(source: DataSource) -> None:
    """Nor do the causes, which a job's log prints with their whole chain."""
    with pytest.raises(UnreadableSource) as caught:
        source.read(MARCH, time_column="at", columns=("items",))

    texts = [source.describe(), repr(source)]
    link: BaseException | None = caught.value
    while link is not None:
        texts.append(str(link))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    assert not [text for text in texts if "pa55" in text]


def test_an_object_storage_is_read_by_the_window(tmp_path: Path):
    """A week and one of seven columns of a year take less than a twentieth of the bytes."""
    minutes = 366 * 24 * 60
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({f"x{number}": rng.normal(size=minutes) for number in range(6)}).with_columns(
        at=pl.datetime_range(utc(2024, 1, 1), utc(2024, 12, 31, 23, 59), "1m", eager=True)
    )
    (tmp_path / "lake" / "year=2024").mkdir(parents=True)
    file = tmp_path / "lake" / "year=2024" / "rows.parquet"
    rows.write_parquet(file, row_group_size=20_000)
    (tmp_path / "lake" / "_SUCCESS").touch()
    week = Window(utc(2024, 3, 1), utc(2024, 3, 8))

    with object_store(tmp_path) as s3:
        found = ParquetSource("s3://lake/", s3.options).read(week, time_column="at", columns=("x3", "year"))

    assert found.height == 7 * 24 * 60
    assert found["year"].unique().to_list() == [2024]
    assert s3.bytes_sent < file.stat().st_size / 20
