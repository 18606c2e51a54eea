"""What starting a job asks of Prefect: requests to a real server are counted."""

from prefect.client.orchestration import PrefectClient

from retraining.jobs.job import RetrainingRequest
from retraining.jobs.service import JobService
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.settings import Settings
from retraining.store.database import Database
from tests.jobs.models import SmallCatalog
from tests.orchestrator.conftest import deploy_bare
from tests.orchestrator.recording import recorded


async def test_starting_a_job_is_one_request_to_prefect(
    prefect_api: str, database: Database, settings: Settings
) -> None:
    """From the second job of a model on; before the first one, the deployment is looked up."""
    async with PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client:
        deployment_id = await deploy_bare(client, "churn")
    async with (
        recorded(prefect_api) as (url, asked),
        PrefectOrchestrator(url, request_seconds=60) as door,
    ):
        service = JobService(database, door, SmallCatalog(), settings)
        wanted = RetrainingRequest(model_name="churn")
        create = f"POST /deployments/{deployment_id}/create_flow_run"
        await service.start(wanted, triggered_by="ci", correlation_id="c")
        assert asked[-1] == create
        asked.clear()
        second = await service.start(wanted, triggered_by="ci", correlation_id="c", idempotency_key="k")
        assert asked == [create]
        asked.clear()
        again = await service.start(wanted, triggered_by="ci", correlation_id="c", idempotency_key="k")
        assert again.id == second.id
        await service.get(second.id)
        assert asked == []
