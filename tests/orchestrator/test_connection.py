"""The door while the server is away, slow, broken, closed or somebody else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from retraining.errors import OrchestratorUnavailable
from retraining.orchestrator.connection import WRITERS
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.values import RunEvent, RunRequest
from tests.servers import free_port, prefect_server

CREDENTIALS = "admin:secret"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
READY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue"
SILENT = b""


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that gives this answer to everything; yields its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with serving(serve) as url:
        yield url


@asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that does this with every connection; yields its address."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"


@pytest.mark.parametrize("answer", [HTML, BROKEN, BUSY, SILENT], ids=["html", "broken", "busy", "silent"])
async def test_whatever_does_not_answer_as_prefect_does_is_unavailable_within_the_bound(
    answer: bytes,
) -> None:
    async with answering(answer) as url, PrefectOrchestrator(url, request_seconds=0.5) as door:
        started_at = time.monotonic()
        with pytest.raises(OrchestratorUnavailable) as caught:
            await door.create_run(RunRequest("churn", {}, None, uuid4().hex))
        taken = time.monotonic() - started_at

    assert "create a run of retrain/churn" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert taken < 5


async def test_a_busy_server_is_asked_again_many_times_within_the_bound() -> None:
    """Prefect's own client would sleep for two seconds after the first refusal."""
    asked = 0

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await reader.read(65536):
            asked += 1
            writer.write(BUSY)
        writer.close()

    async with serving(busy) as url, PrefectOrchestrator(url, request_seconds=2) as door:
        with pytest.raises(OrchestratorUnavailable):
            await door.read_run(uuid4())
    assert asked >= 4


async def test_a_connection_that_breaks_under_a_request_is_replaced() -> None:
    """Prefect's server ends a connection after an error, and does not say so in its answer."""
    connections = 0

    async def break_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await reader.readexactly(1)
            writer.close()  # with the rest of the request unread: a reset, not an end
            return
        while await reader.read(65536):
            writer.write(READY)
            await writer.drain()
        writer.close()

    async with serving(break_the_first) as url, PrefectOrchestrator(url) as door:
        await door.ping()
    assert connections == 2


async def test_a_crowd_of_requests_for_runs_takes_turns() -> None:
    now, most = 0, 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        while await reader.read(65536):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.05)
            now -= 1
            writer.write(BROKEN)
        writer.close()

    async with serving(slow) as url, PrefectOrchestrator(url) as door:
        runs = (door.create_run(RunRequest("churn", {}, None, uuid4().hex)) for _ in range(10))
        answers = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(answer, OrchestratorUnavailable) for answer in answers), answers
    assert most == WRITERS


async def test_who_waits_for_a_turn_too_long_is_told_so() -> None:
    async with answering(SILENT) as url, PrefectOrchestrator(url, request_seconds=0.1) as door:
        runs = (door.create_run(RunRequest("churn", {}, None, uuid4().hex)) for _ in range(50))
        started_at = time.monotonic()
        answers = await asyncio.gather(*runs, return_exceptions=True)
        taken = time.monotonic() - started_at
    assert all(isinstance(answer, OrchestratorUnavailable) for answer in answers), answers
    assert taken < 2  # each in turn would take 2.5 s


async def test_where_nobody_listens_every_call_says_so_soon() -> None:
    async with PrefectOrchestrator(f"http://127.0.0.1:{free_port()}/api", request_seconds=60) as door:
        started_at = time.monotonic()
        for call in (
            door.ping(),
            door.read_run(uuid4()),
            door.active_runs(),
            door.cancel_run(uuid4()),
            door.logs(uuid4(), limit=1, offset=0),
            anext(door.finished_runs(None)),
            door.events().__aenter__(),
            door.promotion_lock("churn").__aenter__(),
        ):
            with pytest.raises(OrchestratorUnavailable):
                await call
        taken = time.monotonic() - started_at

    assert taken < 30  # one of Prefect's own repetitions of one call would take as long


class Server:
    """A Prefect server with credentials, that a test can stop and start again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._running = ExitStack()

    def start(self) -> None:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PREFECT_SERVER_API_AUTH_STRING", CREDENTIALS)
            self._running.enter_context(prefect_server(self.home, self.port))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own."""
    server = Server(tmp_path_factory.mktemp("closed-prefect"))
    server.start()
    yield server
    server.stop()


async def test_a_closed_server_opens_to_its_credentials(server: Server) -> None:
    async with PrefectOrchestrator(server.url, CREDENTIALS, request_seconds=60) as door:
        await door.ping()
        assert await door.read_run(uuid4()) is None
        async with door.events(), door.promotion_lock("churn"):
            pass


@pytest.mark.parametrize("credentials", [None, "admin:wrong"])
async def test_wrong_credentials_are_named_as_the_reason(server: Server, credentials: str | None) -> None:
    async with PrefectOrchestrator(server.url, credentials, request_seconds=60) as door:
        with pytest.raises(OrchestratorUnavailable, match="check PREFECT_API_AUTH_STRING"):
            await door.read_run(uuid4())
        with pytest.raises(OrchestratorUnavailable, match="authenticate"):
            await door.events().__aenter__()


async def test_a_restart_of_the_server_cuts_the_stream_and_the_same_door_goes_on_after_it(
    server: Server,
) -> None:
    async def follow(stream: AsyncIterator[RunEvent]) -> None:
        async for _ in stream:
            pass

    async with PrefectOrchestrator(server.url, CREDENTIALS, request_seconds=60) as door:
        async with door.events() as stream:
            await asyncio.to_thread(server.stop)
            with pytest.raises(OrchestratorUnavailable):
                async with asyncio.timeout(30):
                    await follow(stream)
        with pytest.raises(OrchestratorUnavailable):
            await door.read_run(uuid4())

        await asyncio.to_thread(server.start)

        assert await door.read_run(uuid4()) is None
        async with door.events():
            pass
