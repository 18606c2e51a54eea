"""What the facade stands on goes away: 503 in the error format, nothing half done, and back again."""

import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.facade import Doors
from retraining.catalog.discovery import Catalog
from retraining.orchestrator.values import JobRun, RunRequest
from retraining.settings import Settings
from tests.api.answers import error_of
from tests.api.conftest import Api, FakeDoors, served
from tests.api.models import MODELS
from tests.api.serving import serving
from tests.api.test_jobs import JOBS, start, status_of
from tests.api.waiting import until
from tests.orchestrator.fake import FakeOrchestrator
from tests.registry.factories import challenger
from tests.registry.fake import FakeRegistry


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A facade that does not wait long for a locked database."""
    async with served(tmp_path, database_busy_seconds=0.5) as api:
        yield api


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Somebody else holds the database's write lock."""
    other = sqlite3.connect(settings.home / "retraining.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


def unavailable(answer: httpx.Response, error: str) -> None:
    refused = error_of(answer, 503, error)
    assert "try again" in refused["message"]
    assert int(answer.headers["Retry-After"]) > 0


async def test_with_prefect_down_no_job_starts_or_is_cancelled_and_reading_goes_on(
    api: Api, admin: httpx.AsyncClient
) -> None:
    job_id = await start(admin)
    api.prefect.go_down()
    key = {"Idempotency-Key": "once"}
    unavailable(await admin.post(JOBS, json={"model_name": "churn"}, headers=key), "OrchestratorUnavailable")
    unavailable(await admin.delete(f"{JOBS}/{job_id}"), "OrchestratorUnavailable")
    unavailable(await admin.get(f"{JOBS}/{job_id}/logs"), "OrchestratorUnavailable")
    shown = (await admin.get(f"{JOBS}/{job_id}")).json()
    assert (shown["status"], shown["cancel_requested_at"]) == ("pending", None)
    assert [job["id"] for job in (await admin.get(JOBS)).json()] == [str(job_id)]
    api.prefect.come_back()
    answer = await admin.post(JOBS, json={"model_name": "churn"}, headers=key)
    assert answer.status_code == 202
    assert len(api.prefect.requests) == 2
    assert (await admin.delete(f"{JOBS}/{job_id}")).status_code == 200


async def test_with_prefect_down_no_version_is_promoted(api: Api, admin: httpx.AsyncClient) -> None:
    api.registry.register("churn", challenger())
    api.prefect.go_down()
    answer = await admin.post(f"{JOBS}/models/churn/versions/1/promote")
    unavailable(answer, "OrchestratorUnavailable")
    assert api.registry.find_champion("churn") is None


async def test_with_mlflow_down_jobs_go_on_and_models_are_unavailable(
    api: Api, admin: httpx.AsyncClient
) -> None:
    api.registry.register("churn", challenger())
    api.registry.down = True
    for path in ("models", "models/churn", "models/churn/versions", "models/churn/promotions"):
        unavailable(await admin.get(f"{JOBS}/{path}"), "RegistryUnavailable")
    for path in ("versions/1/promote", "rollback"):
        unavailable(await admin.post(f"{JOBS}/models/churn/{path}"), "RegistryUnavailable")
    await start(admin)
    api.registry.down = False
    assert (await admin.get(f"{JOBS}/models/churn")).json()["champion"] is None
    assert (await admin.post(f"{JOBS}/models/churn/versions/1/promote")).status_code == 200


async def test_with_the_database_locked_nothing_starts_and_reading_goes_on(
    api: Api, admin: httpx.AsyncClient
) -> None:
    job_id = await start(admin)
    with locked(api.settings):
        unavailable(await admin.post(JOBS, json={"model_name": "churn"}), "StoreUnavailable")
        unavailable(await admin.delete(f"{JOBS}/{job_id}"), "StoreUnavailable")
        assert len(api.prefect.requests) == 1
        assert not api.prefect.runs[job_id].status.final
        assert await status_of(admin, job_id) == "pending"
        ready = error_of(await admin.get("/ready"), 503, "NotReady")
        assert not ready["checks"]["database"]["ready"]
        assert ready["checks"]["prefect"]["ready"]
    assert (await admin.delete(f"{JOBS}/{job_id}")).status_code == 200
    await start(admin)
    assert (await admin.get("/ready")).status_code == 200


async def test_what_happens_while_the_database_is_locked_is_written_later(
    api: Api, admin: httpx.AsyncClient
) -> None:
    job_id = await start(admin)
    with locked(api.settings):
        api.prefect.start(job_id)
        api.prefect.finish(job_id)
    await until(lambda: status_of(admin, job_id), "completed", seconds=15)


async def test_a_model_without_a_deployment_says_what_to_do(api: Api, admin: httpx.AsyncClient) -> None:
    api.prefect.deployed.clear()
    answer = await admin.post(JOBS, json={"model_name": "churn"})
    assert "retraining deploy" in error_of(answer, 503, "NotDeployed")["message"]


async def test_the_facade_starts_without_prefect_and_mlflow_and_says_so(tmp_path: Path) -> None:
    """With the real doors, to ports where nobody listens."""
    settings = Settings(
        home=tmp_path, prefect_api_url="http://127.0.0.1:1/api", mlflow_url="http://127.0.0.1:1"
    )
    async with (
        serving(create_app(settings, doors=Doors(catalog=Catalog(MODELS))), seconds=60) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        assert (await client.get("/health")).status_code == 200
        body = error_of(await client.get("/ready"), 503, "NotReady")
    assert {part: check["ready"] for part, check in body["checks"].items()} == {
        "database": True,
        "prefect": False,
        "mlflow": False,
        "catalog": True,
    }
    assert "prefect: " in body["message"]
    assert "mlflow: " in body["message"]
    assert "127.0.0.1" not in body["message"]


class _Hanging(FakeRegistry):
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.asked = 0

    def ping(self) -> None:
        self.asked += 1
        self.answers.wait(30)


async def test_a_part_that_does_not_answer_is_given_up_and_not_piled_upon(tmp_path: Path) -> None:
    registry = _Hanging()
    fakes = FakeDoors()
    fakes.registry = registry
    async with served(tmp_path, fakes) as api:
        client = await api.client()
        for _ in range(2):
            answer = await client.get("/ready")
            assert answer.elapsed.total_seconds() < 4
            body = error_of(answer, 503, "NotReady")
            assert body["message"] == "mlflow: no answer within 2 s"
        assert registry.asked == 1
        registry.answers.set()
        assert (await client.get("/ready")).status_code == 200


class _Crashing(FakeOrchestrator):
    async def create_run(self, request: RunRequest) -> JobRun:
        raise RuntimeError("the password is hunter2")


async def test_a_crash_tells_no_internals_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fakes = FakeDoors()
    fakes.prefect = _Crashing()
    async with served(tmp_path, fakes) as api:
        client = await api.client("admin")
        answer = await client.post(JOBS, json={"model_name": "churn"})
        error_of(answer, 500, "InternalError")
        assert "hunter2" not in answer.text
        assert (await client.get(JOBS)).json() == []
    [crash] = [record for record in caplog.records if record.message == "request crashed"]
    assert crash.exc_info is not None
    assert "hunter2" in str(crash.exc_info[1])
