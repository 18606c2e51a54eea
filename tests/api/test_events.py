"""Live status over a real socket."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from retraining.jobs.status import RetrainingStatus
from tests.api.answers import error_of
from tests.api.conftest import Api, served
from tests.api.sse import following
from tests.api.test_jobs import start, status_of
from tests.api.waiting import until

ALL = "/api/retraining/events"


async def finished_job(api: Api, client: httpx.AsyncClient) -> UUID:
    """A job with a start, progress and an end."""
    job_id = await start(client)
    api.prefect.start(job_id)
    await until(lambda: status_of(client, job_id), "running")
    for stage, fraction in (("loading", None), ("training", 0.5)):
        api.prefect.progress(job_id, stage, fraction)
    async with following(client, f"/api/retraining/{job_id}/events") as stream:
        await stream.take(4)
    api.prefect.finish(job_id)
    await until(lambda: status_of(client, job_id), "completed")
    return job_id


async def test_a_job_is_followed_from_its_beginning_to_its_end(api: Api, admin: httpx.AsyncClient) -> None:
    job_id = await start(admin)
    async with following(admin, f"/api/retraining/{job_id}/events") as stream:
        [pending] = await stream.take(1)
        api.prefect.start(job_id)
        [running] = await stream.take(1)
        api.prefect.progress(job_id, "training", 0.25, "tree 5 of 20")
        [progress] = await stream.take(1)
        api.prefect.finish(job_id, RetrainingStatus.FAILED, "no rows in the window")
        [failed] = await stream.rest()
    seen = [pending, running, progress, failed]
    assert [event.event for event in seen] == ["state", "state", "progress", "state"]
    assert [event.data["status"] for event in seen] == ["pending", "running", "running", "failed"]
    assert (progress.data["stage"], progress.data["progress"]) == ("training", 0.25)
    assert failed.data["message"] == "no rows in the window"
    assert all(event.data["job_id"] == str(job_id) for event in seen)
    assert [event.id for event in seen] == sorted({event.id for event in seen})


async def test_what_happens_is_told_within_half_a_second(api: Api, admin: httpx.AsyncClient) -> None:
    job_id = await start(admin)
    async with following(admin, f"/api/retraining/{job_id}/events") as stream:
        await stream.take(1)
        delays = []
        for number in range(5):
            told_at = time.monotonic()
            api.prefect.progress(job_id, "training", number / 5)
            await stream.take(1)
            delays.append(time.monotonic() - told_at)
    assert min(delays) < 0.5, delays


async def test_a_stream_goes_on_after_the_last_event_that_was_read(
    api: Api, admin: httpx.AsyncClient
) -> None:
    job_id = await finished_job(api, admin)
    path = f"/api/retraining/{job_id}/events"
    async with following(admin, path) as stream:
        whole = await stream.rest()
    for read in range(1, len(whole)):
        async with following(admin, path, whole[read - 1].id) as stream:
            assert await stream.rest() == whole[read:]
    answer = await admin.get(path, headers={"Last-Event-ID": str(whole[-1].id)})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_all_jobs_are_followed_from_now_on_or_from_where_one_was(
    api: Api, admin: httpx.AsyncClient
) -> None:
    earlier = await start(admin)
    async with following(admin, ALL) as stream:
        first, second = await start(admin), await start(admin, "profitability")
        seen = await stream.take(2)
    assert [event.data["job_id"] for event in seen] == [str(first), str(second)]
    assert [event.data["model_name"] for event in seen] == ["churn", "profitability"]
    async with following(admin, ALL, 0) as stream:
        again = await stream.take(3)
    assert again[0].data["job_id"] == str(earlier)
    assert again[1:] == seen


@pytest.mark.parametrize("given", ["-1", "x", str(2**63)])
async def test_an_id_that_no_event_has_is_refused(api: Api, admin: httpx.AsyncClient, given: str) -> None:
    answer = await admin.get(ALL, headers={"Last-Event-ID": given})
    assert "Last-Event-ID" in error_of(answer, 422, "ValidationError")["message"]


async def test_many_open_streams_leave_the_database_to_the_others(api: Api, admin: httpx.AsyncClient) -> None:
    """More streams than there are connections in the pool, and requests still get theirs."""
    async with AsyncExitStack() as stack:
        crowd = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=api.url, headers=admin.headers, limits=httpx.Limits(max_connections=None), timeout=20
            )
        )
        streams = [await stack.enter_async_context(following(crowd, ALL)) for _ in range(50)]
        job_id = await start(admin)
        told = await asyncio.gather(*(stream.take(1) for stream in streams))
        assert {event.data["job_id"] for [event] in told} == {str(job_id)}
        assert (await admin.get("/ready")).status_code == 200
    assert (await admin.get("/ready")).status_code == 200


async def test_more_followers_than_there_are_places_are_asked_to_come_back(tmp_path: Path) -> None:
    async with served(tmp_path, max_followers=2) as api:
        client = await api.client("admin")
        job_id = await start(client)

        async def status() -> int:
            async with client.stream("GET", f"/api/retraining/{job_id}/events") as answer:
                return answer.status_code

        async with following(client, ALL):
            async with following(client, ALL):
                refused = await client.get(f"/api/retraining/{job_id}/events")
                assert "2 callers follow" in error_of(refused, 503, "TooManyFollowers")["message"]
                assert int(refused.headers["Retry-After"]) > 0
            await until(status, 200)


async def test_a_silent_stream_says_that_it_is_alive(tmp_path: Path) -> None:
    async with served(tmp_path, heartbeat_seconds=0.05) as api:
        client = await api.client("admin")
        async with following(client, ALL) as stream:
            reading = asyncio.create_task(stream.take(1))

            async def beating() -> bool:
                return stream.heartbeats >= 3

            await until(beating, True)
            await start(client)
            await reading


async def test_the_server_stops_soon_with_streams_open(tmp_path: Path) -> None:
    async with AsyncExitStack() as clients:
        async with served(tmp_path) as api:
            client = await clients.enter_async_context(
                httpx.AsyncClient(base_url=api.url, headers=(await api.client("read")).headers)
            )
            for _ in range(3):
                await clients.enter_async_context(following(client, ALL))
            stopped_at = time.monotonic()
        assert time.monotonic() - stopped_at < 4
