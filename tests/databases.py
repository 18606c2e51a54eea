"""Fixtures for the folders that need a database: the same on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from retraining.store.database import Database


async def new_postgres_database(server: str) -> str:
    """Make an empty database on the server; returns its address."""
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(f"{server}/postgres".replace("+asyncpg", ""))
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"{server}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'home' / 'retraining.db'}"
    return await new_postgres_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with its tables."""
    database = Database(database_url, busy_seconds=0.3)
    await database.migrate()
    yield database
    await database.close()
