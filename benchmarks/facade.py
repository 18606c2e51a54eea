"""The facade with a long history: lists and reads, beside a short one and beside Prefect's own API.

python -m benchmarks.facade             1,000,000 jobs on SQLite, on PostgreSQL and in Prefect's database
python -m benchmarks.facade --quick     20,000
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from prefect.events import Event
from prefect.events.clients import PrefectEventsClient

from benchmarks.facade_server import NAMES
from benchmarks.http_calls import Caller
from benchmarks.prefect_history import begin_runs, move_run, prefect_with
from benchmarks.ratio import Line, at_least, at_most, print_lines
from retraining.auth.keys import KeyStore
from retraining.jobs.feed import JobFeed
from retraining.jobs.status import RetrainingStatus
from retraining.jobs.sync import JobSync
from retraining.orchestrator.labels import FLOW_NAME
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.settings import Settings
from retraining.store.database import Database
from tests.api.serving import UNHURRIED
from tests.databases import run_on
from tests.jobs.history import DAY, INDEXES, MODELS, a_day, fill, model
from tests.postgres import postgres_server
from tests.servers import free_port, running

JOBS = "/api/retraining"
IN_A_ROW = 5
"""Requests of one side before it is the other's turn: what a server has at hand, it has at hand for both."""
ROUNDS = 15
PREFECT_ROUNDS = 9
FEW_MODELS = 10
"""Models of the short history: each has enough jobs to fill the same page."""
ONE_MODEL = model(6)
"""One of them, of which jobs have failed in both histories."""
WRITTEN = 20
"""Jobs that are written down in one turn, to find what the indexes cost."""
CALLERS = (1, 8, 32)
CHANGES_A_SECOND = 100
EMITTED_A_SECOND = 110
"""Some more than that, for a machine that falls behind for a moment."""
TICK_SECONDS = 0.1

LISTS: dict[str, dict[str, str]] = {
    "the newest jobs": {},
    "a model's": {"model_name": ONE_MODEL},
    "20 failed": {"status": "failed", "limit": "20"},
    "2 failed of a model": {"model_name": ONE_MODEL, "status": "failed", "limit": "2"},
    "3 cancelled among all": {"status": "cancelled"},
    "3 of performance triggers, cancelled": {"trigger_type": "performance", "status": "cancelled"},
    "no job of a kind that many are of": {"status": "cancelled", "trigger_type": "scheduled"},
}
Ask = Callable[[], Coroutine[Any, Any, object]]


@asynccontextmanager
async def _facade(database_url: str, home: Path, factory: str, prefect: str) -> AsyncIterator[Caller]:
    """A caller of a facade on this database, which runs in a process of its own as `retraining up` has it."""
    database = Database(database_url)
    secret = (await KeyStore(database).create(name="benchmark", scopes=["admin"], shares_name=True)).secret
    await database.close()
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.facade_server:{factory}"),
        *("--host", "127.0.0.1", "--port", str(port), "--no-proxy-headers", "--log-level", "warning"),
    ]
    env = {
        "RETRAINING_HOME": str(home),
        "RETRAINING_DATABASE_URL": database_url,
        "RETRAINING_PREFECT_API_URL": prefect,
        **{f"RETRAINING_{name.upper()}": f"{value}" for name, value in UNHURRIED.items()},
    }
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        serving = running(command, f"{url}/health", home / f"facade-{port}.log", env)
        await asyncio.to_thread(stack.enter_context, serving)
        async with Caller(url, {"Authorization": f"Bearer {secret}"}) as caller:
            yield caller


def _get(caller: Caller, path: str, **query: str | int) -> Ask:
    async def ask() -> None:
        await caller.ask(path, query)

    return ask


async def _seconds(ask: Ask) -> float:
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began


async def _each(ask: Ask) -> float:
    """Seconds of a request: the median of those in a row."""
    return median([await _seconds(ask) for _ in range(IN_A_ROW)])


async def _in_turns(one: Ask, other: Ask, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both sides, and the median of how many times longer the one takes than the other."""
    await one(), await other()
    pairs = [(await _each(one), await _each(other)) for _ in range(rounds)]
    return (
        median(first for first, _ in pairs),
        median(second for _, second in pairs),
        median(first / second for first, second in pairs),
    )


async def _deep(caller: Caller, jobs: int) -> str:
    """A cursor from the middle of the history."""
    answer = await caller.ask(JOBS, {"limit": 1, "offset": jobs // 2})
    return answer.headers["link"].partition("cursor=")[2].partition(">")[0]


async def _any_job(caller: Caller, jobs: int) -> str:
    answer = await caller.ask(JOBS, {"limit": 1, "offset": jobs // 2})
    return f"{answer.json()[0]['id']}"


async def _few_and_many(kind: str, few: str, many: str, jobs: int, home: Path) -> AsyncIterator[Line]:
    """What lists and reads cost with many jobs, in times of what they cost with few."""
    async with (
        _facade(few, home, "alone", "http://prefect.test/api") as small,
        _facade(many, home, "alone", "http://prefect.test/api") as big,
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
            for callers in CALLERS:
                rate = await _per_second([_get(big, path)] * 600, callers)
                name = f"{kind}: {what} a second, {callers} at a time, {jobs:,} jobs, one process"
                yield Line(name, f"{rate:,.0f}")


async def _per_second(work: Sequence[Ask], callers: int) -> float:
    waiting = iter(work)

    async def caller() -> None:
        for ask in waiting:
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
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
        _facade(database, home, "alone", "http://prefect.test/api") as ours,
        Caller(prefect) as peer,
    ):
        job = await _any_job(ours, jobs)
        questions = {"read a job": (_get(ours, f"{JOBS}/{job}"), _get(peer, f"/flow_runs/{job}"))}
        for what, query in LISTS.items():
            if (wanted := _in_prefect(query)) is not None:
                await _must_be_the_same(ours, query, peer, wanted)
                questions[f"list {what}"] = (_get(ours, JOBS, **query), _filter(peer, wanted))
        for what, (ask, ask_peer) in questions.items():
            own, other, ratio = await _in_turns(ask_peer, ask, PREFECT_ROUNDS)
            name = f"{what}: Prefect's API / ours, of {jobs:,} ({1e3 * own:.1f} / {1e3 * other:.1f} ms)"
            yield at_least(name, ratio, 5)


async def _must_be_the_same(
    ours: Caller, query: dict[str, str], peer: Caller, wanted: dict[str, Any]
) -> None:
    """Raise RuntimeError unless both sides answer with the same jobs, and there are any."""
    jobs = (await ours.ask(JOBS, query)).json()
    runs = (await peer.ask("/flow_runs/filter", body=wanted)).json()
    if not jobs or [job["id"] for job in jobs] != [run["id"] for run in runs]:
        raise RuntimeError(f"{query}: {len(jobs)} jobs here, {len(runs)} in Prefect, and not the same")


def _filter(caller: Caller, wanted: dict[str, Any]) -> Ask:
    async def ask() -> None:
        await caller.ask("/flow_runs/filter", body=wanted)

    return ask


async def _index_cost(many: Path, home: Path) -> AsyncIterator[Line]:
    """How much longer it takes to write jobs down for the indexes that make them quick to find."""
    bare = home / "bare.db"
    await asyncio.to_thread(shutil.copyfile, many, bare)
    with_indexes, without = (Database(f"sqlite+aiosqlite:///{path}") for path in (many, bare))
    for index in INDEXES:
        async with without.write() as session:
            await (await session.connection()).run_sync(index.drop)
    own, other, ratio = await _in_turns(_write(with_indexes), _write(without), PREFECT_ROUNDS)
    name = f"SQLite: write a job and its end, with its {len(INDEXES)} indexes / without"
    yield Line(f"{name} ({1e3 * own / WRITTEN:.2f} / {1e3 * other / WRITTEN:.2f} ms)", f"{ratio:.2f} x")
    await with_indexes.close()
    await without.close()


def _write(database: Database) -> Ask:
    async def ask() -> None:
        for job in islice(a_day(MODELS), WRITTEN):
            job.id, job.status = uuid4(), RetrainingStatus.RUNNING
            async with database.write() as session:
                session.add(job)
            job.status = RetrainingStatus.COMPLETED
            async with database.write() as session:
                session.add(job)

    return ask


async def _posts(database: str, home: Path, prefect: str) -> AsyncIterator[Line]:
    """Jobs that are started through the API, on a real Prefect server without a worker."""
    async with _facade(database, home, "on_prefect", prefect) as caller:

        def post(name: str) -> Ask:
            async def ask() -> None:
                await caller.ask(JOBS, body={"model_name": name})

            return ask

        for name in NAMES[:4]:
            await post(name)()  # from now on its deployment is known
        seconds = median([await _seconds(post(name)) for name in NAMES[:4] for _ in range(3)])
        yield Line("start a job, one caller", f"{1e3 * seconds:.0f} ms")
        for callers in CALLERS:
            rate = await _per_second([post(name) for name in NAMES[:4] for _ in range(12)], callers)
            yield Line(f"jobs started a second, {callers} at a time", f"{rate:.0f}")


async def _changes(database_url: str, home: Path, prefect: str, seconds: int) -> AsyncIterator[Line]:
    """State changes in Prefect, and how long after each the facade's log of events has it.

    They are written to Prefect's database with SQL, and told through its events: the server itself would not
    manage as many on a small machine.
    """
    database = Database(database_url)
    settings = Settings(prefect_api_url=prefect, database_url=database_url)
    path = home / "prefect" / "prefect.db"
    runs = await asyncio.to_thread(begin_runs, path, EMITTED_A_SECOND * seconds // 2)
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
    yield at_least("state changes told by Prefect", rate, CHANGES_A_SECOND, "a second")
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
    each = int(EMITTED_A_SECOND * TICK_SECONDS)
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
    async for line in _index_cost(home / "many.db", home):
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
