"""The jobs' parts, on a real database and an orchestrator in memory."""

import pytest

from retraining.jobs.feed import JobFeed
from retraining.jobs.service import JobService
from retraining.settings import Settings
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
from tests.jobs.models import SmallCatalog
from tests.orchestrator.fake import FakeOrchestrator

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
def orchestrator() -> FakeOrchestrator:
    return FakeOrchestrator()


@pytest.fixture
def settings() -> Settings:
    return Settings(reconcile_seconds=3_600, cancel_grace_seconds=0.2)


@pytest.fixture
def feed(database: Database) -> JobFeed:
    return JobFeed(database)


@pytest.fixture
def service(
    database: Database, orchestrator: FakeOrchestrator, settings: Settings, feed: JobFeed
) -> JobService:
    return JobService(database, orchestrator, SmallCatalog(), settings, feed)
