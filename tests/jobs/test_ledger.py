"""Several processes write what they hear of the same jobs."""

import asyncio
from random import Random

from retraining.jobs.feed import JobFeed
from retraining.jobs.ledger import JobLedger
from retraining.jobs.records import EventKind
from retraining.jobs.status import FINAL, RetrainingStatus
from retraining.orchestrator.values import JobRun, RunEvent
from retraining.store.database import Database
from tests.jobs.looking import jobs, log
from tests.jobs.news import a_run, ended, progress, started
from tests.jobs.test_following import heard, what_counts


async def test_replicas_that_hear_the_same_in_any_order_write_the_same_once(
    database: Database, database_url: str
) -> None:
    """Two processes' connections, each hearing all news of thirty jobs in an order of its own."""
    random = Random(1)
    lives: list[list[JobRun | RunEvent]] = []
    for _ in range(30):
        run = a_run()
        news: list[JobRun | RunEvent] = [run, run := started(run)]
        news += [progress(run.id, at, "training", at / 10) for at in range(2, random.randint(2, 7))]
        if random.random() < 0.8:
            news.append(ended(run, random.choice(sorted(FINAL)), message="why"))
        lives.append(news)
    expected = {}
    for news in lives:
        job, _ = heard(news)
        expected[job.id] = what_counts(job)

    async def replica(store: Database, order: Random) -> None:
        ledger = JobLedger(store, JobFeed(store))
        news = [one for life in lives for one in life] * 2
        order.shuffle(news)
        while news:
            batch, news = news[:17], news[17:]
            steps = [one for one in batch if isinstance(one, RunEvent)]
            unknown = (await ledger.follow([one for one in batch if isinstance(one, JobRun)], steps)).progress
            news += [step for step in steps if step.run_id in unknown]

    other = Database(database_url, busy_seconds=10)
    patient = Database(database_url, busy_seconds=10)
    await asyncio.gather(replica(other, Random(2)), replica(patient, Random(3)))
    await other.close()
    await patient.close()
    assert {job_id: what_counts(job) for job_id, job in (await jobs(database)).items()} == expected
    events = await log(database)
    assert len({event.source for event in events}) == len(events)
    for job_id, facts in expected.items():
        told = [event.status for event in events if event.job_id == job_id and event.kind is EventKind.STATE]
        assert told[0] is RetrainingStatus.PENDING
        assert told[-1] == facts["status"]
        assert len(set(told)) == len(told)
