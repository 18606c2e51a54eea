"""The facade on a real socket, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

UNHURRIED: dict[str, Any] = {
    f"rate_limit_{kind}": 1_000_000 for kind in ("reads", "writes", "address", "failures")
}
"""Settings of a facade that tests or benchmarks ask more often than anybody may."""


@asynccontextmanager
async def serving(app: FastAPI, seconds: float = 20) -> AsyncIterator[str]:
    """Serve the application until the block ends; yields its address."""
    # Said to be TCP, so that asyncio turns Nagle's delays off, as it does for a port that uvicorn opens.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, proxy_headers=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(seconds):
                while not server.started:
                    if task.done():
                        raise RuntimeError("the application did not start") from task.exception()
                    await asyncio.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
