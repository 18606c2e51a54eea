"""What the facade stands on, and whether it is there."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio

from retraining.errors import RetrainingError
from retraining.orchestrator.values import Inspection

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
INSPECTED_FOR_SECONDS = 15.0
"""How long it is believed what Prefect said of deployments and workers: probes come more often."""


@dataclass(frozen=True)
class Check:
    """One part's answer."""

    ready: bool
    problem: str | None = None


class Readiness:
    """Asks every part at once, each for at most two seconds. A check raises to say what is wrong."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._checks = checks

    async def check(self) -> Mapping[str, Check]:
        """The answers by part."""
        answers = await asyncio.gather(*(_answer(ask) for ask in self._checks.values()))
        return dict(zip(self._checks, answers, strict=True))


class Staffing:
    """Who could run jobs: the orchestrator's inspection, remembered for a while."""

    def __init__(
        self, inspect: Callable[[], Awaitable[Inspection]], believed_seconds: float = INSPECTED_FOR_SECONDS
    ) -> None:
        self._inspect = inspect
        self._believed_seconds = believed_seconds
        self._asking = asyncio.Lock()
        self._seen: Inspection | None = None
        self._seen_at = 0.0

    async def look(self) -> Inspection | None:
        """What is there, or None if Prefect does not say within two seconds."""
        try:
            async with asyncio.timeout(CHECK_SECONDS), self._asking:
                if self._seen is None or time.monotonic() - self._seen_at > self._believed_seconds:
                    self._seen = None
                    self._seen = await self._inspect()
                    self._seen_at = time.monotonic()
                return self._seen
        except (TimeoutError, RetrainingError) as exc:
            logger.info("Prefect does not say who runs jobs: %s", exc)
            return None


def in_thread(ask: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """A check that blocks, in a thread.

    Probes come every few seconds for ever: a part that does not answer keeps one thread waiting, which later
    probes wait for too, not one more thread with every probe.
    """
    asking: asyncio.Task[None] | None = None

    async def asked() -> None:
        nonlocal asking
        if asking is None or asking.done():
            asking = asyncio.create_task(anyio.to_thread.run_sync(ask, abandon_on_cancel=True))
            asking.add_done_callback(_heard)
        await asyncio.shield(asking)

    return asked


def _heard(asking: asyncio.Task[None]) -> None:
    """Take note of an answer that nobody waited for, lest asyncio complains."""
    if not asking.cancelled():
        asking.exception()


async def _answer(ask: Callable[[], Awaitable[None]]) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await ask()
    except TimeoutError:
        return Check(ready=False, problem=f"no answer within {CHECK_SECONDS:g} s")
    except Exception as exc:
        return Check(ready=False, problem=str(exc) or type(exc).__name__)
    return Check(ready=True)
