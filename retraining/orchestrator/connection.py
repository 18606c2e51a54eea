"""The connection to the Prefect server: one pooled client, and its errors in the product's words."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar, cast

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.context import SettingsContext, get_settings_context
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES
from pydantic import SecretStr

from retraining.errors import OrchestratorRefused, OrchestratorUnavailable

REQUEST_SECONDS = 5.0
BUSY_POLL_SECONDS = 0.1
IDLE_SECONDS = 3.0
"""A connection that was idle for so long is not used again."""
WRITERS = 2
"""Requests of `ask_in_turn` that are under way at the same time."""
PATIENCE = 4
"""How many times longer than another request one of those may take, the wait for its turn included."""
BUSY = frozenset({408, 425, 429})
CREDENTIALS = frozenset({401, 403})


T = TypeVar("T")


class PrefectConnection:
    """A client for one Prefect server.

    Address and patience are this connection's own, whatever Prefect's settings in this process say; without
    an `auth_string` Prefect's own setting PREFECT_API_AUTH_STRING counts.
    """

    def __init__(
        self, api_url: str, auth_string: str | None = None, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self._request_seconds = request_seconds
        self._client: PrefectClient | None = None
        self._turns = asyncio.Semaphore(WRITERS)
        current = get_settings_context()
        self._profile = current.profile
        configured = current.settings.api.auth_string
        self._auth_string = auth_string or (configured.get_secret_value() if configured else None)
        # The client looks up how often to repeat a failed request at every request; its default keeps a
        # caller waiting for minutes. The event subscriber takes its credentials from the settings only.
        self._settings = current.settings.copy_with_update(
            updates={
                PREFECT_API_URL: self.api_url,
                PREFECT_API_AUTH_STRING: self._auth_string,
                PREFECT_CLIENT_MAX_RETRIES: 0,
            }
        )

    async def __aenter__(self) -> Self:
        client = PrefectClient(
            self.api_url,
            auth_string=self._auth_string,
            httpx_settings={
                "timeout": httpx.Timeout(self._request_seconds),
                # The server closes a connection that was idle for 5 s, at any moment from then on: a request
                # that is under way meets it now and then. Prefect's own client keeps them for 25 s.
                "limits": httpx.Limits(
                    max_connections=16, max_keepalive_connections=8, keepalive_expiry=IDLE_SECONDS
                ),
                "event_hooks": {"response": [_answer_at_once]},
            },
        )
        self._client = await client.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(exc_type, exc, traceback)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Prefect's settings with this connection's address and credentials."""
        with SettingsContext(profile=self._profile, settings=self._settings):
            yield

    async def ask(
        self, doing: str, request: Callable[[PrefectClient], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """What `request` gets from the client; `doing` says in the infinitive what for.

        A server that is busy, or breaks the connection, is asked again until `seconds` are over: `request`
        must bear being repeated. Prefect's ObjectNotFound passes: what is absent is for the caller to say.

        Raises:
            OrchestratorUnavailable: no answer, or none within `seconds`, or the server failed.
            OrchestratorRefused: the server understood and refused.
        """
        if self._client is None:
            raise RuntimeError("enter the orchestrator first: async with PrefectOrchestrator(...)")
        try:
            with self.settings():
                async with asyncio.timeout(seconds or self._request_seconds):
                    while True:
                        try:
                            return await request(self._client)
                        except httpx.HTTPStatusError as exc:
                            # Prefect on SQLite answers so when two transactions meet, and has undone its own.
                            if exc.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                                raise
                        except CONNECTION_BROKEN:
                            pass
                        await asyncio.sleep(BUSY_POLL_SECONDS)
        except (httpx.HTTPStatusError, *NO_ANSWER) as exc:
            raise translated(exc, doing) from exc

    async def ask_in_turn(self, doing: str, request: Callable[[PrefectClient], Awaitable[T]]) -> T:
        """Like `ask`, for requests that write and come in crowds: a few at a time, in their order.

        Prefect on SQLite undoes transactions that meet: a crowd that asks at once keeps undoing each other's,
        until most of them give up. The time is longer than that of `ask`, and includes the wait for a turn.
        """
        try:
            async with asyncio.timeout(PATIENCE * self._request_seconds) as bound:
                async with self._turns:
                    left = cast("float", bound.when()) - asyncio.get_running_loop().time()
                    return await self.ask(doing, request, left)
        except TimeoutError as exc:
            raise translated(exc, doing) from exc


async def _answer_at_once(response: httpx.Response) -> None:
    # Without this header Prefect's client sleeps for two seconds after a 503, even if it will not ask again.
    response.headers.setdefault("Retry-After", "0")


CONNECTION_BROKEN = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""After an error of its own the server closes the connection without announcing it: whoever asks at once
again meets that. Of a server that is gone, the next attempt learns that nobody listens."""
NO_ANSWER = (TimeoutError, httpx.TransportError, json.JSONDecodeError)
"""A server that is away, too slow, or something else than a Prefect server at this address."""


def connection_environment() -> dict[str, str]:
    """What another process needs in its environment to reach the server that this one's settings name."""
    named = {PREFECT_API_URL.name: PREFECT_API_URL.value()}
    named[PREFECT_API_AUTH_STRING.name] = PREFECT_API_AUTH_STRING.value()
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in named.items()
        if value is not None
    }


def translated(exc: Exception, doing: str) -> OrchestratorUnavailable | OrchestratorRefused:
    """The product's error for one of httpx's or Prefect's client."""
    if not isinstance(exc, httpx.HTTPStatusError):
        return OrchestratorUnavailable(doing)
    status = exc.response.status_code
    if status in CREDENTIALS:
        return OrchestratorUnavailable(f"{doing}: it refuses our credentials, check PREFECT_API_AUTH_STRING")
    if status >= 500 or status in BUSY:
        return OrchestratorUnavailable(doing)
    return OrchestratorRefused(doing, _reason(exc.response))


def _reason(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    return str(detail or f"{response.status_code} {response.reason_phrase}")
