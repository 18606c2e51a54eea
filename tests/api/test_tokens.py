"""Tokens of an issuer, beside API keys."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.api.answers import error_of
from tests.api.conftest import Api, served
from tests.auth.issuer import AUDIENCE, Issuer, running_issuer

JOBS = "/api/retraining"


@pytest.fixture
async def trusting(tmp_path: Path) -> AsyncIterator[tuple[Api, Issuer]]:
    """A facade that trusts an issuer."""
    with running_issuer() as issuer:
        async with served(
            tmp_path, oidc_issuer=issuer.url, oidc_audience=(AUDIENCE,), oidc_models_claim="models"
        ) as api:
            yield api, issuer


async def test_a_token_starts_a_job_under_its_callers_name(trusting: tuple[Api, Issuer]) -> None:
    api, issuer = trusting
    client = await api.client(Authorization=f"Bearer {issuer.token(models='*')}")
    started = await client.post(JOBS, json={"model_name": "churn"})
    assert started.status_code == 202, started.text
    job = (await client.get(started.headers["Location"])).json()
    assert job["triggered_by"] == "oidc:ada"


async def test_keys_go_on_working_beside_tokens(trusting: tuple[Api, Issuer]) -> None:
    api, issuer = trusting
    issuer.up = False
    client = await api.client("read")
    assert (await client.get(JOBS)).status_code == 200
    error_of(
        await client.get(JOBS, headers={"Authorization": f"Bearer rt_{'0' * 12}_{'0' * 64}"}),
        401,
        "NotAuthenticated",
    )


async def test_a_refused_token_is_told_why(trusting: tuple[Api, Issuer]) -> None:
    api, issuer = trusting
    expired = issuer.token(exp=datetime.now(UTC) - timedelta(hours=1))
    client = await api.client(Authorization=f"Bearer {expired}")
    refused = error_of(await client.get(JOBS), 401, "InvalidToken")
    assert refused["message"] == "the bearer token is expired"
    assert expired not in str(refused)


async def test_a_token_that_cannot_be_checked_is_no_reason_to_log_in_again(
    trusting: tuple[Api, Issuer],
) -> None:
    api, issuer = trusting
    issuer.up = False
    client = await api.client(Authorization=f"Bearer {issuer.token()}")
    answer = await client.get(JOBS)
    error_of(answer, 503, "IssuerUnavailable")
    assert answer.headers["Retry-After"]


async def test_roles_and_models_of_a_token_hold(trusting: tuple[Api, Issuer]) -> None:
    api, issuer = trusting
    token = issuer.token(roles=["viewer"], models=["churn"])
    client = await api.client(Authorization=f"Bearer {token}")
    assert [model["name"] for model in (await client.get(f"{JOBS}/models")).json()] == ["churn"]
    error_of(await client.post(JOBS, json={"model_name": "churn"}), 403, "MissingScope")
    token = issuer.token(roles=["admin"])
    nobody = await api.client(Authorization=f"Bearer {token}")
    assert (await nobody.get(f"{JOBS}/models")).json() == []
    error_of(await nobody.get(f"{JOBS}/keys"), 403, "MissingScope")


async def test_a_token_is_no_api_key_header(trusting: tuple[Api, Issuer]) -> None:
    api, issuer = trusting
    client = await api.client(**{"X-API-Key": issuer.token()})
    error_of(await client.get(JOBS), 401, "NotAuthenticated")


async def test_who_may_cancel_cancels_what_they_started_and_no_more(trusting: tuple[Api, Issuer]) -> None:
    """By name, and a key called like a token's caller is somebody else."""
    api, issuer = trusting
    words = ["read", "trigger", "cancel"]
    ada = await api.client(Authorization=f"Bearer {issuer.token(roles=words, models='*')}")
    namesake = await api.client(*words, name="ada")
    own = (await ada.post(JOBS, json={"model_name": "churn"})).json()["job_id"]
    theirs = (await namesake.post(JOBS, json={"model_name": "churn"})).json()["job_id"]
    refused = error_of(await ada.delete(f"{JOBS}/{theirs}"), 403, "NotYourJob")
    assert (
        refused["message"] == f"job {theirs} was not started by 'oidc:ada'; cancelling it needs 'cancel-any'"
    )
    error_of(await namesake.delete(f"{JOBS}/{own}"), 403, "NotYourJob")
    assert (await ada.delete(f"{JOBS}/{own}")).status_code == 200
    anybody = await api.client("cancel-any", name="ops")
    assert (await anybody.delete(f"{JOBS}/{theirs}")).status_code == 200
