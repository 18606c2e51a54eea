"""How often somebody may ask: per address before authentication, per caller after it."""

import math
from collections.abc import Mapping

from fastapi import Request
from starlette.exceptions import HTTPException

from api.facade import facade_of
from retraining.auth.caller import Caller
from retraining.auth.errors import NotAuthenticated, RateLimitExceeded
from retraining.rates.addresses import sender_of
from retraining.rates.budget import Standing

READING = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES = frozenset({"/health", "/ready"})
CREDENTIALS = ("Authorization", "X-API-Key", "Cookie")


def address_of(request: Request) -> str:
    """The address that the request comes from; behind trusted proxies, what they say it is."""
    peer = request.client.host if request.client else None
    forwarded = request.headers.getlist("X-Forwarded-For")
    return sender_of(peer, forwarded, facade_of(request).rates.trusted_proxies)


async def heed_address(request: Request) -> None:
    """Count the request of its address, before anybody looks at who sends it. Raises RateLimitExceeded."""
    limits, address = facade_of(request).rates, address_of(request)
    probe = request.url.path in PROBES
    _heed(request, await limits.count_address(address, probe=probe))
    if probe or not any(name in request.headers for name in CREDENTIALS):
        return
    failures = await limits.look_at_failures(address)
    if failures is not None and not failures.allowed:
        _heed(request, failures)


async def heed_caller(request: Request, caller: Caller) -> None:
    """Count the request of its caller. Raises RateLimitExceeded."""
    writes = request.method not in READING
    _heed(request, await facade_of(request).rates.count_caller(caller.name, writes=writes))


async def note_failure(request: Request, exc: Exception) -> None:
    """Count credentials that were refused; of other errors there is nothing to count."""
    match exc:
        case NotAuthenticated() | HTTPException(status_code=401):
            # Who sends none guesses nothing.
            if credentials := _credentials(request):
                await facade_of(request).rates.count_failure(address_of(request), credentials)


def standing_headers(request: Request) -> Mapping[str, str]:
    """What the request left of the last budget that it was counted in.

    As in https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/.
    """
    standing: Standing | None = getattr(request.state, "standing", None)
    if standing is None:
        return {}
    budget = standing.budget
    return {
        "RateLimit-Policy": f'"{budget.name}";q={budget.requests};w={budget.seconds}',
        "RateLimit": f'"{budget.name}";r={standing.remaining};t={math.ceil(standing.full_after)}',
    }


def _heed(request: Request, standing: Standing | None) -> None:
    if standing is None:
        return
    request.state.standing = standing
    if not standing.allowed:
        budget = standing.budget
        seconds = max(1, math.ceil(standing.retry_after))
        raise RateLimitExceeded(budget.name, budget.requests, budget.seconds, seconds)


def _credentials(request: Request) -> bytes:
    return "\n".join(value for name in CREDENTIALS for value in request.headers.getlist(name)).encode()
