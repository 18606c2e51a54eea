"""Budgets in the memory of one process."""

import time
from collections import OrderedDict
from collections.abc import Callable

from retraining.rates.budget import Budget, Standing, spend

MOST_KEYS = 100_000
"""Some 30 MB. Callers choose their addresses, so their number must not decide how much memory there is."""


class MemoryBudgets:
    """Budgets of at most `most_keys` keys; past that, the key that was quiet for longest is forgotten."""

    def __init__(self, most_keys: int = MOST_KEYS, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._most_keys = most_keys
        self._clock = clock
        self._full_at: OrderedDict[tuple[str, str], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    async def spend(self, budget: Budget, key: str, requests: int = 1) -> Standing:
        """Count requests of a key, all or none of them; with 0 requests, look only."""
        now = self._clock() // 1_000
        known = (budget.name, key)
        standing, full_at = spend(budget, self._full_at.get(known, now), now, requests)
        if full_at > now:
            self._full_at[known] = full_at
            self._full_at.move_to_end(known)
            self._forget(now)
        return standing

    async def close(self) -> None:
        """Forget all."""
        self._full_at.clear()

    def _forget(self, now: int) -> None:
        # A full budget is that of a key nobody has seen. Two a request: one comes, so it cannot but shrink.
        for _ in range(2):
            key, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= self._most_keys:
                return
            del self._full_at[key]
