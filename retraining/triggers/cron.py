"""Cron expressions of five fields, as crontab has them, and the local times that they name."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SUNDAY_AGAIN = 7
_LONGEST_GAP = timedelta(days=366 * 8 + 1)
"""From 29 February 2096 to the next one. An expression that names nothing for so long never does."""


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    words: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        chosen: set[int] = set()
        parts = text.split(",")
        if "*" in parts and len(parts) > 1:
            raise ValueError(f"{self.name}: * names all already, leave out the rest of {text!r}")
        for part in parts:
            span, slash, step = part.partition("/")
            first, dash, last = span.partition("-")
            if span == "*":
                low, high = self.lowest, self.highest
            elif dash:
                low, high = self._number(first), self._number(last)
            else:
                low = self._number(first)
                high = self.highest if slash else low
            if slash and span != "*" and high == _SUNDAY_AGAIN and self.words == _WEEKDAYS:
                # Prefect takes the 7 for a 0 before it counts.
                raise ValueError(f"{self.name}: steps end at 6, list the days instead of {part!r}")
            if low > high or ((dash or slash) and low == high):
                # From a day to itself is one day to some crons and the whole week to others, Prefect's too.
                raise ValueError(f"{self.name}: {span!r} is no range, it ends before or where it begins")
            stride = self._count(step) if slash else 1
            if not 1 <= stride <= self.highest:
                raise ValueError(f"{self.name}: steps are 1 to {self.highest}, not {step!r}")
            chosen.update(range(low, high + 1, stride))
        return frozenset(chosen)

    def _number(self, text: str) -> int:
        if text.lower() in self.words:
            return self.words.index(text.lower()) + self.lowest
        number = self._count(text)
        if not self.lowest <= number <= self.highest:
            raise ValueError(f"{self.name}: {text!r} is not in {self.lowest} to {self.highest}")
        return number

    def _count(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 4):
            raise ValueError(f"{self.name}: {text!r} is no number")
        return int(text)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True)
class _Cron:
    times: tuple[time, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """Both kinds of days are chosen: then a day of one of them is enough, as crontab has it."""

    def names(self, day: date) -> bool:
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week


def check_cron(expression: str) -> None:
    """Accept a cron expression of five fields that is due some day.

    Numbers, names of months and days, `*`, ranges, steps and lists; day 0 and day 7 are Sunday.

    Raises:
        ValueError: saying what is wrong with it.
    """
    _parse(expression)
    if next(local_times(expression, datetime(2024, 1, 1)), None) is None:
        raise ValueError(f"{expression!r} names a day that no month has")


def local_times(expression: str, after: datetime) -> Iterator[datetime]:
    """The local times after `after` that the expression names, in order; both without a time zone."""
    cron = _parse(expression)
    day = after.date()
    earliest: time | None = after.time()
    last_named = day
    while day - last_named <= _LONGEST_GAP:
        if day.month not in cron.months:
            day = _first_of_next_month(day)
        else:
            if cron.names(day):
                last_named = day
                yield from (
                    datetime.combine(day, at) for at in cron.times if earliest is None or at > earliest
                )
            day += timedelta(days=1)
        earliest = None


def _first_of_next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _skips_days_of_march(days: frozenset[int]) -> bool:
    """Whether Prefect, which looks for the next chosen day by its number, walks from February over one."""
    for length in (28, 29):
        beyond = [day for day in days if day > length]
        if beyond and min(days) < min(beyond) - length:
            return True
    return False


@lru_cache(maxsize=10_000)
def _parse(expression: str) -> _Cron:
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ValueError("has five fields: minute, hour, day of month, month, day of week")
    parsed = (field.parse(text) for field, text in zip(_FIELDS, fields, strict=True))
    minutes, hours, days, months, weekdays = parsed
    weekdays = frozenset(weekday % 7 for weekday in weekdays)
    if months >= {2, 3} and len(days) < 31 and _skips_days_of_march(days):
        raise ValueError(
            "day of month: Prefect forgets the first days of March where a month's last days are chosen too; "
            "make two triggers, one for day 30 or 31"
        )
    # Where all days are spelled out, Prefect takes them for a star if there is a star on the other side.
    any_day = fields[2] == "*" or (len(days) == 31 and "*" in fields[4])
    any_weekday = fields[4] == "*" or (len(weekdays) == 7 and "*" in fields[2])
    return _Cron(
        times=tuple(time(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)),
        days=days,
        months=months,
        weekdays=weekdays,
        either_day=not any_day and not any_weekday,
    )
