"""Databases: migrated ones, that a test may fill."""

import pytest

from retraining.audit.log import AuditLog
from retraining.store.database import Database
from tests.databases import (
    clean_postgres,
    database,
    database_url,
    locked_path,
    migrated_file,
    migrated_postgres,
    sqlite,
)

__all__ = [
    "clean_postgres",
    "database",
    "database_url",
    "locked_path",
    "migrated_file",
    "migrated_postgres",
    "sqlite",
]


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database)
