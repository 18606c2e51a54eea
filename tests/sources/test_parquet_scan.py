"""A scan of a window has the rows that reading it has, whatever the type of the time column."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from retraining.errors import MissingColumns, UnreadableSource, WrongColumnType
from retraining.sources.lazy import LazyRows, Scannable, scan_rows
from retraining.sources.parquet import ParquetSource
from retraining.sources.parquet_scan import ROWS_AT_ONCE
from retraining.sources.window import Window

START = datetime(2026, 3, 27, tzinfo=UTC)
"""Two days before the clocks go forward in Berlin."""
WINDOWS = [
    Window(None, START + timedelta(hours=30)),
    Window(START + timedelta(hours=24), START + timedelta(hours=72)),
    Window(START + timedelta(hours=24, microseconds=1), START + timedelta(hours=72, microseconds=-1)),
    Window(START - timedelta(hours=1), START),
    Window(START + timedelta(days=300), START + timedelta(days=301)),
]
TIME_TYPES = [
    pl.Date(),
    pl.Datetime("ms"),
    pl.Datetime("us"),
    pl.Datetime("ns"),
    pl.Datetime("us", "UTC"),
    pl.Datetime("ns", "UTC"),
    pl.Datetime("ms", "Europe/Berlin"),
]


def table(dtype: pl.DataType, hours: range) -> pl.DataFrame:
    times = pl.Series(
        [START.replace(tzinfo=None) + timedelta(hours=hour) for hour in hours], dtype=pl.Datetime
    )
    if isinstance(dtype, pl.Datetime):
        times = times.cast(pl.Datetime(dtype.time_unit))
        if dtype.time_zone is not None:
            times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    else:
        times = times.cast(dtype)
    return pl.DataFrame({"at": times, "x": list(hours)})


def scanned(source: ParquetSource, window: Window) -> LazyRows:
    rows = source.scan(window, time_column="at")
    assert rows is not None
    return rows


def collected(rows: LazyRows, *columns: str) -> pl.DataFrame:
    parts = [part.lazy() for part in rows.parts]
    chosen = parts if rows.where is None else [part.filter(rows.where) for part in parts]
    return pl.concat([part.select(columns).collect() for part in chosen])


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", TIME_TYPES, ids=str)
def test_a_scan_has_the_rows_of_a_read(tmp_path: Path, dtype: pl.DataType, window: Window) -> None:
    whole = table(dtype, range(100))
    whole[:60].write_parquet(tmp_path / "a.parquet", row_group_size=7)
    whole[60:].write_parquet(tmp_path / "b.parquet", row_group_size=7)
    source = ParquetSource(tmp_path)

    read = source.read(window, time_column="at", columns=["x"])
    rows = collected(scanned(source, window), "x")

    assert rows["x"].sort().to_list() == read["x"].sort().to_list()


def test_rows_in_order_of_time_need_no_filter_and_others_do(tmp_path: Path) -> None:
    whole = table(pl.Datetime("us"), range(100))
    whole.write_parquet(tmp_path / "ordered.parquet", row_group_size=10)
    whole.sample(fraction=1, shuffle=True, seed=1).write_parquet(
        tmp_path / "mixed.parquet", row_group_size=10
    )
    window = WINDOWS[1]
    for name, is_filtered in (("ordered", False), ("mixed", True)):
        rows = scanned(ParquetSource(tmp_path / f"{name}.parquet"), window)
        assert (rows.where is not None) is is_filtered
        assert sorted(collected(rows, "x")["x"]) == list(range(25, 73))


def test_files_outside_of_the_window_are_not_among_the_parts(tmp_path: Path) -> None:
    for day in range(10):
        table(pl.Datetime("us"), range(24 * day, 24 * day + 24)).write_parquet(tmp_path / f"{day}.parquet")

    rows = scanned(ParquetSource(tmp_path), Window(START + timedelta(hours=30), START + timedelta(hours=60)))

    assert len(rows.parts) == 2
    assert collected(rows, "x")["x"].to_list() == list(range(31, 61))


def test_rows_without_a_time_are_in_no_window(tmp_path: Path) -> None:
    rows = table(pl.Datetime("us"), range(10)).with_columns(
        at=pl.when(pl.col("x") % 3 > 0).then("at"),
    )
    rows.write_parquet(tmp_path / "a.parquet")

    found = collected(scanned(ParquetSource(tmp_path), WINDOWS[0]), "x")

    assert found["x"].to_list() == [1, 2, 4, 5, 7, 8]


def test_folders_may_be_the_time_column(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        folder = tmp_path / f"day=2026-04-0{day}"
        folder.mkdir()
        pl.DataFrame({"x": [day, 10 * day]}).write_parquet(folder / "0.parquet")
    window = Window(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC))

    rows = ParquetSource(tmp_path).scan(window, time_column="day")

    assert rows is not None
    assert collected(rows, "x")["x"].to_list() == [2, 20]


def test_folders_are_columns_of_one_type(tmp_path: Path) -> None:
    for shop in ("12", "south"):
        (tmp_path / f"shop={shop}").mkdir()
        table(pl.Datetime("us"), range(3)).write_parquet(tmp_path / f"shop={shop}" / "0.parquet")

    rows = collected(scanned(ParquetSource(tmp_path), WINDOWS[0]), "shop")

    assert rows["shop"].to_list() == ["12"] * 3 + ["south"] * 3


def test_a_column_that_some_files_lack_is_null_in_them(tmp_path: Path) -> None:
    table(pl.Datetime("us"), range(3)).write_parquet(tmp_path / "a.parquet")
    table(pl.Datetime("us"), range(3, 6)).drop("x").write_parquet(tmp_path / "b.parquet")

    rows = collected(scanned(ParquetSource(tmp_path), WINDOWS[0]), "x")

    assert rows["x"].to_list() == [0, 1, 2, None, None, None]


def test_a_column_that_has_vanished_is_not_there(tmp_path: Path) -> None:
    table(pl.Datetime("us"), range(24)).write_parquet(tmp_path / "a.parquet")
    table(pl.Datetime("us"), range(24, 48)).drop("x").write_parquet(tmp_path / "b.parquet")
    window = Window(START + timedelta(hours=24), START + timedelta(hours=48))

    rows = scan_rows(ParquetSource(tmp_path), window, time_column="at", columns=["x"])

    assert rows.parts[0].lazy().collect_schema().names() == ["at"]


def test_what_cannot_be_scanned_says_so_as_reading_does(tmp_path: Path) -> None:
    table(pl.Datetime("us"), range(24)).write_parquet(tmp_path / "a.parquet")
    source = ParquetSource(tmp_path)
    with pytest.raises(MissingColumns, match="missing column when"):
        source.scan(WINDOWS[0], time_column="when")
    with pytest.raises(WrongColumnType, match="column x is Int64"):
        source.scan(WINDOWS[0], time_column="x")
    with pytest.raises(UnreadableSource, match=r"no \.parquet file is there"):
        ParquetSource(tmp_path / "nowhere").scan(WINDOWS[0], time_column="at")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing of it PAR1")
    with pytest.raises(UnreadableSource, match=r"b\.parquet"):
        source.scan(WINDOWS[0], time_column="at")


def test_an_address_elsewhere_is_read() -> None:
    source = ParquetSource("memory://nowhere/a.parquet")
    assert isinstance(source, Scannable)
    assert source.scan(WINDOWS[0], time_column="at") is None


@pytest.mark.parametrize(("first", "last"), [(5, 10), (ROWS_AT_ONCE - 3, 2 * ROWS_AT_ONCE + 4), (0, None)])
def test_a_window_of_a_file_with_many_rows_is_found_across_the_pieces_it_is_looked_for_in(
    tmp_path: Path, first: int, last: int | None
) -> None:
    rows = 2 * ROWS_AT_ONCE + 10
    last = rows - 1 if last is None else last
    step = timedelta(seconds=1)
    file = tmp_path / "many.parquet"
    frame = pl.select(x=pl.int_range(rows)).with_columns(at=pl.lit(START) + pl.duration(seconds=pl.col("x")))
    frame.write_parquet(file, row_group_size=100_000)
    found = scanned(ParquetSource(file), Window(START + (first - 1) * step, START + last * step))
    assert found.where is None
    assert collected(found, "x")["x"].to_list() == list(range(first, last + 1))
