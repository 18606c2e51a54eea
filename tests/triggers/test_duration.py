"""Durations, as people write them and as JSON shows them."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from retraining.triggers.duration import Duration, duration_text
from tests.jobs.news import steady

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
TEN_YEARS = timedelta(days=3650)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("30d", timedelta(days=30)),
        ("2w", timedelta(days=14)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("1d 12h", timedelta(days=1, hours=12)),
        (" 90s ", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("15M", timedelta(minutes=15)),
        ("P30D", timedelta(days=30)),
        ("PT1H", timedelta(hours=1)),
        (3600, timedelta(hours=1)),
        (0.5, timedelta(seconds=0.5)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_read_as_people_write_them(written: Any, meant: timedelta) -> None:
    assert DURATION.validate_python(written) == meant


@pytest.mark.parametrize(
    "written",
    ["", "d", "30 days old", "30x", "1d-2h", True, None, [], "9" * 400 + "d", "nan", "1e5d"],
)
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=30), "30d"),
        (timedelta(days=1, hours=12), "1d12h"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=365, seconds=1), "365d1s"),
        (timedelta(0), "0s"),
        (timedelta(milliseconds=1500), "1.5s"),
        (timedelta(days=14, microseconds=1), "1209600.000001s"),
    ],
)
def test_json_shows_the_largest_whole_units(duration: timedelta, text: str) -> None:
    assert duration_text(duration) == text
    assert DURATION.dump_python(duration, mode="json") == text


@steady
@given(st.timedeltas(timedelta(0), TEN_YEARS))
def test_what_json_shows_is_read_back_the_same(duration: timedelta) -> None:
    assert DURATION.validate_json(DURATION.dump_json(duration)) == duration


@steady
@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    """It is a duration or it is refused."""
    with suppress(ValidationError):
        assert DURATION.validate_python(text) < timedelta.max
