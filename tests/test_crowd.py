"""Many callers at once, on the whole stack."""

import asyncio

import httpx
import pytest

from tests.stack.running import RunningStack

pytestmark = pytest.mark.stack

JOBS = "/api/retraining"
CROWD = 20


async def test_twenty_requests_for_jobs_at_once_are_all_accepted(stack: RunningStack) -> None:
    """On SQLite, while a worker takes the first of them; see `retraining.stack.prefect_server`."""
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    async with httpx.AsyncClient(
        base_url=stack.api_url, headers=headers, timeout=60, trust_env=False
    ) as client:

        async def start(number: int) -> httpx.Response:
            model = ("churn", "profitability")[number % 2]
            # Before the first purchases: those that run before they are cancelled fail at once.
            return await client.post(JOBS, json={"model_name": model, "as_of": "1997-01-01"})

        answers = await asyncio.gather(*map(start, range(CROWD)))
        accepted = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
        for job_id in accepted:
            await client.delete(f"{JOBS}/{job_id}")

    assert [answer.status_code for answer in answers] == [202] * CROWD
    assert len(set(accepted)) == CROWD
