"""Cursors survive the way to the caller and back, and nothing else does."""

import base64
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.jobs.cursor import Position, _check
from tests.jobs.news import steady

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
POSITION = Position(datetime(2026, 5, 4, 8, 0, 0, 123_456, tzinfo=UTC), UUID(int=7))


@steady
@given(MOMENTS, st.uuids())
def test_a_position_survives_the_round_trip(created_at: datetime, job_id: UUID) -> None:
    position = Position(created_at, job_id)
    assert Position.decode(position.encode()) == position


def test_a_cursor_needs_no_escaping_in_a_url() -> None:
    assert POSITION.encode().replace("-", "").replace("_", "").isalnum()


@steady
@given(st.text(max_size=60))
def test_no_text_but_a_cursor_is_taken(text: str) -> None:
    with pytest.raises(ValueError, match="start again without it"):
        Position.decode(text)


@steady
@given(st.integers(0, 37), st.characters(codec="ascii"))
def test_a_changed_cursor_is_refused(place: int, letter: str) -> None:
    cursor = POSITION.encode()
    changed = cursor[:place] + letter + cursor[place + 1 :]
    if changed != cursor:
        with pytest.raises(ValueError, match="start again without it"):
            Position.decode(changed)


def test_a_cut_cursor_is_refused() -> None:
    with pytest.raises(ValueError, match="start again without it"):
        Position.decode(POSITION.encode()[:-1])


@pytest.mark.parametrize("microseconds", [2**63 - 1, -(2**63)])
def test_a_forged_cursor_beyond_the_calendar_is_refused(microseconds: int) -> None:
    """Its check is right: it protects from mistakes, not from forgery."""
    content = microseconds.to_bytes(8, "big", signed=True) + bytes(16)
    forged = base64.urlsafe_b64encode(content + _check(content)).rstrip(b"=").decode()
    with pytest.raises(ValueError, match="start again without it"):
        Position.decode(forged)
