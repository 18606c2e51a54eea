"""The door to the database: sessions, transactions, and one error when it does not answer."""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import from_json
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Row,
    Select,
    create_engine,
    event,
    exc,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from retraining.errors import StoreUnavailable

MIGRATION_SECONDS = 60.0
"""How long a process waits for another one that migrates."""
STALLED_SECONDS = 30.0
"""After this PostgreSQL ends a transaction whose process fell silent, and we stop waiting for an answer."""

READERS = 4
"""Threads that read SQLite: it is the processors that bound how many help."""

Values = Mapping[str, object]
"""What the parameters of a query stand for."""

_SQLITE_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_UNAVAILABLE = _SQLITE_LOCKED | {
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}
_POSTGRES_LOCKED = "55P03"
_POSTGRES_UNAVAILABLE = {
    "08",  # connection
    "25",  # transaction state: read-only, silent for too long
    "40",  # rolled back: deadlock
    "53",  # resources: disk full, too many connections
    "55",  # lock not granted in time
    "57",  # shut down, cancelled
    "58",  # input or output
}


class Database:
    """The facade's database, SQLite or PostgreSQL. Making one opens no connection.

    Every method raises StoreUnavailable if the database is locked, full or not there.
    """

    def __init__(self, url: str, busy_seconds: float = 2.0) -> None:
        """Take `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`; wait `busy_seconds` for a lock.

        Raises:
            ValueError: another kind of database, or an address that is none.
        """
        try:
            self._url = make_url(url)
        except exc.ArgumentError as error:
            raise ValueError(
                "the database's address is no URL like postgresql+asyncpg://host/name"
            ) from error
        self._busy_seconds = busy_seconds
        self._is_sqlite = self._url.drivername == "sqlite+aiosqlite"
        if self._is_sqlite and self._url.database in {None, "", ":memory:"}:
            raise ValueError("a SQLite database needs a file: in memory every connection has its own")
        make_engine = _sqlite_engine if self._is_sqlite else _postgres_engine
        self._engine = make_engine(url, busy_seconds)
        self._reading = (
            _ThreadedReading(self._url, busy_seconds) if self._is_sqlite else _Reading(self._engine)
        )
        self._write_engine = self._engine.execution_options(immediate=True)
        # Writers of other processes poll for SQLite's lock. Those of this one queue here instead, in order.
        self._turn = asyncio.Lock()

    async def migrate(self) -> None:
        """Bring the schema to the newest version; safe when several processes start at once.

        Raises:
            SchemaIsNewer: a newer release migrated this database.
        """
        from retraining.store.migration import upgrade

        deadline = time.monotonic() + MIGRATION_SECONDS
        while True:
            try:
                if self._is_sqlite:
                    await self._prepare_file()
                async with self.write(serial="migration") as session:
                    await (await session.connection()).run_sync(upgrade)
            except StoreUnavailable as error:
                if not _locked(error.__cause__) or time.monotonic() > deadline:
                    raise
            else:
                return

    async def read(self, query: Select[Any], values: Values | None = None) -> Sequence[Row[Any]]:
        """All rows of one query with these values. No writer is waited for.

        For what is asked often: the one way to the database and back is a fraction of what a session costs.
        """
        with _translated("reading"):
            return await self._reading.rows(query, values)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Read. No writer is waited for."""
        async with AsyncSession(self._engine, expire_on_commit=False) as session:
            with _translated("reading"):
                await _begin(session)
                yield session

    @asynccontextmanager
    async def write(self, *, serial: str | None = None) -> AsyncIterator[AsyncSession]:
        """One transaction, committed at the end of the block, rolled back if it raises.

        On SQLite it holds the write lock from its start, so that a locked database fails before anything
        is done. Transactions of the same `serial` run one after the other on PostgreSQL too, each seeing
        what the one before did. Await nothing but the database inside the block.
        """
        async with self._my_turn(), AsyncSession(self._write_engine, expire_on_commit=False) as session:
            with _translated("writing"):
                connection = await _begin(session)
                if serial is not None and not self._is_sqlite:
                    await connection.execute(select(func.pg_advisory_xact_lock(_lock_number(serial))))
                yield session
                await session.commit()

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers and can be written to."""
        async with self.write() as session:
            await (await session.connection()).execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        self._reading.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        if not self._is_sqlite:
            yield
            return
        try:
            async with asyncio.timeout(self._busy_seconds):
                await self._turn.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("writing: other transactions take too long") from error
        try:
            yield
        finally:
            self._turn.release()

    async def _prepare_file(self) -> None:
        """Make the folder and switch the file to a write-ahead log, which it stays in."""
        with _translated("opening"):
            if self._url.database:
                Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
            async with self._engine.connect() as connection:
                raw = (await connection.get_raw_connection()).driver_connection
                assert raw is not None
                with _connecting():  # the driver's own errors: SQLAlchemy would open a transaction
                    await raw.execute("PRAGMA journal_mode = WAL")


class _Reading:
    """Single queries on PostgreSQL: without a transaction, which would be two more round trips."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def rows(self, query: Select[Any], values: Values | None) -> Sequence[Row[Any]]:
        connection = self._engine.connect()
        with _connecting():
            await connection.start()
        try:
            return (await connection.execute(query, values)).all()
        finally:
            await connection.close()

    def close(self) -> None:
        """The engine is the database's."""


class _ThreadedReading:
    """Single queries on SQLite, each whole in a thread.

    A session hands every step of it, from opening the transaction to closing the cursor, to another thread
    and waits: nine times what the query itself takes.
    """

    def __init__(self, url: URL, busy_seconds: float) -> None:
        arguments = {"timeout": busy_seconds, "check_same_thread": False}
        self._engine = create_engine(
            url.set(drivername="sqlite"),
            connect_args=arguments,
            pool_size=READERS,
            pool_timeout=busy_seconds,
            json_deserializer=from_json,  # in a third of the time
        )
        _set_up_sqlite(self._engine)  # and no transaction is begun: a query alone sees one state of the file
        self._threads = ThreadPoolExecutor(READERS, "sqlite-reader")

    async def rows(self, query: Select[Any], values: Values | None) -> Sequence[Row[Any]]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._rows, query, values)

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        self._engine.dispose()

    def _rows(self, query: Select[Any], values: Values | None) -> Sequence[Row[Any]]:
        with _connecting():
            connection = self._engine.connect()
        with connection:
            return connection.execute(query, values).all()


def _sqlite_engine(url: str, busy_seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        url, connect_args={"timeout": busy_seconds}, pool_size=10, max_overflow=20, pool_timeout=busy_seconds
    )
    _set_up_sqlite(engine.sync_engine)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once if another wrote in between.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _set_up_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # Python's driver begins transactions late and in its own way.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        # With a write-ahead log a power cut may lose the last commits and never damages the file; Prefect
        # still knows what was lost.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()


def _postgres_engine(url: str, busy_seconds: float) -> AsyncEngine:
    if make_url(url).drivername != "postgresql+asyncpg":
        raise ValueError("the database is sqlite+aiosqlite or postgresql+asyncpg")
    return create_async_engine(
        url,
        connect_args={
            "timeout": busy_seconds,
            "command_timeout": STALLED_SECONDS,
            "server_settings": {
                "application_name": "retraining",
                "lock_timeout": str(int(busy_seconds * 1000)),
                "idle_in_transaction_session_timeout": str(int(STALLED_SECONDS * 1000)),
            },
        },
        pool_size=10,
        max_overflow=20,
        pool_timeout=busy_seconds,
        pool_pre_ping=True,
    )


async def _begin(session: AsyncSession) -> AsyncConnection:
    with _connecting():
        return await session.connection()


@contextmanager
def _connecting() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Whatever it is, from a refused connection to a wrong password: there is no database to work with.
        raise StoreUnavailable(f"connecting: {_reason(error)}") from error


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, TimeoutError) as error:
        if isinstance(error, exc.DBAPIError) and not _unavailable(error):
            raise
        raise StoreUnavailable(f"{doing}: {_reason(error)}") from error


def _unavailable(error: exc.DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) in _SQLITE_UNAVAILABLE
    return str(getattr(error.orig, "sqlstate", ""))[:2] in _POSTGRES_UNAVAILABLE


def _locked(error: BaseException | None) -> bool:
    if isinstance(error, TimeoutError):
        return True
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in _SQLITE_LOCKED
    return getattr(cause, "sqlstate", None) == _POSTGRES_LOCKED


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more about the same


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return str(cause) or type(cause).__name__


def _lock_number(word: str) -> int:
    """The number of an advisory lock; PostgreSQL's locks have no names."""
    digest = hashlib.sha256(f"retraining:{word}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
