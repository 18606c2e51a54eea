"""Where a page begins: an offset, or the cursor of the page before, opaque to who carries it."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from retraining.errors import InvalidRequest

MAX_OFFSET = 2**31

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECK = 4
_LENGTH = 8 + 16 + _CHECK


@dataclass(frozen=True)
class Position:
    """A place in the order of the pages: created_at, then id, both descending."""

    created_at: datetime
    id: UUID

    def encode(self) -> str:
        """The cursor's text, safe in a URL."""
        microseconds = (self.created_at - _EPOCH) // timedelta(microseconds=1)
        content = microseconds.to_bytes(8, "big", signed=True) + self.id.bytes
        return base64.urlsafe_b64encode(content + _check(content)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, cursor: str) -> "Position":
        """Read a cursor back.

        Raises:
            ValueError: it was cut, changed or never came from a page.
        """
        try:
            content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            content = b""
        body, check = content[:-_CHECK], content[-_CHECK:]
        if len(content) != _LENGTH or check != _check(body):
            raise ValueError("the cursor is not one that a page gave; start again without it")
        try:
            created_at = _EPOCH + timedelta(microseconds=int.from_bytes(body[:8], "big", signed=True))
        except OverflowError as exc:
            raise ValueError("the cursor names no moment that there is; start again without it") from exc
        return cls(created_at, UUID(bytes=body[8:]))


def page_start(*, limit: int, max_limit: int, offset: int, cursor: str | None) -> Position | None:
    """After which position a page of at most `limit` begins; None without a cursor.

    Raises:
        InvalidRequest: limit outside 1 to `max_limit`, a negative or huge offset, one beside a cursor, or a
            cursor that no page gave.
    """
    if not 1 <= limit <= max_limit:
        raise InvalidRequest("limit", f"{limit} is not between 1 and {max_limit}")
    if not 0 <= offset <= MAX_OFFSET:
        raise InvalidRequest("offset", f"{offset} is not between 0 and {MAX_OFFSET}")
    if cursor is not None and offset:
        raise InvalidRequest("offset", "give either a cursor or an offset")
    try:
        return None if cursor is None else Position.decode(cursor)
    except ValueError as exc:
        raise InvalidRequest("cursor", str(exc)) from exc


def _check(content: bytes) -> bytes:
    return hashlib.sha256(b"retraining cursor" + content).digest()[:_CHECK]
