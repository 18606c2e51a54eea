"""Migrations, on both databases: they give what the tables' classes say, from wherever they start."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import Connection, inspect, text
from sqlmodel import select

from retraining.auth.key import ApiKey
from retraining.errors import SchemaIsNewer, StoreUnavailable
from retraining.jobs.job import RetrainingJob
from retraining.jobs.records import SyncMark
from retraining.store.database import Database
from retraining.store.migration import VERSION_TABLE, differences, downgrade, upgrade
from retraining.store.schema import metadata
from retraining.triggers.trigger import RetrainingTrigger

T = TypeVar("T")
NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)


async def inside(database: Database, work: Callable[[Connection], T]) -> T:
    async with database.write() as session:
        return await (await session.connection()).run_sync(work)


async def run(database: Database, statement: str) -> None:
    await inside(database, lambda connection: connection.execute(text(statement)))


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_migrations_give_what_the_classes_say(database: Database) -> None:
    assert await inside(database, differences) == []
    assert await inside(database, tables) == {*metadata().tables, VERSION_TABLE}


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX ix_retraining_jobs_created_at_id",
        "ALTER TABLE retraining_jobs DROP COLUMN decision",
        "ALTER TABLE retraining_jobs ADD COLUMN surplus INTEGER",
        "CREATE TABLE retraining_surplus (id INTEGER PRIMARY KEY)",
    ],
)
async def test_differences_sees_what_a_migration_forgot(database: Database, change: str) -> None:
    await run(database, change)
    assert await inside(database, differences) != []


async def test_differences_ignores_the_tables_of_a_host_application(database: Database) -> None:
    await run(database, "CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    await run(database, "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    assert await inside(database, differences) == []


async def test_every_migration_can_be_undone_and_done_again(database: Database) -> None:
    await inside(database, lambda connection: downgrade(connection, "base"))
    assert await inside(database, tables) == {VERSION_TABLE}
    await inside(database, upgrade)
    assert await inside(database, differences) == []


async def test_migrating_again_keeps_what_is_there(database: Database) -> None:
    async with database.write() as session:
        session.add(SyncMark(name="a", at=NOW))
    await database.migrate()
    async with database.session() as session:
        assert (await session.exec(select(SyncMark.at))).all() == [NOW]


async def test_jobs_and_triggers_from_before_causes_and_phases_stay(database: Database) -> None:
    """Migration 0002."""
    await inside(database, lambda connection: downgrade(connection, "0001"))
    at = "'2026-05-04 08:00:00'"
    job, trigger = (f"'{uuid4().hex}'" for _ in range(2))
    await run(
        database,
        "INSERT INTO retraining_jobs (id, model_name, status, triggered_by, trigger_type, parameters, "
        f"created_at, updated_at) VALUES ({job}, 'churn', 'completed', 'ci', 'manual', '{{}}', {at}, {at})",
    )
    await run(
        database,
        "INSERT INTO retraining_triggers (id, model_name, trigger_type, trigger_condition, enabled, "
        "created_by, created_at, updated_at) VALUES "
        f"({trigger}, 'churn', 'drift', '{{}}', true, 'ci', {at}, {at})",
    )
    await inside(database, upgrade)
    async with database.session() as session:
        assert (await session.exec(select(RetrainingJob.causes))).all() == [[]]
        shown = select(RetrainingTrigger.phase, RetrainingTrigger.phase_since, RetrainingTrigger.origin)
        assert (await session.exec(shown)).all() == [("live", None, "api")]


async def test_keys_that_could_cancel_every_job_still_can(database: Database) -> None:
    """Migration 0005, there and back."""
    await inside(database, lambda connection: downgrade(connection, "0004"))
    for key_id, scopes in (("old", '["cancel", "read"]'), ("other", '["trigger"]')):
        await run(
            database,
            "INSERT INTO retraining_api_keys (id, name, scopes, secret_hash, created_at) "
            f"VALUES ('{key_id}', 'ci', '{scopes}', '', '2026-05-04 08:00:00')",
        )
    await inside(database, upgrade)
    shown = select(ApiKey.id, ApiKey.scopes, ApiKey.models).order_by(ApiKey.id)
    async with database.session() as session:
        assert (await session.exec(shown)).all() == [
            ("old", ["cancel-any", "read"], None),
            ("other", ["trigger"], None),
        ]
    async with database.write() as session:
        limited = await session.get_one(ApiKey, "other")
        limited.models = ["churn"]
        session.add(limited)
    await inside(database, lambda connection: downgrade(connection, "0004"))
    kept = text("SELECT id, scopes, revoked_at IS NULL FROM retraining_api_keys ORDER BY id")
    found = await inside(database, lambda connection: connection.execute(kept).all())
    assert [(key_id, "cancel-any" in str(scopes), bool(usable)) for key_id, scopes, usable in found] == [
        ("old", False, True),
        ("other", False, False),
    ]


async def test_processes_that_start_at_once_migrate_once(new_database: str) -> None:
    """Connections of their own stand for processes: what orders them is the database."""
    databases = [Database(new_database, busy_seconds=0.05) for _ in range(6)]
    await asyncio.gather(*(database.migrate() for database in databases))
    assert await inside(databases[0], differences) == []
    for database in databases:
        await database.close()


async def test_a_failing_migration_leaves_nothing_behind(new_database: str) -> None:
    database = Database(new_database)
    await database.migrate()
    await inside(database, lambda connection: downgrade(connection, "base"))
    await run(database, "CREATE TABLE retraining_triggers (in_the_way INTEGER)")
    with pytest.raises(Exception, match="already exists") as raised:
        await database.migrate()
    assert not isinstance(raised.value, StoreUnavailable)
    assert await inside(database, tables) == {VERSION_TABLE, "retraining_triggers"}
    await database.close()


async def test_a_database_of_a_newer_release_is_refused(database: Database) -> None:
    await run(database, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(SchemaIsNewer, match="'9999'"):
        await database.migrate()
