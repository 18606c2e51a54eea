"""Bearer tokens of an OpenID Connect issuer: checked as RFC 8725 asks, and what they say of the caller."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retraining.auth.caller import SCOPES_OF, Caller, Role, Scope
from retraining.auth.errors import InvalidToken
from retraining.auth.signing_keys import SigningKeys
from retraining.settings import Settings

PREFIX = "oidc:"
"""How the names of callers with tokens begin: nobody is taken for the holder of a key of the same name."""
MAX_TOKEN = 16 * 1024
MAX_NAME = 200
ALL_MODELS = "*"


@dataclass(frozen=True)
class TokenPolicy:
    """Which tokens are accepted, and which of their claims say what."""

    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    leeway_seconds: float
    name_claim: str
    access_claim: str
    models_claim: str | None

    @classmethod
    def of(cls, settings: Settings) -> "TokenPolicy | None":
        """As the settings say; None if no issuer is configured."""
        if settings.oidc_issuer is None:
            return None
        return cls(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            algorithms=settings.oidc_algorithms,
            leeway_seconds=settings.oidc_leeway_seconds,
            name_claim=settings.oidc_name_claim,
            access_claim=settings.oidc_access_claim,
            models_claim=settings.oidc_models_claim,
        )


class Tokens:
    """Recognises the callers of one issuer's tokens."""

    def __init__(self, policy: TokenPolicy, keys: SigningKeys) -> None:
        self._policy = policy
        self._keys = keys

    async def authenticate(self, token: str) -> Caller:
        """Whom the token stands for.

        Raises:
            InvalidToken: what is wrong with it.
            IssuerUnavailable: it is signed with a key that is not known yet, and the issuer does not answer.
        """
        return caller_of(await self._claims(token), self._policy)

    async def close(self) -> None:
        """Stop asking the issuer."""
        await self._keys.close()

    async def _claims(self, token: str) -> dict[str, Any]:
        import jwt
        from jwt import exceptions

        policy = self._policy
        if len(token) > MAX_TOKEN:
            raise InvalidToken(f"is longer than {MAX_TOKEN:,} characters")
        try:
            header = jwt.get_unverified_header(token)
        except (exceptions.PyJWTError, ValueError, RecursionError):
            raise InvalidToken("is malformed") from None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in policy.algorithms:
            raise InvalidToken(f"is not signed with one of {', '.join(policy.algorithms)}")
        if key_id is not None and not isinstance(key_id, str):
            raise InvalidToken("is malformed")
        key = await self._keys.find(key_id, algorithm)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[*policy.algorithms],
                audience=[*policy.audience],
                issuer=policy.issuer,
                leeway=policy.leeway_seconds,
                options={"require": ["exp", "iss", "aud"]},
            )
        except exceptions.PyJWTError as exc:
            raise InvalidToken(_said_of(exc)) from None
        except (ValueError, OverflowError, RecursionError):
            raise InvalidToken("is malformed") from None
        return claims


def caller_of(claims: Mapping[str, Any], policy: TokenPolicy) -> Caller:
    """The caller that a checked token's claims describe.

    Words of the access claim that are neither a role nor a scope of ours are other services', and mean
    nothing here. If a claim for models is configured, a token without it opens none, and `*` opens all.

    Raises:
        InvalidToken: it names nobody.
    """
    name = find_claim(claims, policy.name_claim)
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > MAX_NAME:
        raise InvalidToken(f"has no usable name in its claim {policy.name_claim!r}")
    scopes: set[Scope] = set()
    for word in _words(find_claim(claims, policy.access_claim)):
        if word in set(Role):
            scopes |= SCOPES_OF[Role(word)]
        elif word in set(Scope):
            scopes.add(Scope(word))
    models: frozenset[str] | None = None
    if policy.models_claim is not None:
        listed = _words(find_claim(claims, policy.models_claim))
        models = None if ALL_MODELS in listed else frozenset(listed)
    return Caller(f"{PREFIX}{name}", frozenset(scopes), models, credential="token")


def find_claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name, else the one at this path (`realm_access.roles`); None without one."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def _words(claim: object) -> Sequence[str]:
    """A list of words, or one text with blanks or commas between them."""
    if isinstance(claim, str):
        return [word for word in re.split(r"[\s,]+", claim) if word]
    if isinstance(claim, list):
        return [word for word in claim if isinstance(word, str)]
    return []


def _said_of(exc: Exception) -> str:
    """What is wrong, in words that tell its sender, and nothing of what the service expects elsewhere."""
    from jwt import exceptions

    if isinstance(exc, exceptions.MissingRequiredClaimError):
        return f"has no claim {exc.claim!r}"
    words: dict[type[Exception], str] = {
        exceptions.ExpiredSignatureError: "is expired",
        exceptions.ImmatureSignatureError: "is not valid yet",
        exceptions.InvalidAudienceError: "is for another audience",
        exceptions.InvalidIssuerError: "is of another issuer",
        exceptions.InvalidSignatureError: "has a wrong signature",
    }
    return words.get(type(exc), "is malformed")
