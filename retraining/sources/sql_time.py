"""How a database stores times, and the window as a condition that it evaluates itself."""

import re
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any

import sqlalchemy as sa

from retraining.errors import WrongColumnType
from retraining.sources.time_column import NEEDED, bounds
from retraining.sources.window import Window

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


class StoredAs(Enum):
    """What the driver returns for a time."""

    DATES = "dates"
    NAIVE = "timestamps without a zone, taken as UTC"
    AWARE = "timestamps with a zone"
    TEXT_DATES = "dates as text"
    TEXT = "timestamps as text"

    @property
    def is_text(self) -> bool:
        """Whether the values still have to be parsed."""
        return self in {StoredAs.TEXT_DATES, StoredAs.TEXT}


def find_storage(source: str, column: str, sample: object, dialect: str) -> StoredAs:
    """How the time column is stored, from one of its values.

    A value tells it for queries as well as tables and for every dialect, which reflected types do not.

    Raises:
        WrongColumnType: the value is no time. Text is one in SQLite only, which has no type for times.
    """
    if isinstance(sample, datetime):
        return StoredAs.NAIVE if sample.tzinfo is None else StoredAs.AWARE
    if isinstance(sample, date):
        return StoredAs.DATES
    if dialect == "sqlite" and isinstance(sample, str) and _ISO.fullmatch(sample):
        return StoredAs.TEXT_DATES if len(sample) == len("2024-01-31") else StoredAs.TEXT
    needed = f"{NEEDED} (ISO 8601 text)" if dialect == "sqlite" else NEEDED
    raise WrongColumnType(source, column, f"{type(sample).__name__} like {str(sample)[:40]!r}", needed)


def inside(column: sa.ColumnElement[Any], storage: StoredAs, window: Window) -> list[sa.ColumnElement[bool]]:
    """The window as conditions with bound parameters.

    Text is compared by day, up to two days too wide: its separator, precision and zone vary, so that only
    its first ten characters sort as time does. The caller cuts exactly what comes back.
    """
    if storage.is_text:
        earliest = None if window.start is None else _day(window.start, -1)
        conditions = [column < _day(window.end, 2)]
        return conditions if earliest is None else [column >= earliest, *conditions]
    limits = bounds(window, dates=storage is StoredAs.DATES)
    conditions = [column <= _bound(limits.until, storage)]
    return conditions if limits.after is None else [column > _bound(limits.after, storage), *conditions]


def _bound(value: date, storage: StoredAs) -> sa.ColumnElement[Any]:
    if isinstance(value, datetime):
        is_aware = storage is StoredAs.AWARE
        return sa.literal(value if is_aware else value.replace(tzinfo=None), sa.DateTime(timezone=is_aware))
    return sa.literal(value, sa.Date())


def _day(moment: datetime, shift: int) -> sa.ColumnElement[str]:
    day = moment.astimezone(UTC).date()
    try:
        day += timedelta(days=shift)
    except OverflowError:  # the first or the last day there is
        day = date.min if shift < 0 else date.max
    return sa.literal(day.isoformat(), sa.String())
