"""An API key: its form, its hash and its table."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlmodel import Field

from retraining.auth.caller import Caller, Scope
from retraining.store.table import JsonObject, Table, UtcDateTime

_FORM = re.compile(r"rt_([0-9a-f]{12})_([0-9a-f]{64})")


class ApiKey(Table, table=True):
    """A key as the database knows it: never the secret, only its hash."""

    __tablename__ = "retraining_api_keys"

    id: str = Field(primary_key=True, max_length=12)
    """The public part of the key, between `rt_` and the secret."""
    name: str = Field(max_length=100)
    scopes: list[str] = Field(sa_type=JsonObject)
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
        return Caller.named(self.name, self.scopes)


@dataclass(frozen=True)
class NewKey:
    """A key just made. `secret` is what the caller sends; it exists nowhere else and is shown once."""

    secret: str = field(repr=False)
    key: ApiKey


def new_key(name: str, scopes: Iterable[Scope | str], expires_at: datetime | None = None) -> NewKey:
    """Make a key with a secret of 256 random bits.

    Raises:
        ValueError: no name or a name over 100 characters, no scope or an unknown one, a naive or past expiry.
    """
    now = datetime.now(UTC)
    wanted = sorted({Scope(scope) for scope in scopes})
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise ValueError("a key needs a name of 1 to 100 printable characters")
    if not wanted:
        raise ValueError(f"a key needs at least one scope of {', '.join(Scope)}")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise ValueError("a key expires in the future, at a time with a zone")
    key_id = secrets.token_hex(6)
    secret = f"rt_{key_id}_{secrets.token_hex(32)}"
    key = ApiKey(
        id=key_id,
        name=name.strip(),
        scopes=[str(scope) for scope in wanted],
        secret_hash=hash_secret(secret),
        created_at=now,
        expires_at=expires_at,
    )
    return NewKey(secret, key)


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
