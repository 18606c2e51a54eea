"""The limits of the facade: which requests spend which budgets."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from retraining.rates.addresses import Network, counted_as
from retraining.rates.budget import Budget, Budgets, Standing
from retraining.rates.memory import MemoryBudgets
from retraining.settings import MEMORY, Settings


class RateLimits:
    """What callers and addresses may still ask. Every method gives None where there is no limit."""

    def __init__(self, budgets: Budgets, settings: Settings) -> None:
        self._budgets = budgets
        self._reads = _budget("reads", settings.rate_limit_reads)
        self._writes = _budget("writes", settings.rate_limit_writes)
        self._address = _budget("address", settings.rate_limit_address)
        # Beside the others: what else comes through the same proxy must not make a probe fail.
        self._probes = _budget("probes", settings.rate_limit_address)
        self._failures = _budget("failed-authentications", settings.rate_limit_failures)
        self._once = Budget("failed-credential", 1)
        self.trusted_proxies: Sequence[Network] = settings.trusted_proxies

    async def count_address(self, address: str, *, probe: bool = False) -> Standing | None:
        """Count a request of an address, whoever sent it."""
        return await self._spend(self._probes if probe else self._address, counted_as(address))

    async def look_at_failures(self, address: str) -> Standing | None:
        """Whether credentials that come from an address are looked at."""
        standing = await self._spend(self._failures, counted_as(address), 0)
        return standing and replace(standing, allowed=standing.remaining > 0)

    async def count_failure(self, address: str, credentials: bytes) -> None:
        """Count credentials that were wrong; once a minute, however often the same are sent.

        Who guesses sends others each time. A program whose key has expired sends the same, and must not lock
        out whoever shares its address.
        """
        if self._failures is None:
            return
        group = counted_as(address)
        digest = hashlib.sha256(credentials).hexdigest()[:32]
        if (await self._budgets.spend(self._once, f"{group}:{digest}")).allowed:
            await self._budgets.spend(self._failures, group)

    async def count_caller(self, name: str, *, writes: bool) -> Standing | None:
        """Count a request of a caller."""
        return await self._spend(self._writes if writes else self._reads, name)

    async def close(self) -> None:
        """Let go of what the budgets hold."""
        await self._budgets.close()

    async def _spend(self, budget: Budget | None, key: str, requests: int = 1) -> Standing | None:
        return None if budget is None else await self._budgets.spend(budget, key, requests)


def limits_of(settings: Settings) -> RateLimits:
    """The limits that the settings say, kept where they say."""
    if settings.rate_limit_storage == MEMORY:
        return RateLimits(MemoryBudgets(), settings)
    from retraining.rates.redis_budgets import RedisBudgets

    return RateLimits(RedisBudgets(settings.rate_limit_storage), settings)


def _budget(name: str, requests: int) -> Budget | None:
    return Budget(name, requests) if requests else None
