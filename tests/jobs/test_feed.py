"""Live status: every event once, in order, however late or slow the reader."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from random import Random
from uuid import UUID, uuid4

import pytest

from retraining.jobs import repository
from retraining.jobs.feed import JobFeed
from retraining.jobs.following import created, job_of
from retraining.jobs.ledger import LOG, JobLedger
from retraining.jobs.records import JobEvent
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun
from retraining.store.database import Database
from tests.jobs.news import START, a_run, ended, progress, started
from tests.jobs.waiting import until


@pytest.fixture
def ledger(database: Database, feed: JobFeed) -> JobLedger:
    return JobLedger(database, feed)


@pytest.fixture
async def elsewhere(database_url: str) -> AsyncIterator[JobLedger]:
    """Another process that writes to the same database."""
    other = Database(database_url, busy_seconds=10)
    yield JobLedger(other, JobFeed(other))
    await other.close()


async def take(events: AsyncIterator[JobEvent], count: int, seconds: float = 15) -> list[JobEvent]:
    taken: list[JobEvent] = []
    async with asyncio.timeout(seconds):
        while len(taken) < count:
            taken.append(await anext(events))
    return taken


async def take_all(events: AsyncIterator[JobEvent], seconds: float = 15) -> list[JobEvent]:
    async with asyncio.timeout(seconds):
        return [event async for event in events]


def words(events: list[JobEvent]) -> list[str]:
    return [str(event.stage or event.status) for event in events]


def looking(feed: JobFeed) -> Callable[[], Awaitable[bool]]:
    """Whether a reader has found the end of the log."""

    async def holds() -> bool:
        return feed._newest > 0

    return holds


def ids(events: list[JobEvent]) -> list[int | None]:
    return [event.id for event in events]


async def a_whole_job(ledger: JobLedger, steps: int = 2) -> JobRun:
    run = a_run()
    await ledger.follow([run, started(run)])
    await ledger.follow([], [progress(run.id, 2 + step, f"step {step}") for step in range(steps)])
    await ledger.follow([ended(started(run))])
    return run


async def test_a_job_is_told_from_its_beginning_to_its_end(feed: JobFeed, ledger: JobLedger) -> None:
    run = await a_whole_job(ledger)
    await a_whole_job(ledger)
    events = await take_all(feed.subscribe(job_id=run.id))
    assert [str(event.status) for event in events] == ["pending", *["running"] * 3, "completed"]
    assert {event.job_id for event in events} == {run.id}


async def test_a_reader_resumes_after_the_last_event_it_has(feed: JobFeed, ledger: JobLedger) -> None:
    run = await a_whole_job(ledger)
    everything = await take_all(feed.subscribe(job_id=run.id))
    for seen in range(len(everything)):
        rest = await take_all(feed.subscribe(after=everything[seen].id, job_id=run.id))
        assert ids(rest) == ids(everything[seen + 1 :])


async def test_live_events_follow_the_history_without_a_seam(feed: JobFeed, ledger: JobLedger) -> None:
    run = a_run()
    await ledger.follow([run, started(run)])
    async with aclosing(feed.subscribe(job_id=run.id)) as events:
        assert words(await take(events, 2)) == ["pending", "running"]
        await ledger.follow([], [progress(run.id, 2, "training")])
        assert words(await take(events, 1)) == ["training"]
        await ledger.follow([ended(started(run))])
        assert [event.status async for event in events] == [RetrainingStatus.COMPLETED]


async def test_without_an_id_all_jobs_are_told_from_now_on(feed: JobFeed, ledger: JobLedger) -> None:
    await a_whole_job(ledger)
    async with aclosing(feed.subscribe()) as events:
        first = asyncio.create_task(take(events, 1))
        await until(looking(feed))
        first_run, second_run = a_run(), a_run()
        await ledger.follow([first_run])
        await ledger.follow([second_run])
        told = [*await first, *await take(events, 1)]
        assert [event.job_id for event in told] == [first_run.id, second_run.id]


async def test_an_id_that_the_log_has_not_reached_means_from_now_on(feed: JobFeed, ledger: JobLedger) -> None:
    """The database was replaced, or the header is made up."""
    await a_whole_job(ledger)
    async with aclosing(feed.subscribe(after=2**62)) as events:
        first = asyncio.create_task(take(events, 1))
        await until(looking(feed))
        run = a_run()
        await ledger.follow([run])
        assert [event.job_id for event in await first] == [run.id]


async def test_a_job_without_events_is_waited_for(feed: JobFeed, ledger: JobLedger) -> None:
    run = a_run()
    events = asyncio.create_task(take_all(feed.subscribe(job_id=run.id)))
    await a_whole_job(ledger)
    await ledger.follow([ended(run)])
    assert [str(event.status) for event in await events] == ["pending", "completed"]


async def test_what_another_process_writes_arrives_within_half_a_second(
    feed: JobFeed, elsewhere: JobLedger
) -> None:
    delays = []
    async with aclosing(feed.subscribe(after=0)) as events:
        for _ in range(5):
            await elsewhere.follow([a_run()])
            written = time.monotonic()
            await take(events, 1)
            delays.append(time.monotonic() - written)
    assert min(delays) < 0.5


async def test_a_slow_reader_delays_nobody_and_misses_nothing(feed: JobFeed, ledger: JobLedger) -> None:
    async with aclosing(feed.subscribe(after=0)) as slow, aclosing(feed.subscribe(after=0)) as quick:
        await ledger.follow([a_run()])
        await take(slow, 1)
        await take(quick, 1)
        await ledger.follow([a_run() for _ in range(300)])
        await take(quick, 300, seconds=5)
        assert len(set(ids(await take(slow, 300)))) == 300


async def test_a_reader_far_behind_reads_the_log_itself(database: Database, ledger: JobLedger) -> None:
    feed = JobFeed(database, kept=10)
    async with aclosing(feed.subscribe(after=0)) as events:
        await ledger.follow([a_run()])
        read = await take(events, 1)
        for _ in range(3):
            await ledger.follow([a_run() for _ in range(250)])
        read += await take(events, 750)
    assert len(set(ids(read))) == 751
    assert ids(read) == sorted(set(ids(read)))  # type: ignore[type-var]


async def test_a_reader_who_comes_from_another_replica_gets_nothing_twice(
    feed: JobFeed, elsewhere: JobLedger, database: Database
) -> None:
    """It has read further than this process has looked."""
    await elsewhere.follow([a_run()])
    async with aclosing(feed.subscribe(after=0)) as events:
        await take(events, 1)  # this process has just looked
    await elsewhere.follow([a_run(), a_run()])
    async with database.session() as session:
        read_elsewhere = await repository.last_event_id(session)
    async with aclosing(feed.subscribe(after=read_elsewhere)) as events:
        first = asyncio.create_task(take(events, 1))
        run = a_run()
        await elsewhere.follow([run])
        assert [event.job_id for event in await first] == [run.id]


async def test_an_event_becomes_visible_only_after_all_before_it(
    feed: JobFeed, database: Database, elsewhere: JobLedger
) -> None:
    """A writer that has its id and not committed yet holds back those who come later."""
    slow, quick = a_run(), a_run()
    async with aclosing(feed.subscribe(after=0)) as events:
        async with database.write(serial=LOG) as session:
            await repository.log(session, [created(job_of(slow, START))])
            await session.flush()
            later = asyncio.create_task(elsewhere.follow([quick]))
            with pytest.raises(TimeoutError):
                await take(events, 1, seconds=0.4)
        await later
    told = await take(feed.subscribe(after=0), 2)
    assert [event.job_id for event in told] == [slow.id, quick.id]


async def test_many_readers_and_writers_lose_and_repeat_nothing(
    database: Database, database_url: str, feed: JobFeed, elsewhere: JobLedger
) -> None:
    """Three writers at once, two of them other processes, and readers that come and go and resume."""
    third = Database(database_url, busy_seconds=10)
    own = Database(database_url, busy_seconds=10)
    ledgers = [JobLedger(own, feed), elsewhere, JobLedger(third, JobFeed(third))]
    last = a_run()

    async def write(ledger: JobLedger, random: Random) -> None:
        for _ in range(25):
            runs = [a_run() for _ in range(random.randint(1, 3))]
            await ledger.follow(runs)
            await ledger.follow([ended(started(run)) for run in runs])

    async def read(random: Random) -> list[int | None]:
        """Everything up to the last job, in connections of a few events each."""
        seen: list[int | None] = [0]
        while True:
            async with aclosing(feed.subscribe(after=seen[-1])) as events:
                for event in await take(events, random.randint(1, 10)):
                    seen.append(event.id)
                    if event.job_id == last.id:
                        return seen[1:]

    readers = [asyncio.create_task(read(Random(number))) for number in range(4)]
    await asyncio.gather(*(write(ledger, Random(9)) for ledger in ledgers))
    await elsewhere.follow([last])
    for _ in range(10):  # for readers that take ten at a time
        await elsewhere.follow([a_run()])
    everything = await asyncio.gather(*readers)
    async with database.session() as session:
        written = await repository.events_after(session, 0, None, 100_000)
    up_to_last = [event.id for event in written][: [event.job_id for event in written].index(last.id) + 1]
    assert len(up_to_last) > 300
    assert all(seen == up_to_last for seen in everything)
    await third.close()
    await own.close()


async def test_reading_alone_holds_no_connection(
    feed: JobFeed, ledger: JobLedger, database: Database
) -> None:
    """Two hundred watch; the database serves others all the same."""
    await ledger.follow([a_run()])
    streams = [feed.subscribe(after=0) for _ in range(200)]
    await asyncio.gather(*(take(stream, 1) for stream in streams))
    waiting = [asyncio.create_task(take(stream, 1)) for stream in streams]
    await ledger.follow([a_run(id=UUID(int=uuid4().int))])
    told = await asyncio.gather(*waiting)
    assert len({event.id for (event,) in told}) == 1
    for stream in streams:
        await stream.aclose()
