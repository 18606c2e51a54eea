"""When a trigger is due next, and how its schedule is written down."""

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition
from retraining.triggers.cron import local_times
from retraining.triggers.duration import Duration, duration_text

_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
_CLOCK_CHANGE = timedelta(hours=26)
"""Longer than any clock was ever changed by at once."""
_RULE_BEGINS = datetime(2020, 1, 1)
"""A recurrence rule that does not say when it begins: Prefect's choice."""
_RULE_STEPS = 100_000
_RULE_STEP = {
    "WEEKLY": timedelta(weeks=1),
    "DAILY": timedelta(days=1),
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
    "SECONDLY": timedelta(seconds=1),
}
_CRON_SKIPS_AHEAD = sys.version_info >= (3, 13)
"""Which way Prefect's cron schedules leave the hour that the clock skips; pendulum goes one way, and from
Python 3.13 on whenever goes the other."""


def calendar_of(
    condition: ScheduledCondition | DriftCondition | PerformanceCondition, created_at: datetime
) -> dict[str, Any]:
    """When it is due, as JSON: `cron` and `timezone`, or `every` and `anchor` (ISO 8601).

    A trigger's `every` and `check_every` count from its creation.
    """
    if isinstance(condition, ScheduledCondition) and condition.cron is not None:
        return {"cron": condition.cron, "timezone": condition.timezone}
    every = condition.every if isinstance(condition, ScheduledCondition) else condition.check_every
    assert every is not None
    return {
        "every": duration_text(every),
        "anchor": created_at.astimezone(UTC).replace(microsecond=0).isoformat(),
    }


def next_runs(calendar: Mapping[str, Any], after: datetime, count: int) -> list[datetime]:
    """The next `count` moments after `after` when it is due, UTC: those for which Prefect plans its runs.

    `calendar` is what `calendar_of` makes, or `ScheduleSeen.condition` of a schedule that people made. A
    local time that exists twice, when clocks are set back, is due the first time only. One that does not
    exist, when they are set forward, is due an hour later by the new clock, or before Python 3.13 an hour
    earlier by the old one, as Prefect has it: 03:30 or 01:30 for 02:30.

    Raises:
        ValueError: it cannot be read.
    """
    return list(islice(_moments(calendar, after.astimezone(UTC)), count))


def _moments(calendar: Mapping[str, Any], after: datetime) -> Iterator[datetime]:
    zone = _zone(calendar.get("timezone") or "UTC")
    if "cron" in calendar:
        if not calendar.get("day_or", True):
            raise ValueError("a cron schedule that joins both kinds of days by `and`")
        local = local_times(calendar["cron"], _before(after, zone))
        return _in_order(local, zone, after, skip_ahead=_CRON_SKIPS_AHEAD)
    if "every" in calendar:
        every = _DURATION.validate_python(calendar["every"])
        return _intervals(every, datetime.fromisoformat(calendar["anchor"]), zone, after)
    if "rrule" in calendar:
        return _in_order(_rule_times(calendar["rrule"], _before(after, zone)), zone, after, skip_ahead=False)
    raise ValueError(f"says neither cron nor every nor rrule: {dict(calendar)}")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as exc:
        raise ValueError(f"unknown time zone {name!r}") from exc


def _before(after: datetime, zone: ZoneInfo) -> datetime:
    """A local time that lies before `after` whatever the clock did since."""
    return after.astimezone(zone).replace(tzinfo=None) - _CLOCK_CHANGE


def _in_order(
    local: Iterator[datetime], zone: ZoneInfo, after: datetime, *, skip_ahead: bool
) -> Iterator[datetime]:
    """The moments of local times, each once: two of them can be the same where the clock changed."""
    waiting: list[datetime] = []
    last = after
    for time in local:
        moment = _moment(time, zone, skip_ahead=skip_ahead)
        # A time that the clock skipped can come before its predecessors; none comes earlier than this.
        settled = moment - timedelta(hours=2)
        waiting = sorted({*waiting, moment})
        while waiting and waiting[0] <= settled:
            if (earliest := waiting.pop(0)) > last:
                last = earliest
                yield earliest
    yield from (moment for moment in waiting if moment > last)


def _moment(local: datetime, zone: ZoneInfo, *, skip_ahead: bool) -> datetime:
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    skipped = first.astimezone(zone).replace(tzinfo=None) != local
    # Of a skipped time, fold 0 reads it by the clock before the change, and fold 1 by the one after.
    return local.replace(tzinfo=zone, fold=1).astimezone(UTC) if skipped and not skip_ahead else first


def _intervals(every: timedelta, anchor: datetime, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """As Prefect counts: whole days by the local clock, but not those between the anchor and now."""
    if every <= timedelta(0):
        raise ValueError("every is not longer than nothing")
    if anchor.tzinfo is None:
        anchor = anchor.replace(tzinfo=zone)
    anchor = anchor.astimezone(UTC)
    days, rest = timedelta(days=every.days), every - timedelta(days=every.days)
    moment = anchor + every * int((after - anchor) / every)
    while True:
        if moment > after:
            yield moment
        local = moment.astimezone(zone).replace(tzinfo=None) + days
        moment = _moment(local, zone, skip_ahead=True) + rest if days else moment + rest


def _rule_times(rule: str, after: datetime) -> Iterator[datetime]:
    from dateutil.rrule import rrule, rrulestr

    times = rrulestr(rule, dtstart=_RULE_BEGINS, ignoretz=True)
    if isinstance(times, rrule):
        times = _begun_before(times, after)
    for _, time in zip(range(_RULE_STEPS), times, strict=False):
        if time > after:
            yield time


def _begun_before(rule: Any, after: datetime) -> Any:
    """The rule without the steps that lie before: a rule of minutes has hundreds of thousands a year.

    Where it counts its times, they must be counted from the first.
    """
    from dateutil.rrule import FREQNAMES

    # dateutil has no public names for what it parsed.
    begins, often, interval, count = rule._dtstart, rule._freq, rule._interval, rule._count  # noqa: SLF001
    unit = _RULE_STEP.get(FREQNAMES[often])
    if unit is None or count is not None or begins >= after:
        return rule
    step = unit * interval
    return rule.replace(dtstart=begins + step * ((after - begins) // step))
