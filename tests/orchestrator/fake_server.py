"""`FakeServer`: what the fakes have in common. Its calls are counted, it can go down, and it tells news."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from retraining.errors import OrchestratorUnavailable

News = TypeVar("News")


class FakeServer(Generic[News]):
    """A server in memory, with a stream of news for everybody who follows."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """The name of every method called, refused calls too."""
        self._down = False
        self._followers: list[asyncio.Queue[News | None]] = []

    def go_down(self) -> None:
        """The server stops: every call fails and every stream is cut, until `come_back`."""
        self._down = True
        self.cut_events()

    def come_back(self) -> None:
        """The server answers again; no event comes of what happened meanwhile."""
        self._down = False

    def cut_events(self) -> None:
        """Only the streams of events are cut; a new one can be opened at once."""
        for queue in self._followers:
            queue.put_nowait(None)
        self._followers.clear()

    @property
    def followers(self) -> int:
        """How many streams of events are open."""
        return len(self._followers)

    def _ask(self, call: str) -> None:
        self.calls.append(call)
        if self._down:
            raise OrchestratorUnavailable(call.replace("_", " "))

    @asynccontextmanager
    async def _followed(self, call: str) -> AsyncIterator[AsyncIterator[News]]:
        self._ask(call)
        queue: asyncio.Queue[News | None] = asyncio.Queue()
        self._followers.append(queue)

        async def stream() -> AsyncIterator[News]:
            while (news := await queue.get()) is not None:
                yield news
            raise OrchestratorUnavailable("follow its events")

        try:
            yield stream()
        finally:
            if queue in self._followers:
                self._followers.remove(queue)

    def _tell(self, news: News) -> None:
        if self._down:
            return
        for queue in self._followers:
            queue.put_nowait(news)
