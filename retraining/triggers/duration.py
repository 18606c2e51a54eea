"""Durations as people write them: `30d`, `12h`, `1d12h`, ISO 8601 (`P30D`), or a number of seconds."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"\s*(?:\d+(?:\.\d+)?\s*[wdhms]\s*)+", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([wdhms])", re.IGNORECASE)


def parse_duration(value: Any) -> Any:
    """The duration that a person wrote; what is not of that form is left to pydantic (ISO 8601, seconds)."""
    if isinstance(value, bool):
        raise ValueError("is no duration; write one like 30d, 12h or 15m")  # noqa: TRY004 - pydantic's error
    if not isinstance(value, str) or not _WRITTEN.fullmatch(value):
        return value
    try:
        return timedelta(seconds=sum(float(n) * _UNITS[unit.lower()] for n, unit in _PART.findall(value)))
    except OverflowError as exc:
        raise ValueError("is longer than any calendar") from exc


def duration_text(duration: timedelta) -> str:
    """The duration in its largest whole units: `30d`, `1d12h`, `90s` as `1m30s`."""
    seconds = duration.total_seconds()
    if seconds != int(seconds):
        return f"{seconds:.6f}".rstrip("0") + "s"
    rest, parts = int(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["30d", "12h", "15m"]}),
]
"""A duration in a trigger's condition; JSON shows it as `30d`."""
