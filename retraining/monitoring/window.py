"""Which rows a check looks at. Pure."""

from datetime import UTC, datetime, timedelta

from retraining.sources.window import Window


def current_window(length: timedelta | None, *, after: datetime | None, end: datetime) -> Window | None:
    """The window of a check that ends at `end`.

    With a `length` it reaches back so far. Without one it begins where the champion's data ended (`after`;
    with the first row if that is not known), and is None if that is not before `end`. Times are aware.
    """
    end = end.astimezone(UTC)
    if length is None:
        return None if after is not None and after >= end else Window(after, end)
    try:
        return Window(end - length, end)
    except OverflowError:  # further back than the calendar
        return Window(None, end)


def between(start: datetime, end: datetime) -> Window:
    """The rows from `start` to `end`, both included, as a version's fingerprint names them."""
    try:
        return Window(start - timedelta(microseconds=1), end)
    except OverflowError:
        return Window(None, end)
