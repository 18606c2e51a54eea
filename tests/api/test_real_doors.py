"""The facade on a real Prefect and a real MLflow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Completed, Running

from api.app import create_app
from api.facade import Doors
from retraining.auth.keys import KeyStore
from retraining.catalog.discovery import Catalog
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.settings import Settings
from retraining.store.database import Database
from tests.api.models import CHURN
from tests.api.serving import serving
from tests.api.sse import following
from tests.api.test_jobs import JOBS, start, status_of
from tests.api.waiting import until
from tests.orchestrator.conftest import deploy_bare
from tests.registry.factories import challenger

MODEL = f"churn-{uuid4().hex[:8]}"


@pytest.fixture
async def prefect(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client:
        yield client


@pytest.fixture
async def admin(prefect_api: str, mlflow_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(home=tmp_path, prefect_api_url=prefect_api, mlflow_url=mlflow_url)
    doors = Doors(catalog=Catalog([CHURN.model_copy(update={"name": MODEL})]))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(create_app(settings, doors=doors), seconds=60))
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        new = await KeyStore(database).create(name="ada", scopes=["admin"])
        headers = {"Authorization": f"Bearer {new.secret}", "X-Correlation-ID": "req-7"}
        yield await stack.enter_async_context(
            httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False)
        )


async def test_a_job_is_a_flow_run_and_each_side_sees_the_others(
    admin: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    deployment_id = await deploy_bare(prefect, MODEL)
    job_id = await start(admin, MODEL, parameters={"iterations": 50})
    run = await prefect.read_flow_run(job_id)
    assert run.deployment_id == deployment_id
    assert run.labels["retraining.triggered_by"] == "ada"
    assert run.labels["retraining.correlation_id"] == "req-7"

    async with following(admin, f"{JOBS}/{job_id}/events") as stream, asyncio.timeout(60):
        await stream.take(1)
        await prefect.set_flow_run_state(job_id, Running())
        await prefect.set_flow_run_state(job_id, Completed())
        assert [event.data["status"] for event in await stream.rest()] == ["running", "completed"]
    assert await status_of(admin, job_id) == "completed"

    theirs = (await prefect.create_flow_run_from_deployment(deployment_id)).id

    async def listed() -> set[UUID]:
        return {UUID(job["id"]) for job in (await admin.get(JOBS)).json()}

    await until(listed, {job_id, theirs}, seconds=20)
    assert (await admin.delete(f"{JOBS}/{theirs}")).json() == {"message": f"job {theirs} is cancelled"}
    state = (await prefect.read_flow_run(theirs)).state
    assert state is not None
    assert state.is_cancelled()


async def test_a_version_is_promoted_in_mlflow(admin: httpx.AsyncClient, mlflow_url: str) -> None:
    registry = MlflowRegistry(mlflow_url)
    for _ in range(2):
        await asyncio.to_thread(registry.register, MODEL, challenger())
    path = f"{JOBS}/models/{MODEL}"
    assert (await admin.get("/ready")).status_code == 200
    for version in ("1", "2"):
        answer = await admin.post(f"{path}/versions/{version}/promote", json={"reason": "by hand"})
        assert answer.json()["changed"], answer.text
    champion = await asyncio.to_thread(registry.find_champion, MODEL)
    assert champion is not None
    assert champion.version == "2"
    assert (await admin.post(f"{path}/rollback")).json()["changed"]
    shown = (await admin.get(path)).json()
    assert (shown["champion"]["version"], shown["previous"]) == ("1", "2")
    history = (await admin.get(f"{path}/promotions")).json()
    assert [(one["version"], one["kind"], one["by"]) for one in history] == [
        ("1", "rollback", "ada"),
        ("2", "promotion", "ada"),
        ("1", "promotion", "ada"),
    ]
