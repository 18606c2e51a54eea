"""The time window a training set or a check is made of."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Window:
    """Rows with `start < time <= end`; `start=None` reaches back to the first row.

    The end belongs to the window because a label is complete at the very moment `time + label_delay`: a row
    of 1998-01-01 with a delay of 90 days is usable as of 1998-04-01. Both ends are aware, UTC.
    """

    start: datetime | None
    end: datetime

    def __post_init__(self) -> None:
        if self.end.tzinfo is None or (self.start is not None and self.start.tzinfo is None):
            raise ValueError("a window's ends carry a time zone")
        if self.start is not None and self.start >= self.end:
            raise ValueError(f"a window starts before it ends: {self}")

    def __str__(self) -> str:
        start = "the beginning" if self.start is None else f"{self.start:%Y-%m-%d %H:%M}"
        return f"({start}, {self.end:%Y-%m-%d %H:%M}] UTC"


def labelled_window(as_of: datetime, label_delay: timedelta, length: timedelta | None) -> Window:
    """The window whose labels are complete as of `as_of`, reaching back `length` (all history if None)."""
    if as_of.tzinfo is None:
        raise ValueError("as_of carries a time zone")
    end = as_of.astimezone(UTC) - label_delay
    return Window(start=None if length is None else end - length, end=end)
