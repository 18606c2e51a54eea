"""Waiting for a condition, with a bound."""

import asyncio
from collections.abc import Awaitable, Callable

STEP_SECONDS = 0.01


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Wait until it holds. Raises TimeoutError after the bound."""
    for _ in range(int(seconds / STEP_SECONDS)):
        if await holds():
            return
        await asyncio.sleep(STEP_SECONDS)
    raise TimeoutError(f"not so within {seconds:g} s")
