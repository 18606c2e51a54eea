"""Asking for jobs, and a database that another process locks."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from retraining.jobs.job import JobSnapshot, RetrainingRequest
from retraining.jobs.service import JobService


async def start(service: JobService, key: str | None = None, by: str = "ci", **fields: Any) -> JobSnapshot:
    """Start a job of `churn`, unless the fields say otherwise."""
    request = RetrainingRequest.model_validate({"model_name": "churn", **fields})
    return await service.start(request, triggered_by=by, correlation_id="c-1", idempotency_key=key)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process writes and does not end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
