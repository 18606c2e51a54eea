from datetime import UTC, datetime, timedelta, timezone

from retraining.monitoring.window import between, current_window
from retraining.sources.window import Window

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_window_of_its_own_length_reaches_back_from_the_end() -> None:
    found = current_window(timedelta(days=30), after=DAY - timedelta(days=5), end=DAY)
    assert found == Window(DAY - timedelta(days=30), DAY)


def test_without_a_length_it_begins_where_the_champions_data_ended() -> None:
    assert current_window(None, after=DAY - timedelta(days=5), end=DAY) == Window(
        DAY - timedelta(days=5), DAY
    )


def test_without_either_it_begins_with_the_first_row() -> None:
    assert current_window(None, after=None, end=DAY) == Window(None, DAY)


def test_there_is_no_window_before_the_champions_data_has_ended() -> None:
    assert current_window(None, after=DAY, end=DAY) is None
    assert current_window(None, after=DAY + timedelta(days=1), end=DAY) is None


def test_a_window_is_in_utc_and_may_reach_beyond_the_calendar() -> None:
    berlin = timezone(timedelta(hours=1))
    found = current_window(timedelta(days=3650), after=None, end=datetime(5, 1, 1, 1, tzinfo=berlin))
    assert found == Window(None, datetime(5, 1, 1, tzinfo=UTC))


def test_both_ends_of_a_fingerprint_are_included() -> None:
    assert between(DAY, DAY) == Window(DAY - timedelta(microseconds=1), DAY)
    assert between(datetime.min.replace(tzinfo=UTC), DAY) == Window(None, DAY)
