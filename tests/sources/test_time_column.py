from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.errors import MissingColumns, WrongColumnType
from retraining.sources.time_column import bounds, in_utc, inside, require_columns, require_time
from retraining.sources.window import Window
from tests.sources.rows import utc

UNITS = ("ms", "us", "ns")
ZONES = (None, "UTC", "Europe/Berlin", "America/St_Johns")


def rows_inside(values: pl.Series, window: Window) -> list[object]:
    frame = values.alias("at").to_frame()
    return frame.filter(inside(window, "at", values.dtype))["at"].to_list()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("zone", ZONES)
def test_the_start_is_outside_and_the_end_inside(unit: str, zone: str | None):
    edges = pl.Series([utc(2024, 2, 29), utc(2024, 2, 29, 0, 1), utc(2024, 3, 31), utc(2024, 3, 31, 0, 1)])
    stored = edges.dt.cast_time_unit(unit)
    stored = stored.dt.replace_time_zone(None) if zone is None else stored.dt.convert_time_zone(zone)

    found = rows_inside(stored, Window(utc(2024, 2, 29), utc(2024, 3, 31)))

    assert found == stored[1:3].to_list()


def test_a_date_is_its_midnight():
    days = pl.Series([date(2024, 1, day) for day in range(1, 6)])

    assert rows_inside(days, Window(utc(2024, 1, 2), utc(2024, 1, 4))) == [date(2024, 1, 3), date(2024, 1, 4)]
    # At noon of the 2nd its midnight has passed, and at noon of the 4th that of the 4th.
    assert rows_inside(days, Window(utc(2024, 1, 2, 12), utc(2024, 1, 4, 12))) == [
        date(2024, 1, 3),
        date(2024, 1, 4),
    ]


def test_the_hour_that_autumn_repeats_is_two_hours():
    """02:30 comes twice in Berlin on 2024-10-27: at 00:30 and at 01:30 UTC."""
    stored = pl.Series([utc(2024, 10, 27, 0, 30), utc(2024, 10, 27, 1, 30)]).dt.convert_time_zone(
        "Europe/Berlin"
    )
    berlin = ZoneInfo("Europe/Berlin")
    first_half_past_two = datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=0)
    second_half_past_two = datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=1)

    assert len(rows_inside(stored, Window(None, first_half_past_two))) == 1
    assert len(rows_inside(stored, Window(first_half_past_two.astimezone(UTC), second_half_past_two))) == 1


def test_a_row_without_a_time_is_in_no_window():
    assert rows_inside(pl.Series([None, utc(2024, 1, 1)]), Window(None, utc(2030, 1, 1))) == [utc(2024, 1, 1)]


def test_a_window_beyond_what_nanoseconds_can_say_takes_all_rows():
    stored = pl.Series([utc(2024, 1, 1)]).dt.cast_time_unit("ns")

    assert len(rows_inside(stored, Window(utc(1500, 1, 1), utc(2900, 1, 1)))) == 1


moments = st.datetimes(datetime(2023, 12, 31), datetime(2024, 1, 2)).map(lambda at: at.replace(tzinfo=UTC))


@given(st.lists(moments, max_size=20), moments, st.timedeltas(timedelta(microseconds=1), timedelta(days=1)))
@settings(max_examples=60, deadline=None)
def test_cutting_the_ends_to_the_columns_unit_takes_the_same_rows(
    times: list[datetime], start: datetime, length: timedelta
):
    window = Window(start, start + length)
    for unit in UNITS:
        stored = pl.Series("at", times, dtype=pl.Datetime("us", "UTC")).dt.cast_time_unit(unit)
        expected = [at for at in stored.dt.cast_time_unit("us").to_list() if window.start < at <= window.end]

        assert [at.replace(tzinfo=UTC) for at in rows_inside(stored, window)] == expected


def test_bounds_are_cut_to_the_unit_of_the_column():
    window = Window(None, datetime(2024, 1, 1, 0, 0, 1, 234_567, UTC))

    assert bounds(window, dates=False, unit="ms").until == datetime(2024, 1, 1, 0, 0, 1, 234_000, UTC)
    assert bounds(window, dates=False, unit="s").until == datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert bounds(window, dates=True).until == date(2024, 1, 1)


@pytest.mark.parametrize("unit", UNITS)
def test_times_become_utc_and_those_without_a_zone_are_taken_as_utc(unit: str):
    naive = pl.DataFrame({"at": [datetime(2024, 7, 1, 12)]}, schema={"at": pl.Datetime(unit)})
    berlin = naive.with_columns(pl.col("at").dt.replace_time_zone("Europe/Berlin"))

    assert in_utc(naive, "at").schema["at"] == pl.Datetime("us", "UTC")
    assert in_utc(naive, "at")["at"].item() == utc(2024, 7, 1, 12)
    assert in_utc(berlin, "at")["at"].item() == utc(2024, 7, 1, 10)


def test_dates_stay_dates():
    frame = pl.DataFrame({"at": [date(2024, 7, 1)]})

    assert in_utc(frame, "at").schema["at"] == pl.Date()


@pytest.mark.parametrize("dtype", [pl.String(), pl.Int64(), pl.Time(), pl.Duration("us"), pl.Float64()])
def test_a_column_that_is_no_time_is_refused_by_name(dtype: pl.DataType):
    with pytest.raises(WrongColumnType, match=r"orders: column at is .*, needs a date or a datetime"):
        require_time("orders", "at", dtype)


def test_every_missing_column_is_named_once_with_those_there_are():
    with pytest.raises(MissingColumns) as caught:
        require_columns("orders", ["at", "amount"], ["at", "label", "size", "label"])

    assert str(caught.value) == "orders: missing columns label, size; the source has at, amount"
