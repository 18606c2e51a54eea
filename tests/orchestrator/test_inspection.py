"""What a real Prefect server has for jobs to run."""

from uuid import uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate

from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from tests.orchestrator.conftest import deploy_bare


async def test_deployments_that_are_missing_or_paused_are_found_among_many(
    prefect_api: str, client: PrefectClient
) -> None:
    """More of them than Prefect gives in one answer."""
    models = [f"model-{uuid4().hex[:8]}" for _ in range(5)]
    *_, paused = [await deploy_bare(client, model) for model in models]
    for model in models[1:]:
        await deploy_bare(client, model, "monitor")
    await client.update_deployment(paused, DeploymentUpdate(paused=True))

    async with PrefectOrchestrator(prefect_api, request_seconds=60, page_size=2) as door:
        seen = await door.inspect([*models, "never-deployed"], "no-such-pool")

    assert seen.missing == (f"monitor/{models[0]}", "retrain/never-deployed", "monitor/never-deployed")
    assert seen.paused == (f"retrain/{models[-1]}",)
    assert (seen.pool_paused, seen.workers) == (None, ())


async def test_a_pool_without_workers_and_paused_is_told(
    door: PrefectOrchestrator, client: PrefectClient
) -> None:
    name = f"pool-{uuid4().hex[:8]}"
    await client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    seen = await door.inspect([], name)
    assert (seen.pool_paused, seen.workers) == (False, ())

    await client.update_work_pool(name, WorkPoolUpdate(is_paused=True))
    assert (await door.inspect([], name)).pool_paused
