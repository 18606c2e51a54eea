"""The routes of jobs."""

from uuid import UUID

import httpx
import pytest

from retraining.jobs.status import RetrainingStatus
from tests.api.answers import error_of
from tests.api.conftest import Api
from tests.api.waiting import until

JOBS = "/api/retraining"


async def start(client: httpx.AsyncClient, model: str = "churn", **wanted: object) -> UUID:
    answer = await client.post(JOBS, json={"model_name": model, **wanted})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["job_id"])


async def status_of(client: httpx.AsyncClient, job_id: UUID) -> str:
    return str((await client.get(f"{JOBS}/{job_id}")).json()["status"])


async def test_a_job_is_accepted_with_its_links(api: Api, admin: httpx.AsyncClient) -> None:
    answer = await admin.post(JOBS, json={"model_name": "churn", "parameters": {"iterations": 50}})
    accepted = answer.json()
    job_id = accepted["job_id"]
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"{JOBS}/{job_id}"
    assert accepted == {
        "job_id": job_id,
        "model_name": "churn",
        "status": "pending",
        "message": "retraining of churn accepted",
        "links": {
            "self": f"{JOBS}/{job_id}",
            "events": f"{JOBS}/{job_id}/events",
            "logs": f"{JOBS}/{job_id}/logs",
            "prefect": f"http://prefect.test/runs/flow-run/{job_id}",
            "mlflow": "http://mlflow.test/#/models/churn",
        },
    }
    assert UUID(job_id) in api.prefect.runs
    assert (await admin.get(accepted["links"]["self"])).status_code == 200


async def test_a_job_is_shown_as_its_table_has_it(api: Api, admin: httpx.AsyncClient) -> None:
    job_id = await start(admin, parameters={"iterations": 50}, as_of="1998-04-01T00:00:00")
    shown = (await admin.get(f"{JOBS}/{job_id}")).json()
    assert list(shown)[:5] == ["id", "model_name", "status", "triggered_by", "trigger_type"]
    assert shown["id"] == str(job_id)
    assert shown["triggered_by"] == "ada"
    assert shown["trigger_type"] == "manual"
    assert shown["parameters"] == {"iterations": 50}
    assert shown["as_of"] == "1998-04-01T00:00:00Z"
    assert shown.keys() >= {
        *("started_at", "completed_at", "error_message", "model_version_before", "model_version_after")
    }


async def test_a_jobs_training_is_linked_where_mlflow_is_today(api: Api, admin: httpx.AsyncClient) -> None:
    """Not where it was when the job ran."""
    job_id = await start(admin)
    api.prefect.label(job_id, mlflow_run_url="http://127.0.0.1:5000/#/experiments/1/runs/0f5c")
    api.prefect.finish(job_id)
    await until(lambda: status_of(admin, job_id), "completed")
    [listed] = (await admin.get(JOBS)).json()
    shown = (await admin.get(f"{JOBS}/{job_id}")).json()
    assert shown["mlflow_run_url"] == "http://mlflow.test/#/experiments/1/runs/0f5c"
    assert listed["mlflow_run_url"] == shown["mlflow_run_url"]


async def test_jobs_are_listed_newest_first_by_model_and_status(api: Api, admin: httpx.AsyncClient) -> None:
    first, second = await start(admin), await start(admin, "profitability")
    third = await start(admin)
    await admin.delete(f"{JOBS}/{first}")

    async def listed(**query: str | int) -> list[str]:
        return [job["id"] for job in (await admin.get(JOBS, params=query)).json()]

    assert await listed() == [str(third), str(second), str(first)]
    assert await listed(model_name="churn") == [str(third), str(first)]
    assert await listed(status="cancelled") == [str(first)]
    assert await listed(model_name="churn", status="pending") == [str(third)]
    assert await listed(model_name="profitability", status="failed") == []
    assert await listed(limit=1, offset=1) == [str(second)]
    assert await listed(trigger_type="manual", limit=1) == [str(third)]
    assert await listed(trigger_type="drift") == []


async def test_pages_are_linked_by_cursor_and_lose_nothing_when_jobs_arrive(
    api: Api, admin: httpx.AsyncClient
) -> None:
    jobs = [await start(admin) for _ in range(5)]
    await start(admin, "profitability")
    answer = await admin.get(JOBS, params={"limit": 2, "model_name": "churn"})
    found = [job["id"] for job in answer.json()]
    while "next" in answer.links:
        await start(admin)
        answer = await admin.get(answer.links["next"]["url"])
        assert answer.status_code == 200, answer.text
        assert len(answer.json()) <= 2
        found += [job["id"] for job in answer.json()]
    assert found == [str(job) for job in reversed(jobs)]


async def test_the_same_idempotency_key_starts_one_job(api: Api, admin: httpx.AsyncClient) -> None:
    wanted = {"model_name": "churn", "parameters": {"iterations": 50}}
    key = {"Idempotency-Key": "nightly-1"}
    first = await admin.post(JOBS, json=wanted, headers=key)
    again = await admin.post(JOBS, json=wanted, headers=key)
    assert again.status_code == 202
    assert again.json() == first.json()
    assert len(api.prefect.requests) == 1
    other = await admin.post(JOBS, json={**wanted, "parameters": {}}, headers=key)
    assert "nightly-1" in error_of(other, 422, "IdempotencyKeyReused")["message"]
    stranger = await api.client("trigger", name="eve")
    assert (await stranger.post(JOBS, json=wanted, headers=key)).json()["job_id"] != first.json()["job_id"]


async def test_a_request_may_ask_to_be_refused_while_a_job_runs(api: Api, admin: httpx.AsyncClient) -> None:
    job_id = await start(admin)
    answer = await admin.post(JOBS, json={"model_name": "churn", "if_running": "reject"})
    assert error_of(answer, 409, "JobRunning")["job_id"] == str(job_id)
    assert await start(admin) != job_id


async def test_a_waiting_job_is_cancelled_at_once_and_again_is_harmless(
    api: Api, admin: httpx.AsyncClient
) -> None:
    job_id = await start(admin)
    for _ in range(2):
        answer = await admin.delete(f"{JOBS}/{job_id}")
        assert answer.json() == {"message": f"job {job_id} is cancelled"}
    shown = (await admin.get(f"{JOBS}/{job_id}")).json()
    assert (shown["status"], shown["cancelled_by"]) == ("cancelled", "ada")


async def test_a_running_job_is_asked_to_stop(api: Api, admin: httpx.AsyncClient) -> None:
    job_id = await start(admin)
    api.prefect.start(job_id)
    await until(lambda: status_of(admin, job_id), "running")
    for _ in range(2):
        answer = await admin.delete(f"{JOBS}/{job_id}")
        assert answer.json() == {"message": f"job {job_id} is stopping, within 30 s"}
    shown = (await admin.get(f"{JOBS}/{job_id}")).json()
    assert shown["status"] == "running"
    assert shown["cancel_requested_at"] is not None


@pytest.mark.parametrize("ending", [RetrainingStatus.COMPLETED, RetrainingStatus.FAILED])
async def test_a_finished_job_is_not_cancelled(
    api: Api, admin: httpx.AsyncClient, ending: RetrainingStatus
) -> None:
    job_id = await start(admin)
    api.prefect.start(job_id)
    api.prefect.finish(job_id, ending, "no rows in the window")
    await until(lambda: status_of(admin, job_id), str(ending))
    refused = error_of(await admin.delete(f"{JOBS}/{job_id}"), 409, "JobAlreadyFinished")
    assert str(ending) in refused["message"]


async def test_a_job_of_a_schedule_shows_like_any_other(api: Api, admin: httpx.AsyncClient) -> None:
    run = api.prefect.schedule("profitability")
    await until(lambda: status_of(admin, run.id), "pending")
    assert (await admin.get(f"{JOBS}/{run.id}")).json()["trigger_type"] == "scheduled"


async def test_a_log_is_read_in_pages_oldest_line_first(api: Api, admin: httpx.AsyncClient) -> None:
    job_id = await start(admin)
    for number in range(5):
        api.prefect.log(job_id, f"line {number}")
    answer = await admin.get(f"{JOBS}/{job_id}/logs", params={"limit": 2})
    assert set(answer.json()[0]) == {"at", "level", "logger", "message"}
    lines = [line["message"] for line in answer.json()]
    while "next" in answer.links:
        answer = await admin.get(answer.links["next"]["url"])
        lines += [line["message"] for line in answer.json()]
    assert lines == [f"line {number}" for number in range(5)]
