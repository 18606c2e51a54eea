from collections.abc import Collection
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from retraining.errors import MissingColumns, SourceUnreachable, UnreadableSource, WrongColumnType
from retraining.sources import ParquetSource, Window
from tests.sources.object_store import object_store
from tests.sources.rows import COLUMNS, MARCH, a_year, utc

EVER = Window(None, utc(2100, 1, 1))


def spoil_all_but(file: Path, row_groups: Collection[int], columns: Collection[str]) -> None:
    """Overwrite every column chunk but those of `row_groups` and `columns`: whoever reads others, fails."""
    metadata = pq.read_metadata(file)
    content = bytearray(file.read_bytes())
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            if group not in row_groups or chunk.path_in_schema not in columns:
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(content)


def stored_as(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    match kind.split():
        case ["date"]:
            at = pl.col("at").dt.date()
        case ["naive", unit]:
            at = pl.col("at").dt.replace_time_zone(None).dt.cast_time_unit(unit)
        case [zone, unit]:
            at = pl.col("at").dt.convert_time_zone(zone).dt.cast_time_unit(unit)
    return rows.with_columns(at)


@pytest.mark.parametrize(
    "kind",
    [
        "date",
        "naive ms",
        "naive us",
        "naive ns",
        "UTC ms",
        "UTC us",
        "UTC ns",
        "Europe/Berlin us",
        "Asia/Tokyo ms",
    ],
)
def test_only_the_windows_row_groups_and_the_asked_columns_are_read(kind: str, tmp_path: Path):
    """All else in the file is garbage, so that reading it would fail."""
    year = a_year(8_760)
    file = tmp_path / "rows.parquet"
    stored_as(year, kind).write_parquet(file, row_group_size=24 * 73)  # five row groups of 73 days
    spoil_all_but(file, row_groups={2}, columns={"at", "amount"})
    third = Window(utc(2024, 5, 26), utc(2024, 8, 7))
    inside = (pl.col("at") > third.start) & (pl.col("at") < utc(2024, 8, 7))

    found = ParquetSource(file).read(
        Window(third.start, third.end - timedelta(seconds=1)), time_column="at", columns=("amount",)
    )

    expected = year.filter(inside)["amount"]
    if kind == "date":  # the 26th itself is not after its own midnight
        expected = year.filter(inside & (pl.col("at").dt.date() > date(2024, 5, 26)))["amount"]
    assert found["amount"].sort().equals(expected.sort())
    with pytest.raises(UnreadableSource):
        ParquetSource(file).read(EVER, time_column="at", columns=("amount",))
    with pytest.raises(UnreadableSource):
        ParquetSource(file).read(third, time_column="at", columns=("items",))


def test_partitions_outside_of_the_window_are_not_opened(tmp_path: Path):
    for (day,), rows in (
        a_year(240).with_columns(day=pl.col("at").dt.date()).partition_by("day", as_dict=True).items()
    ):
        (tmp_path / f"day={day}").mkdir()
        rows.drop("day").write_parquet(tmp_path / f"day={day}" / "part.parquet")
    for number in (2, 3, 7, 8, 9, 10):  # the first stays: it tells the schema
        (tmp_path / f"day=2024-01-{number:02}" / "part.parquet").write_bytes(b"garbage")
    window = Window(utc(2024, 1, 3), utc(2024, 1, 6))

    found = ParquetSource(tmp_path).read(window, time_column="day", columns=("day", "customer"))

    assert found["day"].unique().sort().to_list() == [date(2024, 1, day) for day in (4, 5, 6)]
    assert found.height == 72


def test_a_folder_may_hold_other_things_than_data(tmp_path: Path):
    year = a_year(48)
    year.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "README.md").write_text("what this is")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".rows.parquet.crc").write_bytes(b"crc")
    for hidden in ("_temporary", ".ipynb_checkpoints"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "rows.parquet").write_bytes(b"half written")

    assert_frame_equal(ParquetSource(tmp_path).read(EVER, time_column="at", columns=COLUMNS), year)


def test_brackets_in_the_name_of_a_file_or_folder_are_no_pattern(tmp_path: Path):
    folder = tmp_path / "[2024] rows"
    folder.mkdir()
    a_year(48).write_parquet(folder / "rows[1].parquet")

    for path in (folder, folder / "rows[1].parquet"):
        assert ParquetSource(path).read(EVER, time_column="at", columns=("items",)).height == 48


def test_a_key_above_the_source_is_no_column(tmp_path: Path):
    """`env=prod/rows` is where the data lies, not what it says."""
    folder = tmp_path / "items=7" / "rows"
    folder.mkdir(parents=True)
    a_year(48).write_parquet(folder / "rows.parquet")

    found = ParquetSource(folder).read(EVER, time_column="at", columns=("items",))

    assert found["items"].unique().sort().to_list() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("write", ["{}", "file://{}"])
def test_a_local_address_is_a_path(write: str, tmp_path: Path):
    a_year(48).write_parquet(tmp_path / "rows.parquet")

    for name in ("rows.parquet", "*.parquet", ""):
        source = ParquetSource(write.format(tmp_path / name))
        assert source.read(EVER, time_column="at", columns=("items",)).height == 48


@pytest.mark.parametrize("name", ["none.parquet", "none-*.parquet", "empty"])
def test_a_source_without_a_file_says_so(name: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    source = ParquetSource(tmp_path / name)

    with pytest.raises(UnreadableSource, match=r"cannot be read: no \.parquet file is there") as caught:
        source.read(EVER, time_column="at", columns=("items",))
    assert caught.value.source == str(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"not Parquet at all, but long enough to be", b"PAR1" + b"\xff" * 40 + b"PAR1"]
)
def test_the_damaged_file_among_many_is_named(content: bytes, tmp_path: Path):
    for number in range(3):
        a_year(48).write_parquet(tmp_path / f"{number}.parquet")
    (tmp_path / "1.parquet").write_bytes(content)

    with pytest.raises(UnreadableSource, match=r"cannot be read: .*1\.parquet: ") as caught:
        ParquetSource(tmp_path).read(EVER, time_column="at", columns=("items",))
    assert caught.value.source == str(tmp_path)


def test_a_truncated_file_is_unreadable(tmp_path: Path):
    file = tmp_path / "rows.parquet"
    a_year().write_parquet(file)
    file.write_bytes(file.read_bytes()[:-1_000])

    with pytest.raises(UnreadableSource, match=f"{file}: cannot be read: "):
        ParquetSource(file).read(EVER, time_column="at", columns=("items",))


def test_no_damage_takes_the_process_down(tmp_path: Path):
    """polars panics on some damaged files; a panic is a BaseException and would pass every handler."""
    import random

    file = tmp_path / "rows.parquet"
    a_year(500).write_parquet(file, row_group_size=100)
    sound, chance = file.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(200):
        damaged = bytearray(sound)
        for _ in range(20):
            damaged[chance.randrange(len(sound) - 1_500, len(sound))] = chance.randrange(256)
        file.write_bytes(damaged)
        try:
            ParquetSource(file).read(EVER, time_column="at", columns=COLUMNS)
        except (UnreadableSource, MissingColumns, WrongColumnType):
            refused += 1
    assert refused > 150


def test_files_that_disagree_on_a_type_are_refused_by_column(tmp_path: Path):
    a_year(48).write_parquet(tmp_path / "1.parquet")
    a_year(48).with_columns(pl.col("items").cast(pl.String)).write_parquet(tmp_path / "2.parquet")

    with pytest.raises(
        UnreadableSource, match=r"data type mismatch for column items: .*String.*Int64"
    ) as caught:
        ParquetSource(tmp_path).read(EVER, time_column="at", columns=("items",))
    assert "hint" not in str(caught.value)
    # What is not asked for may differ.
    assert ParquetSource(tmp_path).read(EVER, time_column="at", columns=("customer",)).height == 96


def test_a_newer_file_may_have_more_columns_than_an_older_one(tmp_path: Path):
    a_year(48).drop("returned").write_parquet(tmp_path / "1.parquet")
    a_year(48).write_parquet(tmp_path / "2.parquet")

    assert ParquetSource(tmp_path).read(EVER, time_column="at", columns=("customer",)).height == 96


def test_a_column_that_one_file_lacks_is_not_filled_with_nulls(tmp_path: Path):
    a_year(48).write_parquet(tmp_path / "1.parquet")
    a_year(48).drop("returned").write_parquet(tmp_path / "2.parquet")

    with pytest.raises(UnreadableSource, match="did not find column returned"):
        ParquetSource(tmp_path).read(EVER, time_column="at", columns=("returned",))


def test_a_web_address_is_read_as_it_is(tmp_path: Path):
    """The signature of a presigned address reaches the server and no message."""
    a_year().write_parquet(tmp_path / "rows.parquet")

    with object_store(tmp_path) as store:
        source = ParquetSource(f"{store.url}/rows.parquet?signature=a[b]*c")
        found = source.read(MARCH, time_column="at", columns=COLUMNS)

    assert found.height == 31 * 24
    assert source.describe() == f"{store.url}/rows.parquet"


@pytest.mark.parametrize(
    ("address", "problem"),
    [("s3://lake/none.parquet", "not found"), ("s3://lake/none", "no file is there")],
)
def test_an_object_that_is_not_there_is_unreadable(address: str, problem: str, tmp_path: Path):
    (tmp_path / "lake").mkdir()

    with object_store(tmp_path) as store, pytest.raises(UnreadableSource, match=problem) as caught:
        ParquetSource(address, store.options).read(EVER, time_column="at", columns=("items",))
    assert not isinstance(caught.value, SourceUnreachable)


def test_a_storage_that_does_not_answer_may_be_tried_again():
    options = {"aws_endpoint_url": "http://127.0.0.1:9", "aws_access_key_id": "reader", "max_retries": 0}
    options |= {"aws_secret_access_key": "pa55", "aws_region": "us-east-1", "aws_allow_http": "true"}

    with pytest.raises(
        SourceUnreachable, match=r"s3://lake/rows\.parquet: the storage does not answer: "
    ) as caught:
        ParquetSource("s3://lake/rows.parquet", options).read(EVER, time_column="at", columns=("items",))
    assert "pa55" not in f"{caught.value}{caught.value.__cause__}"


def test_months_tile_the_year_across_its_changes_of_clocks(tmp_path: Path):
    """Every row is in exactly one month of Berlin, in the months of 743 and of 745 hours too."""
    year = a_year().with_columns(pl.col("at").dt.convert_time_zone("Europe/Berlin"))
    year.write_parquet(tmp_path / "rows.parquet", row_group_size=1_000)
    source = ParquetSource(tmp_path)
    borders = pl.datetime_range(
        datetime(2024, 1, 1), datetime(2025, 1, 1), "1mo", time_zone="Europe/Berlin", eager=True
    ).dt.convert_time_zone("UTC")

    months = [
        source.read(Window(start, end), time_column="at", columns=("at",)).height
        for start, end in pairwise(borders)
    ]

    hours = [24 * days for days in (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)]
    hours[2] -= 1
    hours[9] += 1
    assert months == hours
    assert sum(months) == year.height


def test_nothing_is_opened_before_data_is_read():
    source = ParquetSource("/nowhere/rows.parquet")

    assert source.describe() == "/nowhere/rows.parquet"
    assert repr(source) == "ParquetSource('/nowhere/rows.parquet')"


@pytest.mark.parametrize("secret", [{"aws_secret_access_key": "pa55"}])
def test_storage_options_are_in_no_representation(secret: dict[str, str]):
    assert "pa55" not in repr(ParquetSource("s3://lake/rows.parquet", secret))
