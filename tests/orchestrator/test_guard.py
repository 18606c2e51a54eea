"""Runs whose process is gone are ended, and no others: on a real server, with real processes."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Completed, Crashed, Pending, Running

from retraining.jobs.dead import SILENT_INTERVALS, Action
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.guard import HEARTBEAT_EVENT, Judged, look_after
from retraining.orchestrator.promotion_lock import promotion_lock

INTERVAL = timedelta(seconds=1)
LEGIBLE = timedelta(seconds=5)
"""So long it takes Prefect at most until what it was told can be read."""
POLL_SECONDS = 0.1


class Pool:
    """A work pool with a deployment of the model, and what workers and processes do to its runs."""

    def __init__(self, client: PrefectClient, connection: PrefectConnection, model: str) -> None:
        self.client = client
        self.connection = connection
        self.model = model
        self.name = f"pool-{model}"
        self.deployment_id: UUID

    async def make(self) -> None:
        await self.client.create_work_pool(WorkPoolCreate(name=self.name, type="process"))
        self.deployment_id = await self.client.create_deployment(
            await self.client.create_flow_from_name("retrain"),
            self.model,
            parameters={"model_name": self.model},
            tags=["retraining"],
            work_pool_name=self.name,
            concurrency_limit=1,
        )

    async def start(self, *, beside: bool = False, **given: Any) -> UUID:
        """`beside` another one, for which there is no slot."""
        run = await self.client.create_flow_run_from_deployment(self.deployment_id, **given)
        await self.client.set_flow_run_state(run.id, Pending(), force=beside)
        await self.client.set_flow_run_state(run.id, Running(), force=beside)
        return run.id

    async def read(self, run_id: UUID) -> FlowRun:
        return await self.client.read_flow_run(run_id)

    async def state(self, run_id: UUID) -> State[Any]:
        state = (await self.read(run_id)).state
        assert state is not None
        return state

    async def heartbeat(self, run_id: UUID, event_id: UUID | None = None) -> None:
        event = {
            "id": str(event_id or uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": HEARTBEAT_EVENT,
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        }
        await self.client.request("POST", "/events", json=[event, event])

    async def look(self, **given: Any) -> dict[UUID, Judged]:
        given = {"interval": INTERVAL, "poll_seconds": POLL_SECONDS, **given}
        return {one.run_id: one for one in await look_after(self.connection, self.name, **given)}

    async def runs(self) -> list[FlowRun]:
        return [run for run in await self.client.read_flow_runs() if run.deployment_id == self.deployment_id]


@pytest.fixture
async def pool(prefect_api: str, client: PrefectClient, model: str) -> AsyncIterator[Pool]:
    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        pool = Pool(client, connection, model)
        await pool.make()
        yield pool


async def silent(pool: Pool, *run_ids: UUID, interval: timedelta = INTERVAL) -> None:
    """Wait until all have been silent for so long that they are suspect."""
    quiet = max([(await pool.state(run_id)).timestamp for run_id in run_ids])
    await asyncio.sleep((SILENT_INTERVALS * interval - (datetime.now(UTC) - quiet)).total_seconds())


async def test_a_run_without_a_sign_of_life_has_crashed_and_the_next_one_begins(pool: Pool) -> None:
    lost = await pool.start()
    waiting = await pool.client.create_flow_run_from_deployment(pool.deployment_id)
    refused = await pool.client.set_flow_run_state(waiting.id, Pending())
    assert refused.state is not None
    assert refused.state.name == "AwaitingConcurrencySlot"
    await silent(pool, lost)

    told = await pool.look()

    assert told[lost].judgement.action is Action.CRASH
    state = await pool.state(lost)
    assert state.is_crashed()
    assert (state.message or "").startswith("no sign of life since 20")
    begins = await pool.client.set_flow_run_state(waiting.id, Pending())
    assert begins.state is not None
    assert begins.state.is_pending()


async def test_a_heartbeat_that_comes_while_it_is_watched_spares_a_run(pool: Pool) -> None:
    lost, late = await pool.start(), await pool.start(beside=True)
    await silent(pool, lost, late, interval=LEGIBLE)

    looking = asyncio.create_task(pool.look(asked=late, interval=LEGIBLE))
    while not looking.done():
        await pool.heartbeat(late)
        await asyncio.sleep(POLL_SECONDS)
    told = await looking

    assert told[lost].judgement.action is Action.CRASH
    assert told[late].judgement.action is Action.SPARE
    assert (await pool.state(late)).is_running()


async def test_a_run_that_has_ended_stays_as_it_ended_whatever_heartbeats_come(pool: Pool) -> None:
    """A heartbeat that overtakes or follows the end is what Prefect's own recipe stumbles over."""
    done = await pool.start()
    await pool.client.set_flow_run_state(done, Completed(message="promoted"))
    twice = uuid4()
    await pool.heartbeat(done, twice)
    await pool.heartbeat(done, twice)

    told = await pool.look(asked=done, retries=lambda _: True)

    assert (told[done].judgement.action, told[done].retried_as) == (Action.SPARE, None)
    state = await pool.state(done)
    assert (state.name, state.message) == ("Completed", "promoted")


async def test_a_run_that_ends_while_it_is_watched_stays_as_it_ended(pool: Pool) -> None:
    run_id = await pool.start()
    await silent(pool, run_id)
    looking = asyncio.create_task(pool.look(asked=run_id))
    await pool.client.set_flow_run_state(run_id, Completed())
    told = await looking
    assert told[run_id].judgement.action is Action.SPARE
    assert (await pool.state(run_id)).is_completed()


async def test_a_run_that_was_being_cancelled_is_cancelled(pool: Pool) -> None:
    run_id = await pool.start()
    await pool.client.set_flow_run_state(run_id, Cancelling())
    await silent(pool, run_id)
    told = await pool.look(retries=lambda _: True)
    assert (told[run_id].judgement.action, told[run_id].retried_as) == (Action.CANCEL, None)
    assert (await pool.state(run_id)).is_cancelled()


async def test_a_run_whose_process_lives_here_is_spared_until_that_is_killed(pool: Pool) -> None:
    """The number alone proves nothing: this test's own process is not the run's."""
    run_id, stranger = await pool.start(), await pool.start(beside=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "input()"),
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, "PREFECT__FLOW_RUN_ID": str(run_id)},
    )
    try:
        await pool.client.update_flow_run(run_id, infrastructure_pid=str(process.pid))
        await pool.client.update_flow_run(stranger, infrastructure_pid=str(os.getpid()))
        await silent(pool, run_id, stranger)
        told = await pool.look(asked=run_id)
        assert told[run_id].judgement.action is Action.SPARE
        assert told[stranger].judgement.action is Action.CRASH
    finally:
        process.kill()
        await process.wait()
    assert (await pool.look())[run_id].judgement.action is Action.CRASH


async def test_a_run_is_not_ended_while_a_promotion_of_its_model_is_under_way(pool: Pool) -> None:
    run_id = await pool.start()
    await silent(pool, run_id)
    async with promotion_lock(pool.connection, pool.model):
        looking = asyncio.create_task(pool.look())
        await asyncio.wait([looking], timeout=SILENT_INTERVALS * INTERVAL.total_seconds())
        assert not looking.done()
        assert (await pool.state(run_id)).is_running()
    assert (await looking)[run_id].judgement.action is Action.CRASH


async def test_runs_of_another_pool_are_left_to_its_own_guard(pool: Pool) -> None:
    run_id = await pool.start()
    await silent(pool, run_id)
    assert await look_after(pool.connection, "another", asked=run_id, interval=INTERVAL) == []
    assert (await pool.state(run_id)).is_running()


async def test_two_guards_at_once_end_and_retry_once(pool: Pool) -> None:
    given = {"model_name": pool.model, "parameters": {"depth": 3}, "as_of": "2026-01-01T00:00:00Z"}
    run_id = await pool.start(parameters=given, labels={"retraining.correlation_id": "abc"})
    await silent(pool, run_id)

    await asyncio.gather(*(pool.look(asked=run_id, retries=lambda _: True) for _ in range(2)))
    await pool.look(asked=run_id, retries=lambda _: True)

    [retry] = [run for run in await pool.runs() if run.id != run_id]
    assert (await pool.state(run_id)).is_crashed()
    assert {key: retry.parameters[key] for key in given} == given
    assert retry.labels["retraining.triggered_by"] == f"retry of job {run_id}"
    assert retry.labels["retraining.correlation_id"] == "abc"
    assert retry.labels["retraining.retry_of"] == str(run_id)


async def test_a_run_that_prefect_itself_reports_as_crashed_is_retried_once_and_by_policy_only(
    pool: Pool,
) -> None:
    cause = {"type": "drift", "reason": "spend moved"}
    run_id = await pool.start(parameters={"model_name": pool.model, "cause": cause})
    await pool.client.set_flow_run_state(run_id, Crashed())

    assert (await pool.look(asked=run_id))[run_id].retried_as is None
    retried_as = (await pool.look(asked=run_id, retries=lambda name: name == pool.model))[run_id].retried_as
    assert retried_as is not None
    retry = await pool.read(retried_as)
    assert retry.labels["retraining.trigger_type"] == "drift"
    assert "cause" not in retry.parameters

    await pool.client.set_flow_run_state(retried_as, Crashed())
    assert (await pool.look(asked=retried_as, retries=lambda _: True))[retried_as].retried_as is None
    assert len(await pool.runs()) == 2
