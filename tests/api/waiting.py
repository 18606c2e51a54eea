"""Waiting for a condition, with a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(look: Callable[[], Awaitable[object]], wanted: object, seconds: float = 5) -> None:
    """Look until what is seen is what is wanted."""
    deadline = time.monotonic() + seconds
    while (seen := await look()) != wanted:
        assert time.monotonic() < deadline, f"still {seen!r}, not {wanted!r}"
        await asyncio.sleep(0.01)
