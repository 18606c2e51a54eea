"""The door to the database, on real databases."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from retraining.errors import StoreUnavailable
from retraining.jobs.records import SyncMark
from retraining.store.database import Database
from tests.servers import free_port

DROP_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
NOW = datetime(2026, 5, 4, 8, 0, 0, 120_000, tzinfo=UTC)

MARKS = select(SyncMark.name, SyncMark.at).order_by(SyncMark.name)


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "retraining.db"


@pytest.fixture
async def sqlite(sqlite_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{sqlite_path}", busy_seconds=0.3)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
def locked(sqlite: Database, sqlite_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process holds SQLite's write lock."""
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


async def marks(database: Database) -> dict[str, datetime]:
    async with database.session() as session:
        return {mark.name: mark.at for mark in await session.exec(select(SyncMark))}


async def run(session: AsyncSession, statement: str) -> CursorResult[Any]:
    return await (await session.connection()).execute(text(statement))


async def test_write_commits_at_the_end_of_the_block(database: Database) -> None:
    async with database.write() as session:
        session.add(SyncMark(name="a", at=NOW))
    assert await marks(database) == {"a": NOW}


async def test_write_rolls_back_when_the_block_raises(database: Database) -> None:
    async def write_half() -> None:
        async with database.write() as session:
            session.add(SyncMark(name="a", at=NOW))
            await session.flush()
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await write_half()
    assert await marks(database) == {}


async def test_write_rolls_back_when_its_task_is_cancelled(database: Database) -> None:
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with database.write() as session:
            session.add(SyncMark(name="a", at=NOW))
            await session.flush()
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as session:  # the lock is free again
        session.add(SyncMark(name="b", at=NOW))
    assert await marks(database) == {"b": NOW}


async def test_errors_of_the_caller_are_not_called_unavailability(database: Database) -> None:
    async def write_twice() -> None:
        async with database.write() as session:
            session.add(SyncMark(name="a", at=NOW))
            await session.flush()
            await run(session, "INSERT INTO retraining_sync_marks (name, at) VALUES ('a', '2026-01-01')")

    with pytest.raises(IntegrityError):
        await write_twice()
    with pytest.raises(DBAPIError, match="no_such_table"):
        async with database.session() as session:
            await run(session, "SELECT * FROM no_such_table")


async def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    async with database.write() as session:
        session.add(SyncMark(name="a", at=local))
    (at,) = (await marks(database)).values()
    assert (at, at.tzinfo) == (NOW, UTC)


async def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="no time zone"):
        async with database.write() as session:
            session.add(SyncMark(name="a", at=NOW.replace(tzinfo=None)))


async def test_writers_wait_for_each_other_and_lose_nothing(new_database: str, database: Database) -> None:
    """Two processes' worth of connections, twenty writers that read, think and write."""
    other = Database(new_database, busy_seconds=10)
    patient = Database(new_database, busy_seconds=10)
    async with database.write() as session:
        session.add(SyncMark(name="a", at=NOW))

    async def add_a_second(store: Database) -> None:
        async with store.write(serial="marks") as session:
            mark = await session.get(SyncMark, "a")
            assert mark is not None
            mark.at += timedelta(seconds=1)

    await asyncio.gather(*(add_a_second(store) for store in [other, patient] * 10))
    await other.close()
    await patient.close()
    assert await marks(database) == {"a": NOW + timedelta(seconds=20)}


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    async with database.write() as writing:
        writing.add(SyncMark(name="a", at=NOW))
        await writing.flush()
        assert await marks(database) == {}


async def test_a_query_reads_what_was_committed_and_waits_for_no_writer(database: Database) -> None:
    async with database.write() as writing:
        writing.add(SyncMark(name="a", at=NOW))
    async with database.write() as writing:
        writing.add(SyncMark(name="b", at=NOW))
        await writing.flush()
        rows = await asyncio.gather(*(database.read(MARKS) for _ in range(20)))
    assert [[tuple(row) for row in found] for found in rows] == [[("a", NOW)]] * 20
    assert [tuple(row) for row in await database.read(MARKS)] == [("a", NOW), ("b", NOW)]


async def test_a_query_that_is_wrong_is_not_called_unavailability(database: Database) -> None:
    with pytest.raises(DBAPIError, match="no_such_column"):
        await database.read(MARKS.where(text("no_such_column = 1")))
    assert await database.read(MARKS) == []


async def test_ping_passes_on_a_database_that_answers(database: Database) -> None:
    await database.ping()


async def test_a_locked_sqlite_fails_before_anything_is_done(
    sqlite: Database, locked: sqlite3.Connection
) -> None:
    reached = False
    with pytest.raises(StoreUnavailable, match="locked"):
        async with sqlite.write():
            reached = True
    assert not reached
    with pytest.raises(StoreUnavailable, match="locked"):
        await sqlite.ping()
    assert await marks(sqlite) == {}, "reading goes on"
    locked.execute("ROLLBACK")
    await sqlite.ping()


async def test_a_writer_that_takes_too_long_fails_those_behind_it(sqlite: Database) -> None:
    async with sqlite.write():
        with pytest.raises(StoreUnavailable, match="too long"):
            async with sqlite.write():
                raise AssertionError("two writers at once")
    await sqlite.ping()


async def test_a_full_disk_is_unavailability(sqlite: Database) -> None:
    async with sqlite.write() as session:
        pages = (await run(session, "PRAGMA page_count")).scalar_one()

    async def write_much() -> None:
        async with sqlite.write() as session:
            await run(session, f"PRAGMA max_page_count = {pages}")
            session.add_all([SyncMark(name=f"{number}-{'x' * 4000}", at=NOW) for number in range(50)])

    with pytest.raises(StoreUnavailable, match="full"):
        await write_much()
    assert await marks(sqlite) == {}


async def test_a_file_that_is_no_database_is_unavailability(tmp_path: Path) -> None:
    path = tmp_path / "retraining.db"
    path.write_text("this is no database, though it is long enough to have a header" * 20)
    database = Database(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not a database"):
        await database.migrate()
    with pytest.raises(StoreUnavailable, match="not a database"):
        await database.ping()
    await database.close()


async def test_a_folder_that_is_not_there_is_unavailability(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'retraining.db'}")
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await database.ping()
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await database.read(MARKS)
    await database.close()
    # The driver's thread ends by itself, a moment after its connection failed, and wants the loop for that.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 5)


async def test_a_server_that_is_not_there_is_unavailability() -> None:
    database = Database(f"postgresql+asyncpg://retraining@127.0.0.1:{free_port()}/retraining")
    for work in (database.ping, database.migrate):
        with pytest.raises(StoreUnavailable, match="connecting"):
            await work()
    with pytest.raises(StoreUnavailable, match="connecting"):
        await database.read(MARKS)
    await database.close()


async def test_a_database_that_does_not_exist_is_unavailability(postgres_url: str) -> None:
    database = Database(f"{postgres_url}/missing")
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await database.ping()
    await database.close()


@pytest.fixture
async def postgres(new_postgres: str) -> AsyncIterator[Database]:
    database = Database(new_postgres, busy_seconds=0.3)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
async def somebody_else(new_postgres: str) -> AsyncIterator[asyncpg.Connection]:
    """Another connection to the same database."""
    connection = await asyncpg.connect(new_postgres.replace("+asyncpg", ""))
    yield connection
    await connection.close()


async def test_a_table_locked_by_somebody_else_is_unavailability(
    postgres: Database, somebody_else: asyncpg.Connection
) -> None:
    async def write() -> None:
        async with postgres.write() as session:
            session.add(SyncMark(name="a", at=NOW))

    async with somebody_else.transaction():
        await somebody_else.execute("LOCK TABLE retraining_sync_marks")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await write()
    await write()
    assert await marks(postgres) == {"a": NOW}


async def test_connections_that_the_server_dropped_are_replaced(
    postgres: Database, somebody_else: asyncpg.Connection
) -> None:
    await postgres.ping()
    await somebody_else.execute(DROP_CONNECTIONS)
    await postgres.ping()
    await somebody_else.execute(DROP_CONNECTIONS)
    assert await postgres.read(MARKS) == []


async def test_a_connection_lost_in_the_middle_is_unavailability(
    postgres: Database, somebody_else: asyncpg.Connection
) -> None:
    async def lose_it() -> None:
        async with postgres.write() as session:
            session.add(SyncMark(name="a", at=NOW))
            await session.flush()
            await somebody_else.execute(DROP_CONNECTIONS)
            await run(session, "SELECT 1")

    with pytest.raises(StoreUnavailable):
        await lose_it()
    assert await marks(postgres) == {}


@pytest.mark.parametrize(
    "url",
    [
        "mysql+aiomysql://host/name",
        "sqlite:///sync.db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "not a url",
    ],
)
def test_a_database_that_cannot_serve_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="database"):
        Database(url)


async def test_sqlite_is_set_up_for_many_readers_and_safe_commits(sqlite: Database) -> None:
    async with sqlite.session() as session:
        assert (await run(session, "PRAGMA journal_mode")).scalar_one() == "wal"
        assert (await run(session, "PRAGMA synchronous")).scalar_one() == 1
        assert (await run(session, "PRAGMA foreign_keys")).scalar_one() == 1
