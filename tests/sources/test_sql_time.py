"""What databases with types for times get: their drivers' values tell how times are stored."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from retraining.errors import WrongColumnType
from retraining.sources.sql_time import StoredAs, find_storage, inside
from retraining.sources.window import Window
from tests.sources.rows import utc

WINDOW = Window(datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=2))), utc(2024, 3, 31))


def bound(storage: StoredAs, window: Window = WINDOW) -> list[Any]:
    conditions = inside(sa.column("at"), storage, window)
    return [condition.compile().params["param_1"] for condition in conditions]


@pytest.mark.parametrize(
    ("sample", "dialect", "storage"),
    [
        (datetime(2024, 1, 1), "postgresql", StoredAs.NAIVE),
        (datetime(2024, 1, 1, tzinfo=UTC), "postgresql", StoredAs.AWARE),
        (date(2024, 1, 1), "mysql", StoredAs.DATES),
        ("2024-01-01", "sqlite", StoredAs.TEXT_DATES),
        ("2024-01-01 10:00:00", "sqlite", StoredAs.TEXT),
        ("2024-01-01T10:00:00.5+02:00", "sqlite", StoredAs.TEXT),
    ],
)
def test_a_value_tells_how_times_are_stored(sample: object, dialect: str, storage: StoredAs):
    assert find_storage("orders", "at", sample, dialect) is storage


@pytest.mark.parametrize(
    ("sample", "dialect"), [("2024-01-01", "postgresql"), (1.5, "mysql"), ("10:00", "sqlite")]
)
def test_text_is_a_time_in_sqlite_only(sample: object, dialect: str):
    """Elsewhere its order is the collation's, and the database has a type for times."""
    with pytest.raises(WrongColumnType, match=r"column at is (str|float) like"):
        find_storage("orders", "at", sample, dialect)


def test_the_bounds_are_of_the_type_that_the_column_has():
    """Drivers such as asyncpg refuse an aware value for a naive column, and the reverse."""
    assert bound(StoredAs.NAIVE) == [datetime(2024, 2, 29, 10), datetime(2024, 3, 31)]
    assert bound(StoredAs.AWARE) == [utc(2024, 2, 29, 10), utc(2024, 3, 31)]
    assert bound(StoredAs.DATES) == [date(2024, 2, 29), date(2024, 3, 31)]
    assert [type(value) for value in bound(StoredAs.DATES)] == [date, date]


def test_all_history_has_no_lower_bound():
    assert bound(StoredAs.NAIVE, Window(None, utc(2024, 3, 31))) == [datetime(2024, 3, 31)]
    assert bound(StoredAs.TEXT, Window(None, utc(2024, 3, 31))) == ["2024-04-02"]


def test_the_first_and_the_last_day_there_are_do_not_overflow():
    ends = Window(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))

    assert bound(StoredAs.TEXT, ends) == ["0001-01-01", "9999-12-31"]
