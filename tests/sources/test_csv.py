import gzip
from datetime import date
from pathlib import Path

import fsspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retraining.errors import DataProblem, UnreadableSource, WrongColumnType
from retraining.sources import CsvSource, Window
from tests.sources.object_store import object_store
from tests.sources.rows import COLUMNS, a_year, utc

EVER = Window(None, utc(2100, 1, 1))
HEADER = "at,amount,items,returned,note"
LINE = "2024-01-01T00:00:00,1.5,2,true,fine"


def write(folder: Path, *lines: str | bytes, name: str = "rows.csv") -> Path:
    file = folder / name
    file.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
    return file


def read(source: CsvSource, *columns: str) -> pl.DataFrame:
    return source.read(EVER, time_column="at", columns=columns or tuple(HEADER.split(",")))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("2024-01-01T00:00:00,1.5,2.5,true,x", "column items holds '2.5', which is not Int64"),
        ("2024-01-01T00:00:00,n/a,2,true,x", "column amount holds 'n/a', which is not Float64"),
        ("2024-01-01T00:00:00,1.5,2,maybe,x", "column returned holds 'maybe', which is not Boolean"),
        ("yesterday,1.5,2,true,x", "column at holds 'yesterday', which is not Datetime"),
        ("2024-01-01T00:00:00,1.5,2,true,x,y,z", "has 7 fields, the header has 5"),
        (b"2024-01-01T00:00:00,1.5,2,true,caf\xe9", "is not UTF-8 text"),
    ],
)
def test_the_bad_line_is_named(bad: str | bytes, problem: str, tmp_path: Path):
    """Among 20,000 good ones, behind those that the types are inferred from."""
    file = write(tmp_path, HEADER, *[LINE] * 19_998, bad, LINE)

    with pytest.raises(UnreadableSource) as caught:
        read(CsvSource(file))

    assert str(caught.value).startswith(f"{file}: line 20000")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"2024-01-01T00:00:00,1.5,2,true,caf\xe9", "line 3 is not UTF-8 text"),
        (b"2024-01-01T00:00:00,1.5,2,true,x,y", "line 3 has 6 fields, the header has 5"),
    ],
)
def test_a_bad_line_that_hinders_even_the_inference_of_types_is_named(
    bad: bytes, problem: str, tmp_path: Path
):
    with pytest.raises(UnreadableSource, match=problem):
        read(CsvSource(write(tmp_path, HEADER, LINE, bad, LINE)))


def test_the_first_of_several_bad_lines_is_named(tmp_path: Path):
    lines = [LINE] * 20_000
    lines[15_000] = "2024-01-01T00:00:00,lots,2,true,x"
    lines[12_000] = "2024-01-01T00:00:00,1.5,many,true,x"
    lines[17_000] = "2024-01-01T00:00:00,1.5,2,true,x,y"

    with pytest.raises(UnreadableSource, match="line 12002: column items holds 'many'"):
        read(CsvSource(write(tmp_path, HEADER, *lines)))


def test_the_file_of_the_bad_line_is_named(tmp_path: Path):
    write(tmp_path, HEADER, *[LINE] * 100, name="1.csv")
    write(tmp_path, HEADER, *[LINE] * 10, "2024-01-01T00:00:00,1.5,2,true,x,y", name="2.csv")

    with pytest.raises(UnreadableSource, match=r": 2\.csv, line 12 has 6 fields"):
        read(CsvSource(tmp_path))


def test_a_quotation_mark_that_is_missing_is_found(tmp_path: Path):
    lines = [LINE] * 20_000
    lines[15_000] = '2024-01-01T00:00:00,1.5,2,true,"opened'

    with pytest.raises(UnreadableSource, match=r"line \d+"):
        read(CsvSource(write(tmp_path, HEADER, *lines)))


def test_a_bad_value_in_a_column_that_is_not_asked_for_does_no_harm(tmp_path: Path):
    file = write(tmp_path, HEADER, *[LINE] * 20_000, "2024-01-01T00:00:00,1.5,many,true,x")

    assert read(CsvSource(file), "amount").height == 20_001


def test_what_stands_for_a_missing_value_can_be_said(tmp_path: Path):
    file = write(tmp_path, HEADER, LINE, "2024-01-01T01:00:00,n/a,,true,x")

    found = read(CsvSource(file, null_values=("n/a",)), "amount", "items")

    assert found.rows() == [(1.5, 2), (None, None)]


def test_types_that_the_first_lines_cannot_show_can_be_given(tmp_path: Path):
    lines = [LINE] * 20_000 + ["2024-01-02T00:00:00,1.5,2.5,true,x"]
    file = write(tmp_path, HEADER, *lines)

    found = read(CsvSource(file, schema_overrides={"items": pl.Float64}), "items")

    assert found.schema["items"] == pl.Float64()
    assert found["items"][-1] == 2.5


def test_a_line_that_is_too_short_has_nulls_at_its_end(tmp_path: Path):
    found = read(CsvSource(write(tmp_path, HEADER, LINE, "2024-01-01T01:00:00,2.5")))

    assert found.row(1)[1:] == (2.5, None, None, None)


def test_lines_without_a_time_are_in_no_window(tmp_path: Path):
    assert read(CsvSource(write(tmp_path, HEADER, LINE, ",2.5,2,true,x", "")), "amount").height == 1


@pytest.mark.parametrize("text", ["01/02/2024", "1704067200", "20240101", "Jan 1, 2024"])
def test_a_time_that_could_mean_two_things_is_not_guessed_at(text: str, tmp_path: Path):
    """polars reads 01/02/2024 as the first of February; half of its writers mean January."""
    file = write(tmp_path, "at,amount", f'"{text}",1.5')

    with pytest.raises(WrongColumnType) as caught:
        read(CsvSource(file), "amount")
    assert str(caught.value) == (
        f"{file}: column at is text like {text!r}, needs a date or a datetime in ISO 8601 "
        "(2024-01-31, 2024-01-31T12:00:00Z), or a time_format"
    )


@pytest.mark.parametrize(
    ("text", "time_format"),
    [
        ("31.01.2024 13:30", "%d.%m.%Y %H:%M"),
        ("01/31/2024 01:30 PM", "%m/%d/%Y %I:%M %p"),
        ("31.01.2024 14:30 +0100", "%d.%m.%Y %H:%M %z"),
        ("1706707800", "%s"),
    ],
)
def test_a_time_in_the_given_format_is_utc_unless_it_says_otherwise(
    text: str, time_format: str, tmp_path: Path
):
    file = write(tmp_path, "at,amount", f"{text},1.5")

    assert read(CsvSource(file, time_format=time_format), "at")["at"].item() == utc(2024, 1, 31, 13, 30)


def test_a_time_that_is_not_in_the_given_format_is_named_with_its_line(tmp_path: Path):
    file = write(tmp_path, "at,amount", "31.01.2024,1.5", "2024-02-01,1.5")

    with pytest.raises(UnreadableSource, match="line 3: column at holds '2024-02-01'"):
        read(CsvSource(file, time_format="%d.%m.%Y"), "amount")


@pytest.mark.parametrize(
    ("written", "hour"),
    [
        ("2024-03-31T01:30:00", 1),
        ("2024-03-31 01:30:00.000", 1),
        ("2024-03-31T01:30:00Z", 1),
        ("2024-03-31T03:30:00+02:00", 1),
        ("2024-03-31T02:30:00+01:00", 1),
    ],
)
def test_iso_times_are_utc_unless_they_say_otherwise(written: str, hour: int, tmp_path: Path):
    file = write(tmp_path, "at,amount", f"{written},1.5")

    assert read(CsvSource(file), "at")["at"].item() == utc(2024, 3, 31, hour, 30)


def test_offsets_may_change_within_a_file_as_clocks_do(tmp_path: Path):
    file = write(tmp_path, "at,amount", "2024-03-31T01:30:00+01:00,1.5", "2024-03-31T03:30:00+02:00,2.5")
    window = Window(utc(2024, 3, 31, 0, 30), utc(2024, 3, 31, 1, 30))

    assert CsvSource(file).read(window, time_column="at", columns=("amount",))["amount"].to_list() == [2.5]


def test_dates_are_dates(tmp_path: Path):
    found = read(CsvSource(write(tmp_path, "at;amount", "2024-01-31;1.5"), separator=";"), "at")

    assert found["at"].to_list() == [date(2024, 1, 31)]


def test_a_header_alone_is_an_empty_table(tmp_path: Path):
    found = read(CsvSource(write(tmp_path, HEADER)))

    assert found.is_empty()
    assert found.columns == HEADER.split(",")


def test_an_empty_file_is_unreadable(tmp_path: Path):
    (tmp_path / "rows.csv").touch()

    with pytest.raises(UnreadableSource, match=r"rows\.csv: cannot be read: empty CSV"):
        read(CsvSource(tmp_path / "rows.csv"))


def test_what_is_no_csv_is_refused(tmp_path: Path):
    a_year(48).write_parquet(tmp_path / "rows.csv")

    with pytest.raises(DataProblem, match=r"rows\.csv: "):
        read(CsvSource(tmp_path / "rows.csv"))


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path):
    with pytest.raises(UnreadableSource, match=r"none\.csv: cannot be read: no \.csv"):
        read(CsvSource(tmp_path / "none.csv"))


def test_compressed_files_are_read_and_their_bad_lines_named(tmp_path: Path):
    for name, lines in (
        ("good.csv.gz", [LINE]),
        ("bad.csv.gz", [LINE] * 10 + ["2024-01-01T00:00:00,1,2,true,x,y"]),
    ):
        (tmp_path / name).write_bytes(gzip.compress("\n".join([HEADER, *lines]).encode()))

    assert read(CsvSource(tmp_path / "good.csv.gz")).height == 1
    with pytest.raises(UnreadableSource, match="line 12 has 6 fields"):
        read(CsvSource(tmp_path / "bad.csv.gz"))


def test_addresses_are_read_by_fsspec_and_by_polars(tmp_path: Path):
    """memory:// is fsspec's, http:// and s3:// are polars'; their bad lines are told as well as can be."""
    year = a_year(48)
    (tmp_path / "lake").mkdir()
    year.write_csv(tmp_path / "lake" / "rows.csv")
    with fsspec.open("memory://csv/rows.csv", "wb") as file:
        file.write((tmp_path / "lake" / "rows.csv").read_bytes())
    write(tmp_path / "lake", HEADER, *[LINE] * 20_000, "2024-01-01T00:00:00,1.5,many,true,x", name="bad.csv")

    with object_store(tmp_path) as store:
        for source in (
            CsvSource("memory://csv"),
            CsvSource("s3://lake/row*.csv", storage_options=store.options),
            CsvSource(f"{store.url}/lake/rows.csv"),
        ):
            assert_frame_equal(source.read(EVER, time_column="at", columns=COLUMNS), year)
        with pytest.raises(UnreadableSource, match="could not parse `many` as dtype `i64` at column 'items'"):
            read(CsvSource("s3://lake/bad.csv", storage_options=store.options))
