"""Fixtures for the folders that need a database: the same on SQLite and on PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from retraining.store.database import Database
from retraining.store.schema import metadata

KINDS = ["sqlite", "postgresql"]


async def run_on(address: str, *statements: str) -> None:
    """Run SQL on a PostgreSQL database."""
    connection = await asyncpg.connect(address.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def empty_postgres(postgres_url: str) -> str:
    """A PostgreSQL database that each test finds empty."""
    asyncio.run(run_on(f"{postgres_url}/postgres", "CREATE DATABASE empty"))
    return f"{postgres_url}/empty"


@pytest.fixture
async def new_postgres(empty_postgres: str) -> str:
    """The address of an empty PostgreSQL database."""
    await run_on(empty_postgres, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return empty_postgres


@pytest.fixture(params=KINDS)
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'home' / 'retraining.db'}"
    address: str = request.getfixturevalue("new_postgres")
    return address


async def _migrate(address: str) -> None:
    database = Database(address)
    await database.migrate()
    await database.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with its tables, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "retraining.db"
    asyncio.run(_migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """A PostgreSQL database with its tables, which each test finds without rows."""
    # Made once for each package that imports this fixture.
    name = f"migrated_{uuid4().hex}"
    asyncio.run(run_on(f"{postgres_url}/postgres", f"CREATE DATABASE {name}"))
    asyncio.run(_migrate(f"{postgres_url}/{name}"))
    return f"{postgres_url}/{name}"


@pytest.fixture
async def clean_postgres(migrated_postgres: str) -> str:
    """The address of a PostgreSQL database with its tables and no rows."""
    unguarded = "SET session_replication_role = replica"  # of the audit log, which refuses to be emptied
    await run_on(migrated_postgres, unguarded, *(f"DELETE FROM {name}" for name in metadata().tables))
    return migrated_postgres


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with its tables and no rows."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "retraining.db")
        return f"sqlite+aiosqlite:///{path}"
    address: str = request.getfixturevalue("clean_postgres")
    return address


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with its tables and no rows."""
    database = Database(database_url, busy_seconds=10)
    yield database
    await database.close()


@pytest.fixture
def locked_path(migrated_file: Path, tmp_path: Path) -> Path:
    """The file of a SQLite database that somebody else may lock."""
    return Path(shutil.copy(migrated_file, tmp_path / "locked.db"))


@pytest.fixture
async def sqlite(locked_path: Path) -> AsyncIterator[Database]:
    """The database in that file, which does not wait long."""
    database = Database(f"sqlite+aiosqlite:///{locked_path}", busy_seconds=0.2)
    yield database
    await database.close()
