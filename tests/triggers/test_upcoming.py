"""The next runs of triggers are computed once, and again when one of them is over."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from retraining.triggers import upcoming
from retraining.triggers.calendar import next_runs
from retraining.triggers.trigger import RetrainingTrigger
from retraining.triggers.upcoming import UpcomingRuns
from tests.triggers.evaluating import START, after
from tests.triggers.test_mirroring import SCHEDULED, ours, theirs


class Counting:
    """Computes, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, calendar: Mapping[str, Any], now: datetime, count: int) -> Sequence[datetime]:
        self.calls += 1
        return next_runs(calendar, now, count)


@pytest.fixture
def counting() -> Counting:
    return Counting()


def every(duration: str, **facts: Any) -> RetrainingTrigger:
    return ours(trigger_condition={"check_every": duration}, created_at=START, **facts)


def test_the_next_five_count_from_the_triggers_creation(counting: Counting) -> None:
    runs = UpcomingRuns(counting).of(every("6h"), after(hours=7))
    assert list(runs) == [after(hours=hours) for hours in (12, 18, 24, 30, 36)]


def test_they_are_remembered_until_the_first_is_over(counting: Counting) -> None:
    known = UpcomingRuns(counting)
    for minutes in range(0, 60, 10):
        assert known.of(every("1h"), after(minutes=minutes))[0] == after(hours=1)
    assert counting.calls == 1
    assert known.of(every("1h"), after(hours=1))[0] == after(hours=2)
    assert counting.calls == 2


def test_a_changed_trigger_is_asked_anew(counting: Counting) -> None:
    known = UpcomingRuns(counting)
    known.of(every("1h"), START)
    changed = every("2h", updated_at=after(minutes=1))
    assert known.of(changed, after(minutes=1))[0] == after(hours=2)
    assert known.of(ours(enabled=False), START) == ()


def test_a_clock_that_was_set_back_is_believed(counting: Counting) -> None:
    known = UpcomingRuns(counting)
    known.of(every("1h"), after(hours=5))
    assert known.of(every("1h"), after(hours=2.5))[0] == after(hours=3)


def test_people_s_own_schedules_are_read_as_prefect_says(counting: Counting) -> None:
    known = UpcomingRuns(counting)
    rule = {"rrule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "timezone": "UTC"}
    assert known.of(theirs(trigger_condition=rule), START)[:2] == (after(hours=1), after(hours=2))
    unreadable = theirs(trigger_condition={"cron": "@reboot"}, updated_at=after(minutes=1))
    assert known.of(unreadable, START) == ()


def test_it_remembers_only_so_many(counting: Counting) -> None:
    known = UpcomingRuns(counting)
    first = ours(SCHEDULED)
    known.of(first, START)
    for _ in range(upcoming.REMEMBERED):
        known._known[uuid4()] = known._known[first.id]
    assert len(known._known) == upcoming.REMEMBERED + 1
    known.of(every("1h", id=uuid4()), START)
    assert first.id not in known._known
