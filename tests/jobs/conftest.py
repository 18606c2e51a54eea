"""The jobs' parts, on a real database and an orchestrator in memory."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retraining.jobs.feed import JobFeed
from retraining.jobs.service import JobService
from retraining.settings import Settings
from retraining.store.database import Database
from tests.databases import clean_postgres, database_url, migrated_file, migrated_postgres
from tests.jobs.models import SmallCatalog
from tests.orchestrator.fake import FakeOrchestrator

__all__ = ["clean_postgres", "database_url", "migrated_file", "migrated_postgres"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, busy_seconds=10)
    yield database
    await database.close()


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


@pytest.fixture
def locked_path(migrated_file: Path, tmp_path: Path) -> Path:
    """The file of a SQLite database that `locked` can lock."""
    return Path(shutil.copy(migrated_file, tmp_path / "locked.db"))


@pytest.fixture
async def sqlite(locked_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{locked_path}", busy_seconds=0.2)
    yield database
    await database.close()
