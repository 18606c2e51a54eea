"""The promotion lock between processes: the facade on one side, a job in its own process on the other."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from retraining.errors import OrchestratorUnavailable, PromotionLockBusy
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.promotion_lock import limit_name, promotion_lock, promotion_lock_sync
from tests.servers import free_port

JOB = """
import sys, time
from retraining.orchestrator.promotion_lock import promotion_lock_sync

print("asking", flush=True)
with promotion_lock_sync(sys.argv[1]):
    print(time.time(), flush=True)
    sys.stdin.readline()
"""


@asynccontextmanager
async def job_that_promotes(prefect_api: str, model: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process as of a job: it says `asking`, then when it got the lock, and lets go at a line of input."""
    job = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", JOB, model),
        env={**os.environ, "PREFECT_API_URL": prefect_api},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield job
    finally:
        if job.returncode is None:
            job.kill()
            await job.wait()


async def said(job: asyncio.subprocess.Process) -> bytes:
    assert job.stdout is not None
    async with asyncio.timeout(60):
        return await job.stdout.readline()


async def let_go(job: asyncio.subprocess.Process) -> None:
    await job.communicate(b"\n")
    assert job.returncode == 0


async def test_a_job_that_promotes_keeps_the_facade_out(prefect_api: str, model: str) -> None:
    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        async with job_that_promotes(prefect_api, model) as job:
            assert [await said(job), await said(job) != b""] == [b"asking\n", True]
            with pytest.raises(PromotionLockBusy, match=f"another promotion of '{model}' is under way"):
                async with promotion_lock(connection, model, wait_seconds=0.5):
                    pass
            await let_go(job)

        async with promotion_lock(connection, model, wait_seconds=0):
            pass


async def test_a_job_waits_for_the_facade_to_finish_its_promotion(
    door: PrefectOrchestrator, prefect_api: str, model: str
) -> None:
    async with AsyncExitStack() as until_it_ends:
        async with door.promotion_lock(model):
            job = await until_it_ends.enter_async_context(job_that_promotes(prefect_api, model))
            assert await said(job) == b"asking\n"
            # Time enough for the job to be refused some times; its wait is what this is about.
            await asyncio.sleep(1)
            released_at = time.time()
        held_at = float(await said(job))
        await let_go(job)

    assert held_at >= released_at


async def test_the_lock_is_a_limit_that_people_see_in_prefect(
    door: PrefectOrchestrator, client: PrefectClient, model: str
) -> None:
    async with door.promotion_lock(model):
        held = await client.read_global_concurrency_limit_by_name(limit_name(model))
    free = await client.read_global_concurrency_limit_by_name(limit_name(model))

    assert (held.limit, held.active_slots, free.active_slots) == (1, 1, 0)


async def test_a_slot_whose_lease_the_server_forgot_frees_itself(
    door: PrefectOrchestrator, client: PrefectClient, model: str
) -> None:
    """A server that keeps leases in memory forgets them when it restarts, and never frees their slots."""
    async with door.promotion_lock(model):
        held = await client.read_global_concurrency_limit_by_name(limit_name(model))

    assert 1 / 3600 < held.slot_decay_per_second < 1 / 300


def test_a_job_without_a_server_cannot_know_who_promotes() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"

    with (
        temporary_settings({PREFECT_API_URL: nowhere}),
        pytest.raises(OrchestratorUnavailable),
        promotion_lock_sync("churn"),
    ):
        pass


def test_an_error_under_the_lock_comes_out_as_it_is(prefect_api: str, model: str) -> None:
    with (
        temporary_settings({PREFECT_API_URL: prefect_api}),
        pytest.raises(ZeroDivisionError),
        promotion_lock_sync(model),
    ):
        raise ZeroDivisionError
    with temporary_settings({PREFECT_API_URL: prefect_api}), promotion_lock_sync(model, wait_seconds=0):
        pass
