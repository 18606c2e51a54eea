"""A job that was ended as crashed, and whose process went on all the same."""

from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort
from prefect.states import Crashed, Running

from flows.guard import guard
from flows.retrain import retrain
from retraining.registry.mlflow_registry import MlflowRegistry


@pytest.fixture(autouse=True)
def models(servers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAINING_MODELS", "tests.flows.doomed:doomed")


def latest_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.parameters.get("model_name") == "doomed"]
    return max(runs, key=lambda run: str(run.created))


def test_its_state_stays_and_it_promotes_nothing(registry: MlflowRegistry) -> None:
    """Prefect would let a crashed run complete, and the model would have a champion of a failed job."""
    for fail in (False, True):
        with pytest.raises(Abort, match="already in terminal state CRASHED"):
            retrain("doomed", {"fail": fail})
        state = latest_run().state
        assert state is not None
        assert (state.name, state.message) == ("Crashed", "no sign of life")
        assert registry.find_champion("doomed") is None

    assert retrain("doomed", {"end": False}, return_state=True).is_completed()
    assert registry.find_champion("doomed") is not None


async def test_the_guard_retries_a_crashed_job_of_a_model_that_wants_it(prefect_api: str) -> None:
    """It gets the run's name in events from its automation, and says what it did."""
    async with PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client:
        pool = f"pool-{uuid4().hex[:8]}"
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        deployment_id = await client.create_deployment(
            await client.create_flow_from_name("retrain"),
            f"doomed-{pool}",
            parameters={"model_name": "doomed"},
            tags=["retraining"],
            work_pool_name=pool,
        )
        crashed = await client.create_flow_run_from_deployment(deployment_id)
        await client.set_flow_run_state(crashed.id, Running())
        await client.set_flow_run_state(crashed.id, Crashed())

        state: State[Any] = await guard(pool, f"prefect.flow-run.{crashed.id}", return_state=True)

        runs = [run for run in await client.read_flow_runs() if run.deployment_id == deployment_id]
        [retry] = [run for run in runs if run.id != crashed.id]
        assert state.message == f"job {crashed.id}: spare, it is over; started once more as job {retry.id}"
        assert retry.labels["retraining.retry_of"] == str(crashed.id)
        assert (await guard(pool, return_state=True)).message == f"nothing to do in work pool {pool}"
