"""Is it alive, is it ready, and how the process logs."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from retraining.catalog.discovery import Catalog
from retraining.errors import InvalidCatalog
from retraining.orchestrator.values import Inspection
from tests.api.answers import error_of
from tests.api.conftest import Api, FakeDoors, served
from tests.api.waiting import until
from tests.orchestrator.fake import FakeOrchestrator


async def test_a_facade_whose_parts_answer_is_ready(api: Api, admin: httpx.AsyncClient) -> None:
    async def following() -> int:
        return api.prefect.followers

    await until(following, 1)
    assert (await admin.get("/ready")).json() == {
        "status": "ready",
        "checks": {
            part: {"ready": True, "problem": None} for part in ("database", "prefect", "mlflow", "catalog")
        },
        "warnings": [],
    }


async def test_each_part_that_is_down_is_named_and_why(api: Api, admin: httpx.AsyncClient) -> None:
    api.prefect.go_down()
    assert error_of(await admin.get("/ready"), 503, "NotReady")["message"].startswith("prefect: Prefect is")
    api.registry.down = True
    body = error_of(await admin.get("/ready"), 503, "NotReady")
    down = [part for part, check in body["checks"].items() if not check["ready"]]
    assert down == ["prefect", "mlflow"]
    assert (await admin.get("/health")).status_code == 200
    api.prefect.come_back()
    api.registry.down = False
    assert (await admin.get("/ready")).status_code == 200


async def test_a_model_that_cannot_be_used_is_told_and_takes_nothing_down(tmp_path: Path) -> None:
    problem = InvalidCatalog("fraud = bank.models:fraud", "cannot be loaded")
    fakes = FakeDoors(problem)
    async with served(tmp_path, fakes) as api:
        client = await api.client("admin")
        body = (await client.get("/ready")).json()
        assert str(problem) in body["warnings"]
        answer = await client.post("/api/retraining", json={"model_name": "fraud"})
        assert error_of(answer, 503, "InvalidCatalog")["message"] == str(problem)


async def test_an_empty_catalog_is_not_ready(tmp_path: Path) -> None:
    fakes = FakeDoors()
    fakes.catalog = Catalog([])
    async with served(tmp_path, fakes) as api:
        body = error_of(await (await api.client()).get("/ready"), 503, "NotReady")
        assert body["message"] == "catalog: model catalog entry 'the catalog': has no usable model"


async def test_what_keeps_jobs_from_running_is_a_warning(tmp_path: Path) -> None:
    fakes = FakeDoors()
    fakes.prefect.workers.clear()
    fakes.prefect.deployed.remove("churn")
    async with served(tmp_path, fakes) as api:
        answer = await (await api.client()).get("/ready")
    assert answer.status_code == 200
    assert answer.json()["warnings"][-2:] == [
        "Prefect lacks the deployments retrain/churn; run `retraining deploy`",
        "no worker polls the work pool 'retraining', jobs wait; `prefect worker start --pool retraining`",
    ]


class SlowInspections(FakeOrchestrator):
    """A Prefect that answers, but not what its workers do."""

    async def inspect(self, model_names: Sequence[str], work_pool: str) -> Inspection:
        await asyncio.sleep(60)
        return await super().inspect(model_names, work_pool)


async def test_a_prefect_that_is_slow_to_say_who_runs_jobs_leaves_the_facade_ready(tmp_path: Path) -> None:
    fakes = FakeDoors()
    fakes.prefect = SlowInspections()
    async with served(tmp_path, fakes) as api:
        client = await api.client()
        asked_at = time.monotonic()
        assert (await client.get("/ready")).status_code == 200
    assert time.monotonic() - asked_at < 5


async def test_often_probing_asks_prefect_for_its_workers_once(api: Api, admin: httpx.AsyncClient) -> None:
    await asyncio.gather(*(admin.get("/ready") for _ in range(10)))
    assert api.prefect.calls.count("inspect") == 1


async def test_lost_events_are_a_warning(api: Api, admin: httpx.AsyncClient) -> None:
    async def warnings() -> list[str]:
        api.prefect.cut_events()  # again, because the facade subscribes anew within moments
        return list((await admin.get("/ready")).json()["warnings"])

    await until(warnings, ["Prefect's events do not arrive; jobs are up to 15 s behind"])


def run(code: str) -> str:
    """What a process of its own says on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr


def test_a_process_that_logs_nowhere_gets_json_lines() -> None:
    code = """
import logging
from api.app import create_app
create_app()
logging.getLogger("uvicorn.access").info("hidden: ours says more")
logging.getLogger("alembic").info("hidden: chatter")
logging.getLogger("uvicorn.error").info("started")
logging.getLogger("retraining.jobs").info("job started", extra={"job_id": "7"})
"""
    lines = [json.loads(line) for line in run(code).splitlines()]
    assert [line["message"] for line in lines] == ["started", "job started"]
    assert lines[1]["job_id"] == "7"
    assert lines[1].keys() >= {"at", "level", "logger"}


def test_a_process_that_logs_its_own_way_keeps_it() -> None:
    code = """
import logging
logging.basicConfig(format="mine: %(message)s", level=logging.INFO)
from api.app import create_app
create_app()
logging.getLogger("retraining").info("hello")
"""
    assert run(code) == "mine: hello\n"


def test_making_the_application_imports_no_vendor_and_opens_nothing(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from api.app import create_app
from retraining.settings import Settings
create_app(Settings(home=Path({str(tmp_path / "home")!r})))
vendors = {{"prefect", "mlflow", "evidently", "sklearn"}}
print(vendors & set(sys.modules), file=sys.stderr)
"""
    assert run(code) == "set()\n"
    assert not (tmp_path / "home").exists()
