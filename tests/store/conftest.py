"""Databases: empty ones, and migrated ones that a test may spoil."""

from collections.abc import AsyncIterator

import pytest

from retraining.store.database import Database
from tests.databases import empty_postgres, new_database, new_postgres

__all__ = ["empty_postgres", "new_database", "new_postgres"]


@pytest.fixture
async def database(new_database: str) -> AsyncIterator[Database]:
    """A database with its tables, just migrated."""
    database = Database(new_database, busy_seconds=10)
    await database.migrate()
    yield database
    await database.close()
