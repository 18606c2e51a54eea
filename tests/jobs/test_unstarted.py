"""Jobs whose worker died after it had taken them and before it had started a process."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from retraining.jobs.feed import JobFeed
from retraining.jobs.sync import UNSTARTED, JobSync
from retraining.settings import Settings
from retraining.store.database import Database
from tests.orchestrator.fake import FakeOrchestrator


@pytest.mark.parametrize(("ago", "given_back"), [(UNSTARTED, True), (UNSTARTED / 2, False)])
async def test_a_job_that_was_taken_long_ago_is_given_back(
    database: Database,
    orchestrator: FakeOrchestrator,
    settings: Settings,
    feed: JobFeed,
    ago: timedelta,
    given_back: bool,
) -> None:
    """One whose process may still come is not."""
    run = orchestrator.schedule("churn")
    orchestrator.take(run.id)
    orchestrator.runs[run.id] = replace(run, taken_at=datetime.now(UTC) - ago)
    await JobSync(database, orchestrator, settings, feed).reconcile()
    assert (run.id not in orchestrator.taken) is given_back
