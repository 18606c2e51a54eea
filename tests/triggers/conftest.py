"""The triggers' parts, on a real database and an orchestrator in memory."""

import pytest

from retraining.store.database import Database
from retraining.triggers.service import TriggerService
from retraining.triggers.sync import TriggerSync
from tests.databases import (
    clean_postgres,
    database,
    database_url,
    locked_path,
    migrated_file,
    migrated_postgres,
    sqlite,
)
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.triggers.models import CATALOG

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
def orchestrator() -> FakeTriggers:
    return FakeTriggers()


@pytest.fixture
def service(database: Database, orchestrator: FakeTriggers) -> TriggerService:
    return TriggerService(database, orchestrator, CATALOG)


@pytest.fixture
def sync(database: Database, orchestrator: FakeTriggers) -> TriggerSync:
    return TriggerSync(database, orchestrator)
