"""When triggers are due: the same moments that Prefect's schedules give, also where clocks change."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from retraining.triggers.calendar import calendar_of, next_runs
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition

NIGHTLY = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
BERLIN = ZoneInfo("Europe/Berlin")
CHANGES = [datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)]
SCHEDULES: list[tuple[Mapping[str, Any], Any]] = [
    (NIGHTLY, CronSchedule(**NIGHTLY)),
    *[
        ({"cron": cron, "timezone": zone}, CronSchedule(cron=cron, timezone=zone))
        for cron, zone in [
            ("*/15 * * * *", "Europe/Berlin"),
            ("0 * * * *", "Europe/Berlin"),
            ("15,45 1-3 * * sun", "Europe/Berlin"),
            ("0 3 28-31 * *", "Europe/Berlin"),
            ("20 2 * * *", "Australia/Lord_Howe"),
            ("0 9 * * *", "UTC"),
        ]
    ],
    *[
        (
            {"every": every, "anchor": "2026-05-04T08:15:30+00:00"},
            IntervalSchedule(interval=interval, anchor_date=datetime(2026, 5, 4, 8, 15, 30, tzinfo=UTC)),
        )
        for every, interval in [
            ("7h", timedelta(hours=7)),
            ("3d", timedelta(days=3)),
            ("10s", timedelta(seconds=10)),
        ]
    ],
    (
        {"every": "1d", "anchor": "2026-12-04T08:15:00+00:00", "timezone": "Europe/Berlin"},
        IntervalSchedule(
            interval=timedelta(days=1),
            anchor_date=datetime(2026, 12, 4, 8, 15, tzinfo=UTC),
            timezone="Europe/Berlin",
        ),
    ),
    *[
        ({"rrule": rule, "timezone": "Europe/Berlin"}, RRuleSchedule(rrule=rule, timezone="Europe/Berlin"))
        for rule in [
            "DTSTART:20260101T023000\nRRULE:FREQ=DAILY",
            "RRULE:FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=30;BYSECOND=0",
            "FREQ=MONTHLY;BYDAY=-1SU;BYHOUR=5",
            "DTSTART:20260101T120000Z\nRRULE:FREQ=DAILY;INTERVAL=3;UNTIL=20280101T000000Z",
            "DTSTART:20260101T120000\nRRULE:FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,SA",
            "DTSTART:20260101T003000\nRRULE:FREQ=HOURLY;INTERVAL=7",
            "DTSTART:20260101T120000\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=230",
        ]
    ],
]


@pytest.mark.parametrize(("calendar", "schedule"), SCHEDULES, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("change", CHANGES, ids=["spring", "autumn"])
def test_the_next_runs_are_prefects_whenever_one_asks(
    calendar: Mapping[str, Any], schedule: Any, change: datetime
) -> None:
    """Around a change of the clock Prefect repeats what lies behind it, such a run exists already; and from
    Python 3.13 on it overlooks a moved run if it looks shortly before, which it has planned long ago."""
    known = asyncio.run(schedule.get_dates(n=40, start=change - timedelta(days=1)))
    for minutes in range(-300, 300, 17):
        after = change + timedelta(minutes=minutes, seconds=7)

        dates = asyncio.run(schedule.get_dates(n=40, start=after))

        theirs = [one for one in sorted({one.astimezone(UTC) for one in [*known, *dates]}) if one > after]
        assert next_runs(calendar, after, 6) == theirs[:6]


@pytest.mark.parametrize("change", CHANGES, ids=["spring", "autumn"])
def test_a_nightly_trigger_is_due_once_in_a_night_when_clocks_change(change: datetime) -> None:
    runs = next_runs(NIGHTLY, change - timedelta(days=3), 7)

    nights = [run.astimezone(BERLIN).date() for run in runs]
    assert nights == [nights[0] + timedelta(days=number) for number in range(7)]
    assert sum(run.astimezone(BERLIN).strftime("%H:%M") != "02:30" for run in runs) <= 1


def test_a_time_that_exists_twice_is_due_the_first_time() -> None:
    [run] = next_runs(NIGHTLY, datetime(2027, 10, 30, 12, tzinfo=UTC), 1)

    assert run == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    assert next_runs(NIGHTLY, run, 1) == [datetime(2027, 11, 1, 1, 30, tzinfo=UTC)]


def test_times_after_are_later_and_in_utc() -> None:
    at = datetime(2026, 5, 4, 2, 30, tzinfo=BERLIN)

    [run] = next_runs(NIGHTLY, at, 1)

    assert run - at == timedelta(days=1)
    assert run.tzinfo is UTC


@pytest.mark.parametrize(
    ("condition", "calendar"),
    [
        (ScheduledCondition(cron="30 2 * * *", timezone="Europe/Berlin"), NIGHTLY),
        (ScheduledCondition(every="36h"), {"every": "1d12h", "anchor": "2026-05-04T08:15:30+00:00"}),
        (DriftCondition(check_every="15m"), {"every": "15m", "anchor": "2026-05-04T08:15:30+00:00"}),
        (PerformanceCondition(), {"every": "1d", "anchor": "2026-05-04T08:15:30+00:00"}),
    ],
)
def test_a_condition_says_when_it_is_due(
    condition: ScheduledCondition | DriftCondition | PerformanceCondition, calendar: Mapping[str, Any]
) -> None:
    created_at = datetime(2026, 5, 4, 10, 15, 30, 999_999, tzinfo=BERLIN)

    assert calendar_of(condition, created_at) == calendar


def test_an_interval_is_first_due_one_interval_after_it_begins() -> None:
    created_at = datetime(2026, 5, 4, 8, tzinfo=UTC)
    calendar = calendar_of(ScheduledCondition(every="1h"), created_at)

    assert next_runs(calendar, created_at, 2) == [created_at + timedelta(hours=hours) for hours in (1, 2)]


@pytest.mark.parametrize("rule", ["FREQ=MINUTELY;INTERVAL=7", "FREQ=SECONDLY;INTERVAL=45"])
def test_a_rule_of_minutes_that_began_years_ago_is_still_due(rule: str) -> None:
    began, step = datetime(2020, 1, 1, tzinfo=UTC), timedelta(minutes=7)
    if "SECONDLY" in rule:
        step = timedelta(seconds=45)

    runs = next_runs({"rrule": rule, "timezone": "UTC"}, CHANGES[0], 5)

    first = began + step * ((CHANGES[0] - began) // step + 1)
    assert runs == [first + step * number for number in range(5)]


def test_a_rule_that_has_ended_is_never_due() -> None:
    calendar = {"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=DAILY;COUNT=3", "timezone": "UTC"}

    assert next_runs(calendar, CHANGES[0], 5) == []


@pytest.mark.parametrize(
    "calendar",
    [
        {},
        {"cron": "at noon", "timezone": "UTC"},
        {"cron": "0 0 * * *", "timezone": "Mars/Olympus"},
        {"cron": "0 0 1 * 1", "timezone": "UTC", "day_or": False},
        {"every": "now and then", "anchor": "2026-05-04T08:15:30+00:00"},
        {"every": "0s", "anchor": "2026-05-04T08:15:30+00:00"},
        {"rrule": "FREQ=SOMETIMES", "timezone": "UTC"},
    ],
)
def test_what_cannot_be_read_is_said(calendar: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        next_runs(calendar, CHANGES[0], 1)
