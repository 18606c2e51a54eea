"""The public keys with which the identity provider signs: fetched, remembered, asked for again with care."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx

from retraining.auth.errors import InvalidToken, IssuerUnavailable

if TYPE_CHECKING:
    from jwt import PyJWK

logger = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
AGAIN_SECONDS = 10.0
"""Unknown keys make us ask the provider at most this often, however many forged tokens come."""
REFRESH_SECONDS = 600.0
"""After this the provider is asked again beside the requests, so that withdrawn keys go."""
MAX_BYTES = 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SigningKeys:
    """The signing keys of one issuer, by their id.

    While the issuer does not answer, the keys that are known go on working.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None,
        algorithms: tuple[str, ...],
        *,
        again_seconds: float = AGAIN_SECONDS,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """`jwks_url` is where the keys are; None asks the issuer's discovery document."""
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._algorithms = algorithms
        self._again_seconds = again_seconds
        self._refresh_seconds = refresh_seconds
        self._keys: dict[tuple[str | None, str], PyJWK] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._asked_at = -float("inf")
        self._got_at = -float("inf")
        self._problem: str | None = None

    async def find(self, key_id: str | None, algorithm: str) -> "PyJWK":
        """The key of this id for this algorithm; without an id, the only one for it.

        Raises:
            InvalidToken: the issuer publishes no such key.
            IssuerUnavailable: it is not known yet, and the issuer does not answer.
        """
        key = self._known(key_id, algorithm)
        stale = time.monotonic() - self._got_at > self._refresh_seconds
        if key is None or stale:
            self._fetch_unless_just_now()
        if key is None and self._fetching is not None:
            # Nobody's fetch but everybody's: it goes on when who was first hangs up.
            await asyncio.shield(self._fetching)
            key = self._known(key_id, algorithm)
        if key is None and self._problem is not None:
            raise IssuerUnavailable(self._issuer, self._problem)
        if key is None:
            raise InvalidToken("is signed with a key that the identity provider does not publish")
        return key

    async def close(self) -> None:
        """Stop asking."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _known(self, key_id: str | None, algorithm: str) -> "PyJWK | None":
        if key_id is not None:
            return self._keys.get((key_id, algorithm))
        fitting = [key for (_, for_algorithm), key in self._keys.items() if for_algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _fetch_unless_just_now(self) -> None:
        under_way = self._fetching is not None and not self._fetching.done()
        if not under_way and time.monotonic() - self._asked_at >= self._again_seconds:
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        """Ask the issuer; what went wrong is kept in `_problem`."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = await self._ask()
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            self._problem = str(exc) or type(exc).__name__
            logger.warning("the signing keys of %s cannot be had: %s", self._issuer, self._problem)
        else:
            self._keys, self._problem, self._got_at = keys, None, time.monotonic()
        finally:
            self._asked_at = time.monotonic()

    async def _ask(self) -> "dict[tuple[str | None, str], PyJWK]":
        url = self._jwks_url
        if url is None:
            where = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            discovered = await _get_object(where)
            if discovered.get("issuer") != self._issuer:
                raise ValueError(f"{where} is of another issuer: {discovered.get('issuer')!r}")
            url = str(discovered.get("jwks_uri"))
            if not is_safe(url):
                raise ValueError(f"{where} names keys at {url!r}, which is not https")
        return usable_keys(await _get_object(url), self._algorithms)


def usable_keys(
    published: Mapping[str, Any], algorithms: tuple[str, ...]
) -> "dict[tuple[str | None, str], PyJWK]":
    """The public keys that sign with one of these algorithms, by id and algorithm.

    Raises:
        ValueError: this is no set of keys.
    """
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    listed = published.get("keys")
    if not isinstance(listed, list):
        raise ValueError(  # noqa: TRY004 - it is what came over the wire that is wrong, not a caller's type
            "what the issuer publishes is no JWKS: it has no `keys`"
        )
    found: dict[tuple[str | None, str], PyJWK] = {}
    for one in listed:
        if not isinstance(one, dict) or not _is_for_checking(one):
            continue
        for algorithm in [one["alg"]] if "alg" in one else algorithms:
            if algorithm not in algorithms:
                continue
            try:
                found[one.get("kid"), algorithm] = PyJWK(one, algorithm)
            except (PyJWTError, KeyError, ValueError, TypeError):
                continue  # a key of another kind than the algorithm's
    return found


def _is_for_checking(key: Mapping[str, Any]) -> bool:
    """Whether it is a public key for signatures. With a shared secret ("oct"), who can check could sign."""
    named = key.get("kid") is None or isinstance(key["kid"], str)
    return named and key.get("kty") != "oct" and "d" not in key and key.get("use", "sig") == "sig"


def is_safe(url: str) -> bool:
    """Whether nobody on the way can change what comes from there."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return False
    return bool(parsed.host) and (
        parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in LOOPBACK)
    )


async def _get_object(url: str) -> dict[str, Any]:
    """A JSON object of bounded size. Raises httpx.HTTPError, ValueError."""
    direct = httpx.URL(url).host in LOOPBACK  # no proxy leads back to this machine
    read = bytearray()
    async with (
        httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False, trust_env=not direct) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"{url} answered {answer.status_code}")
        async for chunk in answer.aiter_bytes():
            read += chunk
            if len(read) > MAX_BYTES:
                raise ValueError(f"{url} answered more than {MAX_BYTES:,} bytes")
    try:
        found = json.loads(read)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{url} answered what is no JSON") from exc
    if not isinstance(found, dict):
        raise ValueError(f"{url} answered what is no JSON object")  # noqa: TRY004 - the same
    return found
