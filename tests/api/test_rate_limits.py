"""How often somebody may ask, per address before authentication and per caller after it."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.router import create_router
from retraining.auth.caller import Scope
from retraining.settings import Settings
from tests.api.answers import error_of
from tests.api.conftest import Api, FakeDoors, served, settings_in
from tests.api.serving import serving
from tests.api.test_mounted import caller_of, session
from tests.valkey import PASSWORD, valkey_server

JOBS = "/api/retraining"
WRONG = "rt_0123456789abcdef_" + "x" * 43
STANDING = re.compile(r'"(?P<budget>[a-z-]+)";r=(?P<left>\d+);t=(?P<full_after>\d+)')


def standing(answer: httpx.Response) -> tuple[str, int]:
    """The budget that the answer tells of, and what is left of it."""
    found = STANDING.fullmatch(answer.headers["RateLimit"])
    assert found is not None, answer.headers
    return found["budget"], int(found["left"])


@pytest.fixture
async def tight(tmp_path: Path) -> AsyncIterator[Api]:
    """A facade where little is much. Nothing is refilled while a test runs, or nearly."""
    limits: dict[str, Any] = {"rate_limit_reads": 3, "rate_limit_writes": 2, "rate_limit_failures": 2}
    async with served(tmp_path, **limits) as api:
        yield api


async def test_a_caller_reads_so_often_and_is_told_when_to_come_back(tight: Api) -> None:
    client = await tight.client(Scope.READ, name="ada")
    for left in (2, 1, 0):
        answer = await client.get(JOBS)
        assert (answer.status_code, standing(answer)) == (200, ("reads", left))
        assert answer.headers["RateLimit-Policy"] == '"reads";q=3;w=60'
    answer = await client.get(JOBS)
    body = error_of(answer, 429, "RateLimitExceeded")
    assert 0 < int(answer.headers["Retry-After"]) <= 20
    assert standing(answer) == ("reads", 0)
    expected = f"the limit 'reads' of 3 in 60 s is used up; try again in {answer.headers['Retry-After']} s"
    assert body["message"] == expected


async def test_each_caller_has_a_budget_and_writes_have_their_own(tight: Api) -> None:
    ada = await tight.client(Scope.ADMIN, name="ada")
    eve = await tight.client(Scope.READ, name="eve")
    for _ in range(3):
        await ada.get(JOBS)
    error_of(await ada.get(f"{JOBS}/models"), 429, "RateLimitExceeded")
    assert (await eve.get(JOBS)).status_code == 200
    for left in (1, 0):
        answer = await ada.post(JOBS, json={"model_name": "churn"})
        assert (answer.status_code, standing(answer)) == (202, ("writes", left))
    error_of(await ada.post(JOBS, json={"model_name": "churn"}), 429, "RateLimitExceeded")
    assert len(tight.prefect.runs) == 2


async def test_a_second_key_of_the_same_name_is_no_second_budget(tight: Api) -> None:
    for client in (await tight.client(Scope.READ), await tight.client(Scope.READ)):
        for _ in range(2):
            answer = await client.get(JOBS)
    error_of(answer, 429, "RateLimitExceeded")


async def test_refused_requests_are_counted_too(tight: Api) -> None:
    """What is not found, not allowed or not understood costs as much."""
    client = await tight.client(Scope.READ)
    for path, status in ((f"{JOBS}/nonsense", 404), (f"{JOBS}?limit=x", 422), (f"{JOBS}/models/x", 404)):
        assert (await client.get(path)).status_code == status
    assert (await client.get(JOBS)).status_code == 429


async def test_keys_cannot_be_guessed(tight: Api) -> None:
    """After so many wrong ones none is looked at, not even a right one; who sends none guesses nothing."""
    friend = await tight.client(Scope.READ, name="friend")
    for number in range(2):
        wrong = {"Authorization": f"Bearer {WRONG}{number}"}
        error_of(await (await tight.client(**wrong)).get(JOBS), 401, "NotAuthenticated")
    guesser = await tight.client(Authorization=f"Bearer {WRONG}3")
    answer = await guesser.get(JOBS)
    error_of(answer, 429, "RateLimitExceeded")
    assert standing(answer) == ("failed-authentications", 0)
    assert 0 < int(answer.headers["Retry-After"]) <= 30
    error_of(await friend.get(JOBS), 429, "RateLimitExceeded")
    error_of(await (await tight.client(**{"X-API-Key": f"{WRONG}4"})).get(JOBS), 429, "RateLimitExceeded")
    error_of(await (await tight.client()).get(JOBS), 401, "NotAuthenticated")
    assert (await friend.get("/health")).status_code == 200


async def test_a_program_whose_key_has_expired_locks_nobody_out(tight: Api) -> None:
    """The same wrong key again and again is no guessing."""
    outdated = await tight.client(Authorization=f"Bearer {WRONG}")
    for _ in range(10):
        error_of(await outdated.get(JOBS), 401, "NotAuthenticated")
    friend = await tight.client(Scope.READ, name="friend")
    assert (await friend.get(JOBS)).status_code == 200


async def test_many_guesses_at_once_are_few(tmp_path: Path) -> None:
    async with served(tmp_path, rate_limit_failures=5) as api, httpx.AsyncClient(base_url=api.url) as client:
        keys = [f"{WRONG}{number}" for number in range(60)]
        for first in range(0, 60, 10):
            answers = await asyncio.gather(
                *(client.get(JOBS, headers={"X-API-Key": key}) for key in keys[first : first + 10])
            )
            if first:
                assert {answer.status_code for answer in answers} == {429}


async def test_an_address_is_limited_whoever_asks(tmp_path: Path) -> None:
    """Before authentication, on every endpoint; probes have their own budget."""
    async with served(tmp_path, rate_limit_address=4) as api:
        nobody, admin = await api.client(), await api.client(Scope.ADMIN)
        for path in (JOBS, f"{JOBS}/models", "/openapi.json", f"{JOBS}/a/b/c"):
            answer = await nobody.get(path)
            assert standing(answer)[0] == "address"
        assert standing(answer)[1] == 0
        for client in (nobody, admin):
            for method, path in (("GET", JOBS), ("POST", JOBS), ("PUT", JOBS), ("GET", f"{JOBS}/nope/nope")):
                answer = await client.request(method, path)
                error_of(answer, 429, "RateLimitExceeded")
        assert [(await nobody.get("/health")).status_code for _ in range(5)] == [200] * 4 + [429]
        error_of(await nobody.get("/ready"), 429, "RateLimitExceeded")


async def test_only_a_trusted_proxy_says_for_whom_it_asks(tmp_path: Path) -> None:
    """Of all others the header is made up: it opens no fresh budget."""
    trusting = (ip_network("127.0.0.1/32"),)
    for name, proxies, expected in (("plain", (), 429), ("proxied", trusting, 401)):
        async with served(tmp_path / name, rate_limit_address=2, trusted_proxies=proxies) as api:
            client = await api.client()
            for number in range(4):
                said = {"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.{number}"}
                answer = await client.get(JOBS, headers=said)
            assert answer.status_code == expected
            if proxies:
                for number in range(2):  # the address left of the right-most is the sender's own word
                    said = {"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.99"}
                    assert (await client.get(JOBS, headers=said)).status_code == 401
                assert (await client.get(JOBS, headers=said)).status_code == 429


async def test_following_events_is_one_request(tight: Api) -> None:
    client = await tight.client(Scope.ADMIN)
    job_id = (await client.post(JOBS, json={"model_name": "churn"})).json()["job_id"]
    async with client.stream("GET", f"{JOBS}/{job_id}/events") as stream:
        assert (stream.status_code, stream.headers["RateLimit-Policy"]) == (200, '"reads";q=3;w=60')
        lines = aiter(stream.aiter_lines())
        await anext(lines)
        assert standing(await client.get(JOBS)) == ("reads", 1)


async def test_nothing_is_limited_where_the_settings_say_so(tmp_path: Path) -> None:
    off: dict[str, Any] = dict.fromkeys(
        (f"rate_limit_{kind}" for kind in ("reads", "writes", "address", "failures")), 0
    )
    async with served(tmp_path, **off) as api:
        client = await api.client(Scope.READ)
        answer = await client.get(JOBS)
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers
        assert (await (await api.client(Authorization=f"Bearer {WRONG}")).get(JOBS)).status_code == 401


async def test_a_host_applications_callers_are_limited_too(tmp_path: Path) -> None:
    """Also those who do not get past its authentication; its own routes are its own business."""
    limits = {"rate_limit_reads": 2, "rate_limit_failures": 2}
    settings = settings_in(tmp_path).model_copy(update=limits)
    app = FastAPI()
    app.include_router(
        create_router(settings, authenticate=session, caller_of=caller_of, doors=FakeDoors().doors)
    )
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        eve = {"X-Session": "eve@host:staff"}
        assert [(await client.get(JOBS, headers=eve)).status_code for _ in range(3)] == [200, 200, 429]
        bob = {"X-Session": "bob@host:staff"}
        assert (await client.get(JOBS, headers=bob)).status_code == 200
        for number in range(2):
            assert (await client.get(JOBS, headers={"Cookie": f"session={number}"})).status_code == 401
        error_of(await client.get(JOBS, headers={"Cookie": "session=3"}), 429, "RateLimitExceeded")
        assert [(await client.get("/nope")).status_code for _ in range(5)] == [404] * 5


async def test_replicas_share_their_limits_and_go_on_without_redis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once it is gone each limits by itself; no request fails for it, and no log tells its password."""
    caplog.set_level(logging.INFO)
    limits = {"rate_limit_reads": 3, "database_busy_seconds": 5}
    with ExitStack() as until_it_dies:
        redis_url = until_it_dies.enter_context(valkey_server(tmp_path))
        settings = settings_in(tmp_path).model_copy(update={**limits, "rate_limit_storage": redis_url})
        fakes = FakeDoors()
        async with (
            serving(create_app(settings, doors=fakes.doors)) as one,
            serving(create_app(settings, doors=fakes.doors)) as other,
            served(tmp_path, fakes) as keys,
        ):
            client = await keys.client(Scope.READ)
            answers = [await client.get(f"{url}{JOBS}") for url in (one, other, one, other, one)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
            assert standing(answers[2]) == ("reads", 0)
            until_it_dies.close()
            answers = [await client.get(f"{url}{JOBS}") for url in (one, other) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429] * 2
    assert "each replica limits by itself" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_limit_storage": "memcached://x"},
        {"trusted_proxies": "10.0.0.0/8, proxy"},
        {"rate_limit_reads": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]


def test_trusted_proxies_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAINING_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8")
    assert Settings().trusted_proxies == tuple(map(ip_network, ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")))
