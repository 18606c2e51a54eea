"""Work that goes on for as long as its owner lives, whatever fails meanwhile."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from retraining.errors import Unavailable

logger = logging.getLogger(__name__)

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 3.0

Work = Callable[[], Awaitable[None]]


@asynccontextmanager
async def in_background(what: str, *works: Work) -> AsyncIterator[None]:
    """Do all of the works at once, again and again, while the block runs. `what` is for logs: "triggers"."""
    tasks = [
        asyncio.create_task(again_and_again(what, work), name=f"{what}: {work.__name__}") for work in works
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def again_and_again(what: str, work: Work) -> None:
    """Do the work for ever; after a failure with a pause, longer each time."""
    pause = SHORTEST_PAUSE
    while True:
        started = time.monotonic()
        try:
            await work()
        except Unavailable as exc:
            logger.warning("%s are not followed for the moment: %s", what, exc)
        except Exception:
            logger.exception("following %s failed, going on", what)
        else:
            pause = SHORTEST_PAUSE
            continue
        if time.monotonic() - started > LONGEST_PAUSE:
            pause = SHORTEST_PAUSE
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
