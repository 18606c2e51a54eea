"""Budgets that replicas share, on a real server."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from retraining.rates.budget import Budget
from retraining.rates.redis_budgets import PREFIX, RedisBudgets
from tests.servers import free_port
from tests.valkey import PASSWORD, valkey_server

FIVE = Budget("five", 5, 3_600)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as url:
        yield url


async def test_replicas_share_one_budget(redis_url: str) -> None:
    """To the last request, though they ask at the same time."""
    replicas = [RedisBudgets(redis_url) for _ in range(3)]
    standings = await asyncio.gather(*(replicas[n % 3].spend(FIVE, "shared") for n in range(30)))
    assert sum(standing.allowed for standing in standings) == FIVE.requests
    refused = next(standing for standing in standings if not standing.allowed)
    assert refused.remaining == 0
    assert 0 < refused.retry_after <= FIVE.interval
    for replica in replicas:
        await replica.close()


async def test_it_counts_as_memory_does(redis_url: str) -> None:
    budgets = RedisBudgets(redis_url)
    assert (await budgets.spend(FIVE, "eve", 0)).remaining == 5
    assert [(await budgets.spend(FIVE, "eve")).remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    assert not (await budgets.spend(FIVE, "eve")).allowed
    assert (await budgets.spend(FIVE, "ada")).allowed
    await budgets.close()


async def test_what_is_full_again_leaves_no_key(redis_url: str) -> None:
    budgets = RedisBudgets(redis_url)
    await budgets.spend(FIVE, "looked at", 0)
    await budgets.spend(FIVE, "spent")
    async with Redis.from_url(redis_url) as redis:
        assert await redis.exists(f"{PREFIX}five:looked at") == 0
        expiry = await redis.pttl(f"{PREFIX}five:spent")
        assert 0 < expiry <= FIVE.interval * 1_000 + 1
    await budgets.close()


async def test_while_redis_is_away_each_replica_limits_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is refused for it, and nobody may do more; once it is back they share again."""
    caplog.set_level(logging.INFO)
    port = free_port()
    budgets = RedisBudgets(f"redis://:{PASSWORD}@127.0.0.1:{port}/0", away_seconds=0)
    allowed = [(await budgets.spend(FIVE, "eve")).allowed for _ in range(7)]
    assert allowed == [True] * 5 + [False] * 2
    assert [record.levelname for record in caplog.records if record.name.startswith("retraining")] == [
        "WARNING"
    ]
    with valkey_server(tmp_path, port):
        async with asyncio.timeout(20):
            while (await budgets.spend(FIVE, "ada")).allowed:
                pass
        async with Redis.from_url(f"redis://:{PASSWORD}@127.0.0.1:{port}/0") as redis:
            assert await redis.exists(f"{PREFIX}five:ada") == 1
    assert "shared through Redis again" in caplog.text
    assert not (await budgets.spend(FIVE, "eve")).allowed
    assert PASSWORD not in caplog.text
    await budgets.close()


async def test_a_redis_that_hangs_is_not_asked_by_every_request(redis_url: str, tmp_path: Path) -> None:
    """It accepts connections and says nothing; nobody waits for it but the first."""

    asked = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        budgets = RedisBudgets(f"redis://127.0.0.1:{port}/0", away_seconds=3_600)
        allowed = [(await budgets.spend(FIVE, "eve")).allowed for _ in range(7)]
        assert allowed == [True] * 5 + [False] * 2
        assert asked == 1
        await budgets.close()
