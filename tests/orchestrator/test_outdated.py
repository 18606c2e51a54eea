"""Runs of one schedule that came due while nobody ran them, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Pending

from retraining.orchestrator.outdated import find_newer_due_run, find_supersession, is_scheduled
from tests.orchestrator.conftest import deploy_bare


async def planned(client: PrefectClient, deployment_id: UUID) -> list[FlowRun]:
    """The deployment's runs, the first due first."""
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=50,
    )


async def schedule(
    client: PrefectClient, deployment_id: UUID, interval: timedelta, around: timedelta
) -> None:
    """Make runs of a schedule from so long ago to so far ahead."""
    await client.create_deployment_schedules(deployment_id, [(IntervalSchedule(interval=interval), True)])
    now = datetime.now(UTC)
    span = {"start_time": now - around, "end_time": now + around}
    await client.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment_id},
        json={name: moment.isoformat() for name, moment in span.items()},
    )


@pytest.fixture
async def due(client: PrefectClient, model: str) -> AsyncIterator[list[FlowRun]]:
    """Runs of a schedule of one minute, planned from four minutes ago on: what an outage leaves behind."""
    deployment_id = await deploy_bare(client, model, "monitor")
    await schedule(client, deployment_id, timedelta(minutes=1), timedelta(minutes=4))
    yield await planned(client, deployment_id)
    await client.delete_deployment(deployment_id)


async def test_only_the_newest_due_run_of_a_schedule_is_up_to_date(
    client: PrefectClient, due: list[FlowRun]
) -> None:
    now = datetime.now(UTC)
    past = [run for run in due if run.expected_start_time and run.expected_start_time <= now]
    assert len(due) > len(past) >= 3
    assert all(is_scheduled(run) for run in due)
    for run in past[:-1]:
        newer = await find_newer_due_run(client, run)
        assert newer is not None
        # One more may have come due by now.
        assert newer.id in {past[-1].id, due[len(past)].id}
    assert await find_newer_due_run(client, due[-1]) is None


async def test_what_comes_due_once_a_worker_has_taken_the_run_does_not_count(
    client: PrefectClient, model: str
) -> None:
    """Or a machine that starts processes slower than the schedule makes runs would never run any."""
    deployment_id = await deploy_bare(client, model, "monitor")
    await schedule(client, deployment_id, timedelta(seconds=1), timedelta(seconds=5))
    runs = await planned(client, deployment_id)
    now = datetime.now(UTC)
    first, taken, later = runs[0], *[run for run in runs if run.expected_start_time >= now][:2]
    await reached(taken)
    await client.set_flow_run_state(taken.id, Pending(), force=True)
    await reached(later)
    assert await find_newer_due_run(client, first) is not None
    assert await find_newer_due_run(client, taken) is None
    await client.delete_deployment(deployment_id)


async def reached(run: FlowRun) -> None:
    """Wait until the run is due."""
    assert run.expected_start_time is not None
    left = run.expected_start_time - datetime.now(UTC)
    await asyncio.sleep(max(left.total_seconds(), 0))


async def test_runs_that_were_given_up_and_a_persons_do_not_count(
    client: PrefectClient, due: list[FlowRun]
) -> None:
    first = due[0]
    assert first.deployment_id is not None
    by_hand = await client.create_flow_run_from_deployment(first.deployment_id)
    assert not is_scheduled(by_hand)
    assert await find_newer_due_run(client, by_hand) is None
    for run in due[1:]:
        await client.set_flow_run_state(run.id, Cancelled(message="superseded"), force=True)
    assert await find_newer_due_run(client, first) is None


async def test_a_check_ends_as_superseded_unless_nobody_can_say(
    client: PrefectClient, due: list[FlowRun]
) -> None:
    with temporary_settings({PREFECT_API_URL: str(client.api_url)}):
        superseded = await find_supersession(due[0])
        assert await find_supersession(due[-1]) is None
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert await find_supersession(due[0]) is None

    assert superseded is not None
    assert (superseded.type, superseded.name) == (StateType.CANCELLED, "Superseded")
    newer = {
        f"superseded by run {run.id}, due at {run.expected_start_time:%Y-%m-%dT%H:%M:%S+00:00}"
        for run in due[1:]
    }
    assert superseded.message in newer
