"""Budgets that several replicas share, in Redis or Valkey."""

import logging
import time
from typing import Any

from retraining.rates.budget import Budget, Standing, standing_of
from retraining.rates.memory import MemoryBudgets

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.25
AWAY_SECONDS = 5.0
PREFIX = "retraining:rates:"

# `retraining.rates.budget.spend`, by the clock of Redis, because those of the replicas differ.
SPEND = """
local at = redis.call('TIME')
local now = at[1] * 1000000 + at[2]
local capacity, interval, requests = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wanted = full_at + interval * requests
if wanted - now > capacity then
    return {0, full_at - now}
end
if wanted > now and requests > 0 then
    redis.call('SET', KEYS[1], string.format('%d', wanted), 'PX', math.ceil((wanted - now) / 1000))
end
return {1, wanted - now}
"""


class RedisBudgets:
    """Budgets in Redis; while it does not answer, this process's own.

    Neither open nor closed then: refusing everybody would make Redis a part that the service cannot do
    without, and letting everybody pass would let keys be guessed by whoever can disturb Redis. Each replica
    limits by itself, so that a caller has at most as many budgets as there are replicas.
    """

    def __init__(self, url: str, *, away_seconds: float = AWAY_SECONDS) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._spend = self._redis.register_script(SPEND)
        self._own = MemoryBudgets()
        self._away_seconds = away_seconds
        self._away_until = 0.0
        self._away = False

    async def spend(self, budget: Budget, key: str, requests: int = 1) -> Standing:
        """Count requests of a key, all or none of them; with 0 requests, look only."""
        if time.monotonic() < self._away_until:
            return await self._own.spend(budget, key, requests)
        from redis.exceptions import RedisError

        try:
            allowed, full_after = await self._ask(budget, key, requests)
        except (RedisError, OSError, TimeoutError) as exc:
            self._note_away(exc)
            return await self._own.spend(budget, key, requests)
        if self._away:
            self._away = False
            logger.info("rate limits are shared through Redis again")
        return standing_of(budget, bool(allowed), full_after)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, budget: Budget, key: str, requests: int) -> tuple[int, int]:
        arguments = [budget.capacity, budget.interval, requests]
        answer: Any = await self._spend(keys=[f"{PREFIX}{budget.name}:{key}"], args=arguments)
        allowed, full_after = answer
        return allowed, full_after

    def _note_away(self, exc: Exception) -> None:
        # Not asked again for a while: every request would wait for its answer.
        self._away_until = time.monotonic() + self._away_seconds
        if not self._away:
            self._away = True
            # The kind alone: the text may hold the address, and with it a password.
            logger.warning("Redis does not answer (%s): each replica limits by itself", type(exc).__name__)
