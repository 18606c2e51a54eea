"""News on their way from a stream into the database, and what the stream did not tell."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Generic, TypeVar

from retraining.background import Work, in_background
from retraining.errors import Unavailable

logger = logging.getLogger(__name__)

BATCH = 200
"""News that are written in one transaction, at most."""
SIZE = 10_000
"""News kept while the database does not answer; what is dropped beyond, reconciliation finds."""

News = TypeVar("News")
Written = TypeVar("Written")


class Inbox(Generic[News]):
    """Follows a stream, writes what arrives in batches, and reconciles at intervals and after every gap.

    Each of the three goes on by itself when Prefect or the database is back.
    """

    def __init__(
        self,
        what: str,
        *,
        follow: Callable[[], AbstractAsyncContextManager[AsyncIterator[News]]],
        write: Callable[[Sequence[News]], Awaitable[None]],
        reconcile: Work,
        reconcile_seconds: float,
    ) -> None:
        """`what` is for logs: "triggers".

        What `write` refuses with `Unavailable` is offered again; after any other error it is dropped, and
        `reconcile` finds what it told. There are at most `reconcile_seconds` between two reconciliations.
        """
        self._what = what
        self._follow = follow
        self._write_batch = write
        self._reconcile = reconcile
        self._reconcile_seconds = reconcile_seconds
        self._news: list[News] = []
        self._arrived = asyncio.Event()
        self._gap = asyncio.Event()
        self.live = False
        """Whether the stream is open; otherwise only reconciling brings news."""

    @asynccontextmanager
    async def running(self, *others: Work) -> AsyncIterator[None]:
        """Follow while the block runs, beside other works; begins with a reconciliation."""
        self._gap.set()
        async with in_background(self._what, self._listen, self._write, self._close_gaps, *others):
            yield

    async def _listen(self) -> None:
        """Take news until the stream is cut."""
        try:
            async with self._follow() as stream:
                self.live = True
                self._gap.set()
                async for news in stream:
                    if len(self._news) < SIZE:
                        self._news.append(news)
                    else:
                        self._gap.set()
                    self._arrived.set()
        finally:
            self.live = False

    async def _write(self) -> None:
        """Write what arrived, until nothing is left."""
        if not self._news:
            await self._arrived.wait()
        self._arrived.clear()
        while self._news:
            batch = self._news[:BATCH]
            try:
                await self._write_batch(batch)
            except Unavailable:
                raise
            except Exception:
                # Trying the same again would keep all behind it waiting; reconciling finds what it told.
                logger.exception("events about %s dropped", self._what)
                self._gap.set()
            del self._news[: len(batch)]

    async def _close_gaps(self) -> None:
        """Reconcile when it is time, or at once if news may have been missed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._reconcile_seconds):
                await self._gap.wait()
        self._gap.clear()
        try:
            await self._reconcile()
        except Exception:
            self._gap.set()
            raise


async def write_together_or_singly(
    items: Sequence[News],
    write: Callable[[Sequence[News]], Awaitable[Written]],
    *,
    several: str,
    one: str,
    facts: Callable[[News], Mapping[str, str]],
) -> list[Written]:
    """Write in one transaction; what cannot be written for a reason of its own holds up no other.

    Returns what each `write` returned. `several` and `one` name the items in logs ("evaluations", "an
    evaluation"), `facts` gives the ids of one.

    Raises:
        Unavailable: some may be written.
    """
    if not items:
        return []
    try:
        return [await write(items)]
    except Unavailable:
        raise
    except Exception:
        logger.exception("%s not written together, trying one by one", several)
    written = []
    for item in items:
        try:
            written.append(await write([item]))
        except Unavailable:
            raise
        except Exception:
            logger.exception("%s cannot be written", one, extra=dict(facts(item)))
    return written
