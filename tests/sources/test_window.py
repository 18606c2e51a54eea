from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from retraining.sources.window import Window, labelled_window
from tests.sources.rows import utc


def test_labels_of_the_last_row_are_complete_at_the_very_moment_of_as_of():
    window = labelled_window(utc(1998, 4, 1), timedelta(days=90), None)

    assert window == Window(None, utc(1998, 1, 1))


def test_the_window_reaches_back_its_length_from_the_end():
    window = labelled_window(utc(2024, 3, 31), timedelta(days=1), timedelta(days=30))

    assert window == Window(utc(2024, 2, 29), utc(2024, 3, 30))


def test_an_as_of_in_another_zone_is_the_same_moment():
    berlin = datetime(2024, 7, 1, 2, tzinfo=ZoneInfo("Europe/Berlin"))

    assert labelled_window(berlin, timedelta(0), None).end == utc(2024, 7, 1)
    assert labelled_window(berlin, timedelta(0), None).end.tzinfo is UTC


def test_a_day_of_delay_is_24_hours_across_a_change_of_clocks():
    """Berlin's 2024-03-31 has 23 hours; a label that takes 24 hours is known by the clock of UTC."""
    as_of = datetime(2024, 4, 1, 0, tzinfo=ZoneInfo("Europe/Berlin"))

    assert labelled_window(as_of, timedelta(days=1), None).end == utc(2024, 3, 30, 22)


def test_an_as_of_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        labelled_window(datetime(2024, 1, 1), timedelta(0), None)


@pytest.mark.parametrize("start", [utc(2024, 1, 2), utc(2024, 1, 3)])
def test_a_window_starts_before_it_ends(start: datetime):
    with pytest.raises(ValueError, match="starts before it ends"):
        Window(start, utc(2024, 1, 2))


def test_a_window_says_which_times_it_takes():
    assert str(Window(utc(2024, 1, 1), utc(2024, 2, 1, 12))) == "(2024-01-01 00:00, 2024-02-01 12:00] UTC"
    assert str(Window(None, utc(2024, 2, 1))) == "(the beginning, 2024-02-01 00:00] UTC"
