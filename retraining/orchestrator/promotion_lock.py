"""One promotion of a model at a time, across jobs, people and machines.

A lock is a Prefect global concurrency limit of one slot, occupied on a lease that its holder renews. The
lease of a holder that dies runs out within `LEASE_SECONDS`, and the server frees the slot some seconds later.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import UUID

import anyio
import httpx
from anyio.from_thread import start_blocking_portal
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.context import get_settings_context
from prefect.exceptions import ObjectAlreadyExists

from retraining.errors import OrchestratorRefused, OrchestratorUnavailable, PromotionLockBusy
from retraining.orchestrator.connection import PrefectConnection

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

WAIT_SECONDS = 30.0
JOB_WAIT_SECONDS = 120.0
"""A job has hours of training to lose: it outwaits the lease of a holder that died."""
LEASE_SECONDS = 60.0  # the shortest that Prefect grants
RENEW_SECONDS = 20.0
# Prefect advises to wait as long as promotions took on average, many times over after a few refusals: up to
# half a minute for a lock that is held for tenths of a second.
POLL_SECONDS = 0.25
JOB_REQUEST_SECONDS = 20.0
"""A request that is given up may be granted all the same, and the slot is lost until its lease ends."""
# With its default settings the Prefect server forgets all leases when it restarts, and then never frees their
# slots. A slot that decays frees itself, ten minutes after the last try to take it: far longer than any
# promotion takes.
SLOT_DECAY_PER_SECOND = 1 / 600

log = logging.getLogger(__name__)


def limit_name(model_name: str) -> str:
    """What the lock is called among Prefect's concurrency limits."""
    return f"retraining-promotion-{model_name}"


@asynccontextmanager
async def promotion_lock(
    connection: PrefectConnection, model_name: str, wait_seconds: float = WAIT_SECONDS
) -> AsyncIterator[None]:
    """Hold the model's lock while the block runs.

    Raises:
        PromotionLockBusy: somebody else held it for all of `wait_seconds`.
        OrchestratorUnavailable: the server does not answer, so nobody knows who holds it.
    """
    lease_id = await _acquire(connection, model_name, wait_seconds)
    renewal = asyncio.create_task(_renew(connection, lease_id))
    try:
        yield
    finally:
        renewal.cancel()
        with anyio.CancelScope(shield=True):
            await _release(connection, lease_id)


@contextmanager
def promotion_lock_sync(model_name: str, wait_seconds: float = JOB_WAIT_SECONDS) -> Iterator[None]:
    """The same lock for use inside a flow: on the Prefect server that the flow runs against.

    Raises:
        PromotionLockBusy: somebody else held it for all of `wait_seconds`.
        OrchestratorUnavailable: the server does not answer.
    """
    api_url = get_settings_context().settings.api.url
    if api_url is None:
        raise OrchestratorUnavailable(f"lock the promotion of {model_name}: PREFECT_API_URL is not set")
    # The loop in a thread of its own renews the lease whatever the flow is doing.
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_connected_lock(api_url, model_name, wait_seconds)),
    ):
        yield


@asynccontextmanager
async def _connected_lock(api_url: str, model_name: str, wait_seconds: float) -> AsyncIterator[None]:
    async with (
        PrefectConnection(api_url, request_seconds=JOB_REQUEST_SECONDS) as connection,
        promotion_lock(connection, model_name, wait_seconds),
    ):
        yield


async def _acquire(connection: PrefectConnection, model_name: str, wait_seconds: float) -> UUID:
    deadline = asyncio.get_running_loop().time() + wait_seconds
    while True:
        lease_id = await connection.ask(
            f"lock the promotion of {model_name}", lambda client: _try(client, limit_name(model_name))
        )
        if lease_id is not None:
            return lease_id
        if asyncio.get_running_loop().time() >= deadline:
            raise PromotionLockBusy(model_name, wait_seconds)
        await asyncio.sleep(POLL_SECONDS)


async def _try(client: "PrefectClient", name: str) -> UUID | None:
    """Occupy the slot, making it if it is missing; None if it is taken."""
    while True:
        try:
            response = await client.increment_concurrency_slots_with_lease(
                names=[name], slots=1, mode="concurrency", lease_duration=LEASE_SECONDS
            )
        except httpx.HTTPStatusError as exc:
            if exc.response.status_code == httpx.codes.LOCKED:
                return None
            raise
        granted = response.json()
        if granted["limits"]:
            return UUID(granted["lease_id"])
        with suppress(ObjectAlreadyExists):
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=name, limit=1, slot_decay_per_second=SLOT_DECAY_PER_SECOND)
            )


async def _renew(connection: PrefectConnection, lease_id: UUID) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            await connection.ask(
                "keep the promotion lock",
                lambda client: client.renew_concurrency_lease(lease_id, LEASE_SECONDS),
            )
        except (OrchestratorUnavailable, OrchestratorRefused) as exc:
            # To stop between two moves of an alias would be worse; the registry checks the champion as well.
            log.warning("the promotion lock may be lost: %s", exc)


async def _release(connection: PrefectConnection, lease_id: UUID) -> None:
    try:
        await connection.ask(
            "release the promotion lock",
            lambda client: client.release_concurrency_slots_with_lease(lease_id),
        )
    except (OrchestratorUnavailable, OrchestratorRefused) as exc:
        # The promotion itself is done. The lease runs out.
        log.warning("the promotion lock is held until its lease ends: %s", exc)
