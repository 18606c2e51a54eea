"""The API keys in the database: made, listed, revoked, checked."""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlmodel import col, select, update

from retraining.audit.entry import PRODUCT, Action, Actor, Outcome, entry
from retraining.auth.caller import Caller, Scope
from retraining.auth.errors import KeyNameTaken, KeyNotFound
from retraining.auth.key import ApiKey, NewKey, key_id_of, new_key
from retraining.errors import StoreUnavailable
from retraining.store.database import Database

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS = 2.0
"""How long a key is trusted without looking again: the delay of a revocation made by another process."""
REMEMBERED_KEYS = 1_000
TOUCH_EVERY = timedelta(minutes=1)


class KeyStore:
    """API keys. Every method raises StoreUnavailable if the database does not answer."""

    def __init__(self, database: Database, *, remembered_seconds: float = REMEMBERED_SECONDS) -> None:
        self._database = database
        self._remembered_seconds = remembered_seconds
        self._remembered: dict[str, tuple[ApiKey, float]] = {}
        self._touching: dict[str, asyncio.Task[None]] = {}

    async def create(
        self,
        *,
        name: str,
        scopes: Iterable[Scope | str],
        expires_at: datetime | None = None,
        models: Iterable[str] | None = None,
        shares_name: bool = False,
        by: Actor = PRODUCT,
    ) -> NewKey:
        """Make and keep a key. `shares_name` allows one called like another that can still be used.

        The audit log has it from the same transaction.

        Raises:
            InvalidRequest: as `new_key` does.
            KeyNameTaken.
        """
        new = new_key(name, scopes, expires_at, models)
        facts = {
            "name": new.key.name,
            "scopes": new.key.scopes,
            "models": new.key.models,
            "expires_at": expires_at and expires_at.isoformat(),
        }
        async with self._database.write(serial="keys") as session:
            if not shares_name:
                named_so = await session.exec(select(ApiKey).where(ApiKey.name == new.key.name))
                if any(key.usable(new.key.created_at) for key in named_so):
                    raise KeyNameTaken(new.key.name)
            session.add(new.key.model_copy())
            target, at = f"key {new.key.id}", new.key.created_at
            session.add(entry(by, Action.KEY_CREATE, Outcome.DONE, at, target=target, details=facts))
        return new

    async def list(self) -> list[ApiKey]:
        """All keys, revoked ones too, newest first."""
        async with self._database.session() as session:
            found = await session.exec(select(ApiKey).order_by(col(ApiKey.created_at).desc(), col(ApiKey.id)))
            return list(found.all())

    async def revoke(self, key_id: str, *, by: Actor = PRODUCT) -> ApiKey:
        """Revoke a key by its id, or by the key itself; again changes nothing. Raises KeyNotFound.

        The audit log has it from the same transaction.
        """
        key_id = key_id_of(key_id) or key_id.removeprefix("rt_")
        async with self._database.write() as session:
            key = await session.get(ApiKey, key_id)
            if key is None:
                raise KeyNotFound(key_id)
            if key.revoked_at is None:
                key.revoked_at = at = datetime.now(UTC)
                session.add(key)
                target, facts = f"key {key.id}", {"name": key.name}
                session.add(entry(by, Action.KEY_REVOKE, Outcome.DONE, at, target=target, details=facts))
        self._remembered.pop(key_id, None)
        return key

    async def has_administrator(self) -> bool:
        """Whether some administrator's key can still be used."""
        now = datetime.now(UTC)
        return any(key.usable(now) and key.is_administrators for key in await self.list())

    async def authenticate(self, secret: str) -> Caller | None:
        """Whom this secret stands for, or None if nobody: unknown, wrong, expired or revoked."""
        key_id = key_id_of(secret)
        key = await self._find(key_id) if key_id else None
        now = datetime.now(UTC)
        if key is None or not key.fits(secret) or not key.usable(now):
            return None
        self._touch_later(key, now)
        return key.caller

    async def settle(self) -> None:
        """Wait until the last uses are written, or could not be."""
        await asyncio.gather(*self._touching.values())

    async def _find(self, key_id: str) -> ApiKey | None:
        remembered, until = self._remembered.get(key_id, (None, 0.0))
        if remembered is not None and time.monotonic() < until:
            return remembered
        async with self._database.session() as session:
            key = await session.get(ApiKey, key_id)
        if key is None:
            self._remembered.pop(key_id, None)
            return None
        if len(self._remembered) >= REMEMBERED_KEYS:
            self._remembered.clear()
        self._remembered[key_id] = (key, time.monotonic() + self._remembered_seconds)
        return key

    def _touch_later(self, key: ApiKey, now: datetime) -> None:
        # Beside the request, not in it: a locked database must neither fail nor delay who only reads.
        recent = key.last_used_at is not None and now - key.last_used_at < TOUCH_EVERY
        if recent or key.id in self._touching:
            return
        task = asyncio.create_task(self._touch(key, now))
        self._touching[key.id] = task
        task.add_done_callback(lambda _: self._touching.pop(key.id, None))

    async def _touch(self, key: ApiKey, now: datetime) -> None:
        try:
            async with self._database.write() as session:
                used = update(ApiKey).where(col(ApiKey.id) == key.id).values(last_used_at=now)
                await session.exec(used)
        except StoreUnavailable:
            logger.info("last use of a key not written", extra={"key_id": key.id}, exc_info=True)
            return
        key.last_used_at = now
