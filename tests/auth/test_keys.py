"""Keys in a real database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retraining.auth.caller import Caller, Scope
from retraining.auth.errors import KeyNameTaken, KeyNotFound
from retraining.auth.key import new_key
from retraining.auth.keys import KeyStore
from retraining.errors import StoreUnavailable
from retraining.store.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'keys.db'}", busy_seconds=0.2)
    await database.migrate()
    yield database
    await database.close()


async def test_a_key_authenticates_its_caller(database: Database) -> None:
    keys = KeyStore(database)
    new = await keys.create(name="ci", scopes=[Scope.READ, "trigger"])
    caller = await keys.authenticate(new.secret)
    assert caller is not None
    assert caller == Caller("ci", frozenset({Scope.READ, Scope.TRIGGER}))
    await keys.settle()


async def test_the_database_never_holds_the_secret(database: Database, tmp_path: Path) -> None:
    new = await KeyStore(database).create(name="ci", scopes=["read"])
    await database.close()
    written = _content_of(tmp_path)
    assert new.key.secret_hash.encode() in written
    assert new.secret.split("_")[2].encode() not in written


async def test_nobody_comes_in_with_a_wrong_unknown_or_malformed_key(database: Database) -> None:
    keys = KeyStore(database)
    new = await keys.create(name="ci", scopes=["read"])
    changed = new.secret[:-1] + ("0" if new.secret[-1] != "0" else "1")
    for secret in (changed, new_key("other", ["admin"]).secret, new.key.id, "", "rt_x_y"):
        assert await keys.authenticate(secret) is None


async def test_a_key_is_refused_from_its_expiry_on(database: Database) -> None:
    keys = KeyStore(database)
    new = await keys.create(
        name="ci", scopes=["read"], expires_at=datetime.now(UTC) + timedelta(milliseconds=50)
    )
    assert await keys.authenticate(new.secret) is not None
    while datetime.now(UTC) < new.key.expires_at:  # type: ignore[operator]  # it was given one
        pass
    assert await keys.authenticate(new.secret) is None
    await keys.settle()


async def test_a_revoked_key_is_refused_at_once_and_again_is_harmless(database: Database) -> None:
    keys = KeyStore(database)
    new = await keys.create(name="ci", scopes=["read"])
    assert await keys.authenticate(new.secret) is not None
    revoked = await keys.revoke(new.key.id)
    assert await keys.authenticate(new.secret) is None
    assert (await keys.revoke(new.secret)).revoked_at == revoked.revoked_at
    await keys.settle()


async def test_a_key_revoked_by_another_process_is_refused_within_seconds(database: Database) -> None:
    ours, theirs = KeyStore(database, remembered_seconds=0.05), KeyStore(database)
    new = await ours.create(name="ci", scopes=["read"])
    assert await ours.authenticate(new.secret) is not None
    await ours.settle()
    await theirs.revoke(new.key.id)
    until = datetime.now(UTC) + timedelta(seconds=2)
    while await ours.authenticate(new.secret) is not None:
        assert datetime.now(UTC) < until


async def test_revoking_what_does_not_exist_says_so(database: Database) -> None:
    with pytest.raises(KeyNotFound, match="0123456789ab"):
        await KeyStore(database).revoke("0123456789ab")


async def test_two_usable_keys_of_one_name_are_made_only_on_purpose(database: Database) -> None:
    """Who did what is told by the name alone."""
    keys = KeyStore(database)
    first = await keys.create(name="ci", scopes=["read"])
    with pytest.raises(KeyNameTaken, match="'ci'"):
        await keys.create(name=" ci ", scopes=["admin"])
    second = await keys.create(name="ci", scopes=["read"], shares_name=True)
    for key in (first, second):
        await keys.revoke(key.key.id)
    await keys.create(name="ci", scopes=["read"])


async def test_of_two_makers_of_one_name_at_once_one_is_refused(database: Database) -> None:
    made = await asyncio.gather(
        *(KeyStore(database).create(name="ci", scopes=["read"]) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, KeyNameTaken) for answer in made) == 4


async def test_keys_are_listed_newest_first_with_the_revoked_ones(database: Database) -> None:
    keys = KeyStore(database)
    first = await keys.create(name="first", scopes=["read"])
    second = await keys.create(name="second", scopes=["admin"])
    await keys.revoke(first.key.id)
    listed = await keys.list()
    assert [key.id for key in listed] == [second.key.id, first.key.id]
    assert [key.revoked_at is None for key in listed] == [True, False]


async def test_the_last_use_is_written_at_most_once_a_minute(database: Database) -> None:
    keys = KeyStore(database)
    new = await keys.create(name="ci", scopes=["read"])
    assert (await keys.list())[0].last_used_at is None
    await keys.authenticate(new.secret)
    await keys.settle()
    used = (await keys.list())[0].last_used_at
    assert used is not None
    assert datetime.now(UTC) - used < timedelta(seconds=10)
    for store in (keys, KeyStore(database)):
        await store.authenticate(new.secret)
        await store.settle()
    assert (await keys.list())[0].last_used_at == used


async def test_a_locked_database_neither_fails_nor_delays_an_authentication(
    database: Database, tmp_path: Path
) -> None:
    keys = KeyStore(database)
    new = await keys.create(name="ci", scopes=["read"])
    other = sqlite3.connect(tmp_path / "keys.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert await keys.authenticate(new.secret) is not None
        await keys.settle()  # the write fails in the background, and is tried again with a later request
        with pytest.raises(StoreUnavailable):
            await keys.create(name="another", scopes=["read"])
    finally:
        other.rollback()
        other.close()
    assert (await keys.list())[0].last_used_at is None
    assert await keys.authenticate(new.secret) is not None
    await keys.settle()
    assert (await keys.list())[0].last_used_at is not None


def _content_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())
