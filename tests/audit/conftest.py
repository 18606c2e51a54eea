"""Databases: migrated ones, that a test may fill."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retraining.audit.log import AuditLog
from retraining.store.database import Database
from tests.databases import clean_postgres, database_url, migrated_file, migrated_postgres

__all__ = ["clean_postgres", "database_url", "migrated_file", "migrated_postgres"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with its tables and no rows."""
    database = Database(database_url, busy_seconds=10)
    yield database
    await database.close()


@pytest.fixture
def sqlite_file(migrated_file: Path, tmp_path: Path) -> Path:
    """A SQLite database that a test may lock."""
    return Path(shutil.copy(migrated_file, tmp_path / "audit.db"))


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database)
