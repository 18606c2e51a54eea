"""The same history of jobs in a Prefect server's own database, on SQLite.

Written past the server, with SQL: through its API a million runs would take a day. Each run gets its final
state only, of the three or more that a real one has: less for the server to look through, not more.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient

from retraining.orchestrator.labels import FLOW_NAME
from tests.servers import prefect_server

PATTERN = "the-model-that-the-others-are-copied-from"
FIRST = "SELECT * FROM main.{0} ORDER BY rowid LIMIT 1"
ID = "uuid_of({0})"
RUN = {
    "name": "job.model_name",
    "state_type": "upper(job.status)",
    "state_name": "upper(substr(job.status, 1, 1)) || substr(job.status, 2)",
    "state_timestamp": "job.completed_at",
    "state_id": ID.format("'state' || job.id"),
    "run_count": "1",
    "created": "job.created_at",
    "updated": "job.completed_at",
    "expected_start_time": "job.created_at",
    "next_scheduled_start_time": "NULL",
    "start_time": "job.started_at",
    "end_time": "job.completed_at",
    "total_run_time": "'1970-01-01 00:00:39.000000'",
    "parameters": "json_object('model_name', job.model_name, 'parameters', json(job.parameters))",
    "idempotency_key": "'retraining-' || job.id",
    "deployment_id": "deployment.id",
}


@asynccontextmanager
async def prefect_with(jobs: Path, models: Sequence[str], home: Path) -> AsyncIterator[str]:
    """A server whose history is that of the facade's database `jobs`, and that the models are deployed on."""
    with prefect_server(home) as url:
        await _make_pattern(url)
    await asyncio.to_thread(_fill, home / "prefect.db", jobs, models)
    with prefect_server(home) as url:
        yield url


async def _make_pattern(url: str) -> None:
    """A deployment and one run of it, as the server writes them."""
    async with PrefectClient(url) as client:
        flow_id = await client.create_flow_from_name(FLOW_NAME)
        deployment_id = await client.create_deployment(flow_id, PATTERN, parameters={"model_name": PATTERN})
        await client.create_flow_run_from_deployment(deployment_id)


def _fill(path: Path, jobs: Path, models: Sequence[str]) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "foreign_keys = OFF", "cache_size = -500000"):
        database.execute(f"PRAGMA {pragma}")
    database.create_function("uuid_of", 1, _uuid_of, deterministic=True)
    database.execute("ATTACH ? AS facade", (f"{jobs}",))
    for name in models:
        made = {"id": f"{uuid4()}", "name": name, "parameters": json.dumps({"model_name": name})}
        _copy(database, "deployment", dict.fromkeys(made, "?"), made)
    indexes = database.execute(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
        "AND tbl_name IN ('flow_run', 'flow_run_state')"
    ).fetchall()
    for name, _ in indexes:
        database.execute(f'DROP INDEX "{name}"')
    database.execute("BEGIN")
    source = (
        "facade.retraining_jobs AS job JOIN main.deployment AS deployment ON deployment.name = job.model_name"
    )
    run_id = ID.format("job.id")
    _copy(database, "flow_run", {"id": run_id, **RUN}, source=source)
    state = {
        "id": RUN["state_id"],
        "flow_run_id": run_id,
        "type": RUN["state_type"],
        "name": RUN["state_name"],
        "timestamp": "job.completed_at",
    }
    _copy(database, "flow_run_state", state, source=source)
    for table in ("flow_run", "flow_run_state"):
        database.execute(f"DELETE FROM main.{table} WHERE rowid = 1")  # noqa: S608 - both are ours
    database.execute("COMMIT")
    for _, statement in indexes:
        database.execute(statement)
    database.close()


def begin_runs(database: Path, count: int) -> list[UUID]:
    """So many runs that a worker has taken."""
    runs = [uuid4() for _ in range(count)]
    with _opened(database) as connection:
        now = _moment(datetime.now(UTC))
        for run in runs:
            state = f"{uuid4()}"
            new = {"id": f"{run}", "state_id": state, "idempotency_key": None, "state_type": "PENDING"}
            new |= dict.fromkeys(("created", "updated", "expected_start_time", "state_timestamp"), now)
            new |= {"state_name": "Pending", "run_count": "0", "start_time": None, "end_time": None}
            _copy(connection, "flow_run", dict.fromkeys(new, "?"), new)
            _add_state(connection, run, state, "pending", now)
    return runs


def move_run(database: Path, changes: Iterable[tuple[UUID, str]]) -> list[datetime]:
    """Runs enter states, all in one transaction; when."""
    moments = []
    with _opened(database) as connection:
        for run, word in changes:
            at = datetime.now(UTC)
            state, moment = f"{uuid4()}", _moment(at)
            _add_state(connection, run, state, word, moment)
            connection.execute(
                "UPDATE flow_run SET state_id = ?1, state_type = ?2, state_name = ?3, state_timestamp = ?4, "
                "run_count = 1, start_time = coalesce(start_time, ?4), "
                "end_time = iif(?2 = 'RUNNING', NULL, ?4) WHERE id = ?5",
                (state, word.upper(), word.capitalize(), moment, f"{run}"),
            )
            moments.append(at)
    return moments


def _add_state(connection: sqlite3.Connection, run: UUID, state: str, word: str, moment: str) -> None:
    new = {"id": state, "flow_run_id": f"{run}", "type": word.upper(), "name": word.capitalize()}
    new |= dict.fromkeys(("timestamp", "created", "updated"), moment)
    _copy(connection, "flow_run_state", dict.fromkeys(new, "?"), new)


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """One transaction beside those of the server."""
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


def _copy(
    database: sqlite3.Connection,
    table: str,
    changed: Mapping[str, str],
    values: Mapping[str, str | None] = {},
    source: str | None = None,
) -> None:
    """Copy the table's first row with these columns changed: once, or once for each row of `source`."""
    names = [row[1] for row in database.execute(f"PRAGMA main.table_info({table})")]
    chosen = ", ".join(changed.get(name, f'pattern."{name}"') for name in names)
    tables = f"{source or '(SELECT 1)'} CROSS JOIN ({FIRST.format(table)}) AS pattern"
    columns = ", ".join(f'"{name}"' for name in names)
    database.execute(
        f"INSERT INTO main.{table} ({columns}) SELECT {chosen} FROM {tables}",  # noqa: S608 - all ours
        [values[name] for name in names if name in values],
    )


def _uuid_of(text: str) -> str:
    """A UUID as Prefect writes it: of a job's id the same one, of other words one of their own."""
    return str(UUID(text if len(text) == 32 else md5(text.encode(), usedforsecurity=False).hexdigest()))


def _moment(at: datetime) -> str:
    """A moment as Prefect writes it."""
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"
