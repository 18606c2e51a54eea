"""The facade with a long history: lists and reads, beside a short one and beside Prefect's own API.

python -m benchmarks.facade             1,000,000 jobs on SQLite, on PostgreSQL and in Prefect's database
python -m benchmarks.facade --quick     20,000
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.events import Event
from prefect.events.clients import PrefectEventsClient

from api.app import create_app
from api.facade import Doors
from benchmarks.prefect_history import begin_runs, move_run, prefect_with
from benchmarks.ratio import Line, at_least, at_most, print_lines
from retraining.auth.keys import KeyStore
from retraining.catalog.discovery import Catalog
from retraining.jobs.feed import JobFeed
from retraining.jobs.sync import JobSync
from retraining.orchestrator.labels import FLOW_NAME
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.settings import Settings
from retraining.store.database import Database
from tests.api.models import CHURN
from tests.api.serving import serving
from tests.databases import run_on
from tests.jobs.history import DAY, MODELS, RARE_MODEL, fill, model
from tests.orchestrator.fake import FakeOrchestrator
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.postgres import postgres_server
from tests.registry.fake import FakeRegistry

JOBS = "/api/retraining"
NAMES = [*map(model, range(MODELS)), RARE_MODEL]
ROUNDS = 61
"""One request of each side in turn: they take milliseconds, and the machine does other things as well."""
PREFECT_ROUNDS = 9
FEW_MODELS = 10
"""Models of the short history: each has enough jobs to fill the same page."""
CALLERS = 8
CHANGES_A_SECOND = 100
TICK_SECONDS = 0.1

LISTS: dict[str, dict[str, str]] = {
    "the newest jobs": {},
    "a model's": {"model_name": model(7)},
    "20 failed": {"status": "failed", "limit": "20"},
    "2 failed of a model": {"model_name": model(7), "status": "failed", "limit": "2"},
    "3 cancelled among all": {"status": "cancelled"},
    "3 of performance triggers, cancelled": {"trigger_type": "performance", "status": "cancelled"},
    "no job of a kind that many are of": {"status": "cancelled", "trigger_type": "scheduled"},
}
Ask = Callable[[], Coroutine[Any, Any, object]]


@asynccontextmanager
async def _facade(
    database_url: str, home: Path, doors: Doors, prefect: str
) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of a facade on this database."""
    settings = Settings(home=home, prefect_api_url=prefect, database_url=database_url)
    database = Database(database_url)
    secret = (await KeyStore(database).create(name="benchmark", scopes=["admin"], shares_name=True)).secret
    await database.close()
    headers = {"Authorization": f"Bearer {secret}"}
    async with (
        serving(create_app(settings, doors=doors), seconds=60) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as client,
    ):
        yield client


def _fakes() -> Doors:
    return Doors(
        catalog=Catalog([CHURN]),
        orchestrator=FakeOrchestrator(),
        triggers=FakeTriggers(),
        registry=FakeRegistry(),
    )


def _get(client: httpx.AsyncClient, path: str, **params: str | int) -> Ask:
    async def ask() -> None:
        (await client.get(path, params=params)).raise_for_status()

    return ask


async def _seconds(ask: Ask) -> float:
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began


async def _in_turns(one: Ask, other: Ask, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both sides, and the median of how many times longer the one takes than the other."""
    await one(), await other()
    pairs = [(await _seconds(one), await _seconds(other)) for _ in range(rounds)]
    return (
        median(first for first, _ in pairs),
        median(second for _, second in pairs),
        median(first / second for first, second in pairs),
    )


async def _deep(client: httpx.AsyncClient, jobs: int) -> str:
    """A cursor from the middle of the history."""
    answer = await client.get(JOBS, params={"limit": 1, "offset": jobs // 2})
    return answer.raise_for_status().links["next"]["url"].partition("cursor=")[2]


async def _any_job(client: httpx.AsyncClient, jobs: int) -> str:
    answer = await client.get(JOBS, params={"limit": 1, "offset": jobs // 2})
    return f"{answer.raise_for_status().json()[0]['id']}"


async def _few_and_many(kind: str, few: str, many: str, jobs: int, home: Path) -> AsyncIterator[Line]:
    """What lists and reads cost with many jobs, in times of what they cost with few."""
    async with (
        _facade(few, home, _fakes(), "http://prefect.test/api") as small,
        _facade(many, home, _fakes(), "http://prefect.test/api") as big,
    ):
        questions = {
            f"list {what}": (_get(big, JOBS, **query), _get(small, JOBS, **query))
            for what, query in LISTS.items()
        }
        questions["list from a cursor in the middle"] = (
            _get(big, JOBS, cursor=await _deep(big, jobs)),
            _get(small, JOBS, cursor=await _deep(small, DAY)),
        )
        questions["read a job"] = (
            _get(big, f"{JOBS}/{await _any_job(big, jobs)}"),
            _get(small, f"{JOBS}/{await _any_job(small, DAY)}"),
        )
        for what, (ours, peer) in questions.items():
            own, other, ratio = await _in_turns(ours, peer, ROUNDS)
            name = f"{kind}: {what}, of {jobs:,} / of {DAY:,} jobs ({1e3 * own:.1f} / {1e3 * other:.1f} ms)"
            yield at_most(name, ratio, 1.2)
        half = await _seconds(_get(big, JOBS, offset=jobs // 2))
        yield Line(f"{kind}: list from offset {jobs // 2:,}, which a cursor avoids", f"{1e3 * half:,.0f} ms")
        for what, path in (("lists of 50", JOBS), ("reads of one", f"{JOBS}/{await _any_job(big, jobs)}")):
            rate = await _per_second([_get(big, path)] * 400)
            yield Line(
                f"{kind}: {what} a second, {CALLERS} callers, {jobs:,} jobs, one process", f"{rate:,.0f}"
            )


async def _per_second(work: Sequence[Ask]) -> float:
    waiting = iter(work)

    async def caller() -> None:
        for ask in waiting:
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return len(work) / (time.perf_counter() - began)


def _in_prefect(query: dict[str, str]) -> dict[str, Any] | None:
    """The same list, asked of Prefect; None if it cannot tell."""
    if "trigger_type" in query:
        return None
    wanted: dict[str, Any] = {"sort": "EXPECTED_START_TIME_DESC", "limit": int(query.get("limit", 50))}
    wanted["flows"] = {"name": {"any_": [FLOW_NAME]}}
    if "model_name" in query:
        wanted["deployments"] = {"name": {"any_": [query["model_name"]]}}
    if "status" in query:
        wanted["flow_runs"] = {"state": {"type": {"any_": [query["status"].upper()]}}}
    return wanted


async def _beside_prefect(database: str, jobs: int, home: Path, prefect: str) -> AsyncIterator[Line]:
    """How many times longer Prefect's own API takes for the same."""
    async with (
        _facade(database, home, _fakes(), "http://prefect.test/api") as ours,
        httpx.AsyncClient(base_url=prefect, timeout=120, trust_env=False) as peer,
    ):
        job = await _any_job(ours, jobs)
        questions = {"read a job": (_get(ours, f"{JOBS}/{job}"), _get(peer, f"flow_runs/{job}"))}
        for what, query in LISTS.items():
            if (wanted := _in_prefect(query)) is not None:
                questions[f"list {what}"] = (_get(ours, JOBS, **query), _filter(peer, wanted))
        for what, (ask, ask_peer) in questions.items():
            own, other, ratio = await _in_turns(ask_peer, ask, PREFECT_ROUNDS)
            name = f"{what}: Prefect's API / ours, of {jobs:,} ({1e3 * own:.1f} / {1e3 * other:.1f} ms)"
            yield at_least(name, ratio, 5) if what.startswith("list") else Line(name, f"{ratio:.2f} x")


def _filter(client: httpx.AsyncClient, wanted: dict[str, Any]) -> Ask:
    async def ask() -> None:
        (await client.post("flow_runs/filter", json=wanted)).raise_for_status()

    return ask


async def _posts(database: str, home: Path, prefect: str) -> AsyncIterator[Line]:
    """Jobs that are started through the API, on a real Prefect server without a worker."""
    specs = [CHURN.model_copy(update={"name": name}) for name in NAMES]
    async with _facade(
        database, home, Doors(catalog=Catalog(specs), registry=FakeRegistry()), prefect
    ) as client:

        def post(name: str) -> Ask:
            async def ask() -> None:
                (await client.post(JOBS, json={"model_name": name})).raise_for_status()

            return ask

        for name in NAMES[:4]:
            await post(name)()  # from now on its deployment is known
        seconds = median([await _seconds(post(name)) for name in NAMES[:4] for _ in range(3)])
        yield Line("start a job, one caller", f"{1e3 * seconds:.0f} ms")
        rate = await _per_second([post(name) for name in NAMES[:4] for _ in range(25)])
        yield Line(f"jobs started a second, {CALLERS} callers", f"{rate:.0f}")


async def _changes(database_url: str, home: Path, prefect: str, seconds: int) -> AsyncIterator[Line]:
    """State changes in Prefect, and how long after each the facade's log of events has it.

    They are written to Prefect's database with SQL, and told through its events: the server itself would not
    manage as many on a small machine.
    """
    database = Database(database_url)
    settings = Settings(prefect_api_url=prefect, database_url=database_url)
    path = home / "prefect" / "prefect.db"
    runs = await asyncio.to_thread(begin_runs, path, CHANGES_A_SECOND * seconds // 2)
    async with PrefectOrchestrator(prefect, request_seconds=120) as door:
        feed = JobFeed(database)
        sync = JobSync(database, door, settings, feed)
        await sync.reconcile()
        began = time.perf_counter()
        await sync.reconcile()
        yield Line("one comparison with Prefect, beside its events", f"{time.perf_counter() - began:.2f} s")
        told: dict[tuple[UUID, str], datetime] = {}
        delays: list[float] = []
        async with sync.running(), PrefectEventsClient(api_url=prefect) as events:
            while not sync.live:  # noqa: ASYNC110 - it has no event to wait for
                await asyncio.sleep(0.05)
            hearing = asyncio.create_task(_hear(feed, told, delays, 2 * len(runs)))
            began = time.perf_counter()
            await _tell(path, events, runs, told)
            rate = 2 * len(runs) / (time.perf_counter() - began)
            ended = time.perf_counter()
            async with asyncio.timeout(120):
                await hearing
            behind = time.perf_counter() - ended
    await database.close()
    yield Line(
        "state changes a second told by Prefect",
        f"{rate:.0f}",
        f">= {CHANGES_A_SECOND}",
        rate > 0.95 * CHANGES_A_SECOND,
    )
    yield Line(
        "from a change to the facade's event of it: median, last of a hundred",
        f"{median(delays):.2f} s, {sorted(delays)[-len(delays) // 100]:.2f} s",
    )
    yield at_most("after the last change the facade has caught up in", behind, 1, "s")


async def _hear(
    feed: JobFeed, told: dict[tuple[UUID, str], datetime], delays: list[float], count: int
) -> None:
    async for event in feed.subscribe():
        at = told.pop((event.job_id, str(event.status)), None)
        if at is not None and event.kind == "state":
            delays.append((datetime.now(UTC) - at).total_seconds())
        if len(delays) == count:
            return


async def _tell(
    path: Path, events: PrefectEventsClient, runs: Sequence[UUID], told: dict[tuple[UUID, str], datetime]
) -> None:
    """Every run starts and ends, so many changes a second; a run ends a second after its start."""
    each = int(CHANGES_A_SECOND * TICK_SECONDS)
    late = int(1 / TICK_SECONDS) * each // 2
    order = [(run, "running") for run in runs[:late]]
    for started, ended in zip([*runs[late:], *[None] * late], runs, strict=True):
        order += [
            (run, word) for run, word in ((started, "running"), (ended, "completed")) if run is not None
        ]
    began = time.perf_counter()
    for number, first in enumerate(range(0, len(order), each)):
        some = order[first : first + each]
        moments = await asyncio.to_thread(move_run, path, some)
        for (run, word), at in zip(some, moments, strict=True):
            told[run, word] = at
            await events.emit(_event(run, word, at))
        await asyncio.sleep(max(0.0, began + (number + 1) * TICK_SECONDS - time.perf_counter()))


def _event(run: UUID, word: str, at: datetime) -> Event:
    return Event(
        occurred=at,
        event=f"prefect.flow-run.{word.capitalize()}",
        resource={"prefect.resource.id": f"prefect.flow-run.{run}"},
        related=[
            {
                "prefect.resource.id": f"prefect.flow.{uuid4()}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": FLOW_NAME,
            }
        ],
        payload={"validated_state": {"type": word.upper(), "name": word.capitalize()}},
    )


async def _filled(url: str, jobs: int, models: int = MODELS) -> None:
    database = Database(url)
    began = time.perf_counter()
    await database.migrate()
    await fill(database, jobs, models)
    await database.close()
    print(f"{jobs:,} jobs on {url.partition('+')[0]} in {time.perf_counter() - began:.0f} s", flush=True)


async def _sqlite(home: Path, jobs: int) -> AsyncIterator[Line]:
    few, many = (f"sqlite+aiosqlite:///{home / name}" for name in ("few.db", "many.db"))
    await _filled(few, DAY, FEW_MODELS)
    await _filled(many, jobs)
    async for line in _few_and_many("SQLite", few, many, jobs, home):
        yield line


async def _postgresql(home: Path, jobs: int) -> AsyncIterator[Line]:
    with postgres_server() as server:
        await run_on(f"{server}/postgres", "CREATE DATABASE few", "CREATE DATABASE many")
        await _filled(f"{server}/few", DAY, FEW_MODELS)
        await _filled(f"{server}/many", jobs)
        await run_on(f"{server}/many", "VACUUM ANALYZE")  # as it does by itself, a little later
        async for line in _few_and_many("PostgreSQL", f"{server}/few", f"{server}/many", jobs, home):
            yield line


async def _measure(home: Path, jobs: int, seconds: int) -> AsyncIterator[Line]:
    logging.disable(logging.INFO)  # a line for each request; Prefect's server writes none either
    async for line in _sqlite(home, jobs):
        yield line
    many = f"sqlite+aiosqlite:///{home / 'many.db'}"
    began = time.perf_counter()
    async with prefect_with(home / "many.db", NAMES, home / "prefect") as prefect:
        print(f"{jobs:,} runs in Prefect in {time.perf_counter() - began:.0f} s", flush=True)
        for part in (
            _beside_prefect(many, jobs, home, prefect),
            _changes(many, home, prefect, seconds),
            _posts(many, home, prefect),
        ):
            async for line in part:
                yield line
    async for line in _postgresql(home, jobs):
        yield line


async def _shown(measured: AsyncIterator[Line]) -> list[Line]:
    """All of them; each is shown as it comes, for the whole takes a quarter of an hour."""
    found = []
    async for line in measured:
        print(line, flush=True)
        found.append(line)
    return found


def lines(arguments: Sequence[str] = ()) -> Iterator[Line]:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.facade", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 jobs")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="facade-bench-") as home:
        jobs, seconds = (20_000, 5) if chosen.quick else (chosen.jobs, 30)
        yield from asyncio.run(_shown(_measure(Path(home), jobs, seconds)))


if __name__ == "__main__":
    print_lines([*lines(sys.argv[1:])])
