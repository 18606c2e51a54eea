"""One budget and what is left of it: the generic cell rate algorithm (ITU-T I.371), as a leaky bucket.

A key's whole state is one number: when its budget is full again. So many requests may come at once as the
budget holds, and then as many as refill: evenly over the window, with no moment at which all of it is back.
"""

from dataclasses import dataclass
from typing import Protocol

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Budget:
    """So many requests at once, and as many again in each window. Its name is what callers are shown."""

    name: str
    requests: int
    seconds: int = 60

    @property
    def interval(self) -> int:
        """Microseconds in which one request is refilled."""
        return self.seconds * MICROSECONDS // self.requests

    @property
    def capacity(self) -> int:
        """Microseconds in which all of it is refilled."""
        return self.requests * self.interval


@dataclass(frozen=True)
class Standing:
    """What is left of a budget, once a request was counted or refused."""

    budget: Budget
    allowed: bool
    remaining: int
    full_after: float
    """Seconds until all of it is there again."""
    retry_after: float
    """Seconds until one more request is allowed; 0 if one is now."""


def spend(budget: Budget, full_at: int, now: int, requests: int = 1) -> tuple[Standing, int]:
    """Count requests, or none to look only; the standing, and when the budget is full from now on.

    Times are whole microseconds of one clock: sums of fractions would drift.
    """
    full_at = max(full_at, now)
    wanted = full_at + requests * budget.interval
    allowed = wanted - now <= budget.capacity
    if allowed:
        full_at = wanted
    return standing_of(budget, allowed, full_at - now), full_at


def standing_of(budget: Budget, allowed: bool, full_after: int) -> Standing:
    """The standing of a budget that is full again in so many microseconds."""
    remaining = (budget.capacity - full_after) // budget.interval
    missing = 0 if remaining else full_after + budget.interval - budget.capacity
    return Standing(budget, allowed, remaining, full_after / MICROSECONDS, missing / MICROSECONDS)


class Budgets(Protocol):
    """Where the budgets of all keys are kept."""

    async def spend(self, budget: Budget, key: str, requests: int = 1) -> Standing:
        """Count requests of a key, all or none of them; with 0 requests, look only."""

    async def close(self) -> None:
        """Let go of what it holds."""
