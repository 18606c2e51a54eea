"""An API key: its form, its hash and its table."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlmodel import Field

from retraining.auth.caller import Caller, Scope, scopes_named
from retraining.errors import InvalidRequest
from retraining.store.table import JsonObject, Table, UtcDateTime

KEY_PREFIX = "rt_"
RESERVED = ("oidc:", "local user ")
"""How the names of other callers begin, which nobody's key may imitate."""
MAX_MODELS = 200

_FORM = re.compile(r"rt_([0-9a-f]{12})_([0-9a-f]{64})")


class ApiKey(Table, table=True):
    """A key as the database knows it: never the secret, only its hash."""

    __tablename__ = "retraining_api_keys"

    id: str = Field(primary_key=True, max_length=12)
    """The public part of the key, between `rt_` and the secret."""
    name: str = Field(max_length=100)
    scopes: list[str] = Field(sa_type=JsonObject)
    models: list[str] | None = Field(default=None, sa_type=JsonObject)
    """The only models that it opens; None for all."""
    secret_hash: str = Field(max_length=64, repr=False)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Within a minute: not every request is worth a write."""

    def usable(self, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def fits(self, secret: str) -> bool:
        """Whether this is the key's secret, in a time that does not depend on where they differ."""
        return hmac.compare_digest(self.secret_hash, hash_secret(secret))

    @property
    def caller(self) -> Caller:
        """Whom the key stands for."""
        models = None if self.models is None else frozenset(self.models)
        return Caller(self.name, scopes_named(self.scopes), models, credential=f"key {self.id}")

    @property
    def is_administrators(self) -> bool:
        """Whether it opens everything."""
        return self.caller.may(Scope.ADMIN)


@dataclass(frozen=True)
class NewKey:
    """A key just made. `secret` is what the caller sends; it exists nowhere else and is shown once."""

    secret: str = field(repr=False)
    key: ApiKey


def new_key(
    name: str,
    scopes: Iterable[Scope | str],
    expires_at: datetime | None = None,
    models: Iterable[str] | None = None,
) -> NewKey:
    """Make a key with a secret of 256 random bits. `scopes` may name roles, `models` limits it to these.

    Raises:
        InvalidRequest: no name, one over 100 characters or of another kind of caller; no scope or an unknown
            one; a naive or past expiry; no model, too many, or an administrator's key with any.
    """
    now = datetime.now(UTC)
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InvalidRequest("name", "a key needs a name of 1 to 100 printable characters")
    if name.startswith(RESERVED):
        raise InvalidRequest("name", f"a key's name cannot begin with {' or '.join(map(repr, RESERVED))}")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise InvalidRequest("expires_at", "a key expires in the future, at a time with a zone")
    wanted = _checked_scopes(scopes)
    key_id = secrets.token_hex(6)
    secret = f"rt_{key_id}_{secrets.token_hex(32)}"
    key = ApiKey(
        id=key_id,
        name=name,
        scopes=wanted,
        models=_checked_models(models, wanted),
        secret_hash=hash_secret(secret),
        created_at=now,
        expires_at=expires_at,
    )
    return NewKey(secret, key)


def _checked_scopes(scopes: Iterable[Scope | str]) -> list[str]:
    try:
        wanted = scopes_named(scopes)
    except ValueError as exc:
        raise InvalidRequest("scopes", f"a key cannot have this: {exc}") from exc
    if not wanted:
        raise InvalidRequest("scopes", f"a key needs at least one scope of {', '.join(Scope)}")
    return sorted(str(scope) for scope in wanted)


def _checked_models(models: Iterable[str] | None, scopes: list[str]) -> list[str] | None:
    if models is None:
        return None
    wanted = sorted(set(models))
    if not 0 < len(wanted) <= MAX_MODELS or not all(0 < len(name) <= 200 for name in wanted):
        raise InvalidRequest("models", f"a key is limited to 1 to {MAX_MODELS} models, or not at all")
    if Scope.ADMIN in scopes:
        raise InvalidRequest("models", "an administrator's key is not limited to models")
    return wanted


def key_id_of(secret: str) -> str | None:
    """The id inside a secret, or None for something that cannot be a key."""
    form = _FORM.fullmatch(secret)
    return form[1] if form else None


def hash_secret(secret: str) -> str:
    """SHA-256, hexadecimal.

    A slow password hash protects what people choose; 256 random bits cannot be guessed however fast the hash,
    and every request pays for it.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
