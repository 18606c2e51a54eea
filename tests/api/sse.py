"""A reader of server-sent events."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Sent:
    """One event as it came."""

    id: int
    event: str
    data: dict[str, Any]


class Stream:
    """An open stream: its answer, its events, and how often it said that it is alive."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.heartbeats = 0
        self.events = self._events()

    async def take(self, count: int) -> list[Sent]:
        """The next events, this many."""
        return [await anext(self.events) for _ in range(count)]

    async def rest(self) -> list[Sent]:
        """All events until the server ends the stream."""
        return [event async for event in self.events]

    async def _events(self) -> AsyncIterator[Sent]:
        fields: dict[str, str] = {}
        async for line in self.answer.aiter_lines():
            if line.startswith(":"):
                self.heartbeats += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield Sent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                fields = {}


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, path: str, last_event_id: int | None = None
) -> AsyncIterator[Stream]:
    """Open a stream."""
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    async with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)
