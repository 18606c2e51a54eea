"""Runs that a worker took and for which it never started a process."""

from datetime import timedelta
from uuid import uuid4

from prefect.states import Pending

from retraining.jobs.status import RetrainingStatus
from tests.orchestrator.world import PrefectWorld


async def test_a_run_without_a_process_waits_again(prefect_world: PrefectWorld) -> None:
    """The next worker finds it, as it was due."""
    run_id = await prefect_world.plan(ahead=timedelta(0))
    planned = await prefect_world.orchestrator.read_run(run_id)
    assert planned is not None
    await prefect_world.client.set_flow_run_state(run_id, Pending())

    await prefect_world.orchestrator.give_back(run_id)

    assert (await prefect_world.client.read_flow_run(run_id)).state_name == "Scheduled"
    again = await prefect_world.orchestrator.read_run(run_id)
    assert again is not None
    assert (again.status, again.due, again.taken_at) == (RetrainingStatus.PENDING, True, None)
    assert again.created_at == planned.created_at


async def test_a_run_whose_process_is_on_its_way_is_left_alone(prefect_world: PrefectWorld) -> None:
    run_id = await prefect_world.plan(ahead=timedelta(0))
    await prefect_world.client.set_flow_run_state(run_id, Pending())
    await prefect_world.client.update_flow_run(run_id, infrastructure_pid="4711")
    await prefect_world.orchestrator.give_back(run_id)
    assert (await prefect_world.client.read_flow_run(run_id)).state_name == "Pending"


async def test_a_run_that_began_or_is_gone_is_left_alone(prefect_world: PrefectWorld) -> None:
    run_id = await prefect_world.plan(ahead=timedelta(0))
    await prefect_world.start(run_id)
    for one in (run_id, uuid4()):
        await prefect_world.orchestrator.give_back(one)
    assert (await prefect_world.client.read_flow_run(run_id)).state_name == "Running"
