"""Reading JSON bodies strictly: bounded in size and depth, and only what JSON really allows."""

import json
from typing import Any, NoReturn

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope

DRAIN_BYTES = 16 * 1024 * 1024
"""How much more of a refused body is read and dropped, so that its sender gets to read the answer."""


class StrictRequest(Request):
    """A request whose body is at most `max_bytes` of JSON.

    What is wrong with the body is kept in `problem` instead of raised, because FastAPI reads bodies before
    it asks who is calling: `refuse_unreadable_body` raises it once the caller is known.
    """

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int) -> None:
        super().__init__(scope, receive)
        self._max_bytes = max_bytes
        self.problem: HTTPException | None = None

    async def body(self) -> bytes:
        """The body, or nothing if there is a `problem` with it."""
        if not hasattr(self, "_body"):
            try:
                self._body = await self._read()
                self._json = self._parse(self._body) if self._body else None
            except HTTPException as problem:
                self.problem = problem
                self._body = b""
        return self._body

    async def _read(self) -> bytes:
        declared = self.headers.get("content-length", "")
        too_large = declared.isdecimal() and int(declared) > self._max_bytes
        if too_large and (int(declared) > DRAIN_BYTES or "expect" in self.headers):
            self._refuse_size()
        read = bytearray()
        dropped = 0
        async for chunk in self.stream():
            too_large = too_large or len(read) + len(chunk) > self._max_bytes
            if too_large:
                dropped += len(chunk)
                if dropped > DRAIN_BYTES:
                    break
            else:
                read += chunk
        if too_large:
            self._refuse_size()
        return bytes(read)

    def _refuse_size(self) -> NoReturn:
        raise HTTPException(413, f"the body is larger than {self._max_bytes:,} bytes")

    def _parse(self, body: bytes) -> Any:
        media_type = self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise HTTPException(415, f"the body is {media_type}; send Content-Type: application/json")
        try:
            return json.loads(body, parse_constant=_refuse_constant)
        except RecursionError:
            raise HTTPException(400, "malformed JSON: nested too deeply") from None
        except UnicodeDecodeError:
            raise HTTPException(400, "malformed JSON: not UTF-8") from None
        except json.JSONDecodeError as exc:
            where = f"line {exc.lineno}, column {exc.colno}"
            raise HTTPException(400, f"malformed JSON: {exc.msg} at {where}") from None
        except ValueError:
            # What is left is Python's own bound, which keeps parsing from taking quadratic time.
            raise HTTPException(400, "malformed JSON: an integer has thousands of digits") from None


def refuse_unreadable_body(request: Request) -> None:
    """Raise what is wrong with the body, if it was read and something is."""
    if isinstance(request, StrictRequest) and request.problem is not None:
        raise request.problem


def _refuse_constant(word: str) -> NoReturn:
    raise HTTPException(400, f"malformed JSON: {word} is not a JSON number")
