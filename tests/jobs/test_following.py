"""A job follows its run: forwards, whatever the order of the news."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.jobs.following import DELETED, created, follow, follow_deletion, job_of
from retraining.jobs.job import RetrainingJob, TriggerType
from retraining.jobs.records import EventKind, JobEvent
from retraining.jobs.status import RetrainingStatus, may_follow
from retraining.orchestrator.values import JobRun, RunEvent
from tests.jobs.news import START, a_run, after, ended, progress, started, steady

RUNNING, COMPLETED = RetrainingStatus.RUNNING, RetrainingStatus.COMPLETED
FAILED, CANCELLED = RetrainingStatus.FAILED, RetrainingStatus.CANCELLED
NOW = after(100)


def job_after(*news: JobRun | RunEvent) -> RetrainingJob:
    """A job that heard this, one after the other."""
    return heard(news)[0]


def heard(news: Any) -> tuple[RetrainingJob, list[JobEvent]]:
    first = next(one for one in news if isinstance(one, JobRun))
    job = job_of(first, NOW)
    events = [created(job)]
    for one in news:
        runs, steps = ([one], []) if isinstance(one, JobRun) else ([], [one])
        events += follow(job, runs, steps, NOW)
    return job, events


# What a job is made of


def test_a_requested_run_keeps_who_asked_and_why() -> None:
    labels = {"triggered_by": "ci", "trigger_type": "manual", "correlation_id": "c-1"}
    job = job_of(a_run(labels=labels, parameters={"iterations": 5}, as_of=START), NOW)
    assert (job.triggered_by, job.trigger_type, job.correlation_id) == ("ci", TriggerType.MANUAL, "c-1")
    assert (job.parameters, job.as_of, job.created_at) == ({"iterations": 5}, START, START)


@pytest.mark.parametrize(
    ("created_by", "labels", "triggered_by", "trigger_type"),
    [
        (None, {}, "prefect", TriggerType.MANUAL),
        (("schedule", "s1"), {}, "schedule:s1", TriggerType.SCHEDULED),
        (("automation", "a1"), {}, "automation:a1", TriggerType.MANUAL),
        (("automation", "a1"), {"trigger_type": "drift"}, "automation:a1", TriggerType.DRIFT),
        (None, {"trigger_type": "whim"}, "prefect", TriggerType.MANUAL),
    ],
)
def test_a_run_from_elsewhere_says_where_it_came_from(
    created_by: tuple[str, str] | None, labels: dict[str, str], triggered_by: str, trigger_type: TriggerType
) -> None:
    job = job_of(a_run(created_by=created_by, labels=labels), NOW)
    assert (job.triggered_by, job.trigger_type) == (triggered_by, trigger_type)


def test_text_that_postgresql_refuses_is_made_storable() -> None:
    run = a_run(parameters={"name\x00": ["\x00", "\ud800"]}, labels={"triggered_by": "a\x00b"})
    job = job_after(run, ended(run, FAILED, message="bad \x00 byte"))
    assert job.parameters == {"name\ufffd": ["\ufffd", "?"]}
    assert (job.triggered_by, job.error_message) == ("a\ufffdb", "bad \ufffd byte")


# Where it is


def test_a_completed_job_has_everything_the_run_says() -> None:
    run = a_run()
    labels = {
        "version_before": "3",
        "version_after": "4",
        "challenger_version": "4",
        "decision": "promoted: better",
        "promoted": "true",
        "mlflow_run_url": "http://mlflow/run",
    }
    job = job_after(run, started(run), ended(started(run), labels=labels))
    assert (job.status, job.started_at, job.completed_at) == (COMPLETED, after(1), after(9))
    assert (job.model_version_before, job.model_version_after, job.challenger_version) == ("3", "4", "4")
    assert (job.promoted, job.decision) == (True, "promoted: better")
    assert (job.mlflow_run_url, job.progress, job.error_message) == ("http://mlflow/run", 1.0, None)


def test_a_refused_challenger_is_a_completed_job_that_promoted_nothing() -> None:
    run = a_run(labels={"promoted": "false"})
    assert job_after(ended(run)).promoted is False


def test_whether_it_promoted_is_unknown_while_it_runs() -> None:
    assert job_after(started(a_run())).promoted is None


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "insufficient training data: 120 rows, needs 500",
            "insufficient training data: 120 rows, needs 500",
        ),
        (None, "failed, and Prefect does not say why"),
    ],
)
def test_a_failed_job_says_why(message: str | None, shown: str) -> None:
    run = a_run()
    job = job_after(run, ended(started(run), FAILED, message=message))
    assert (job.status, job.error_message, job.progress) == (FAILED, shown, None)


def test_a_run_being_cancelled_is_running_with_the_request_noted() -> None:
    run = started(a_run())
    job, events = heard([run, replace(run, cancelling=True)])
    assert (job.status, job.cancel_requested_at) == (RUNNING, NOW)
    assert [event.kind for event in events] == [EventKind.STATE, EventKind.STATE, EventKind.CANCELLING]


@pytest.mark.parametrize("final", [COMPLETED, FAILED, CANCELLED])
@pytest.mark.parametrize("later", list(RetrainingStatus))
def test_nothing_leaves_a_final_status(final: RetrainingStatus, later: RetrainingStatus) -> None:
    """Somebody retries a finished run in Prefect: the job stays what it was."""
    run = ended(started(a_run()), final, message="first")
    job, events = heard([run, replace(run, status=later, completed_at=after(50), message="second")])
    assert (job.status, job.completed_at) == (final, after(9))
    assert job.error_message in {None, "first"}
    assert len(events) == 3


def test_the_progress_of_the_newest_event_counts() -> None:
    run = started(a_run())
    job = job_after(run, progress(run.id, 3, "training", 0.6), progress(run.id, 2, "training", 0.3))
    assert (job.stage, job.progress) == ("training", 0.6)


@pytest.mark.parametrize(("fraction", "shown"), [(-0.5, 0.0), (1.5, 1.0), (None, None)])
def test_progress_stays_between_nothing_and_all(fraction: float | None, shown: float | None) -> None:
    run = started(a_run())
    assert job_after(run, progress(run.id, 2, "evaluating", fraction)).progress == shown


def test_a_deleted_run_ends_its_job_once() -> None:
    job = job_after(started(a_run()))
    (event,) = follow_deletion(job, NOW)
    assert (job.status, job.error_message, job.completed_at) == (CANCELLED, DELETED, NOW)
    assert (event.status, event.message) == (CANCELLED, DELETED)
    assert follow_deletion(job, NOW) == []


def test_updated_at_moves_only_when_something_changed() -> None:
    run = started(a_run())
    job = job_after(run)
    follow(job, [run], (), after(200))
    assert job.updated_at == NOW
    follow(job, [ended(run)], (), after(200))
    assert job.updated_at == after(200)


# What it tells


def test_all_at_once_is_told_in_the_order_of_a_job() -> None:
    run = a_run()
    steps = [progress(run.id, 4, "evaluating"), progress(run.id, 2, "training", 0.5)]
    job = job_of(run, NOW)
    events = follow(job, [ended(started(run))], steps, NOW)
    told = [(event.status, event.stage, event.at) for event in events]
    assert told == [
        (RUNNING, None, after(1)),
        (RUNNING, "training", after(2)),
        (RUNNING, "evaluating", after(4)),
        (COMPLETED, "evaluating", after(9)),
    ]


def test_repeated_news_is_told_under_the_same_name() -> None:
    """The log refuses a second event of the same source: two replicas tell a change once."""
    run = started(a_run())
    step = progress(run.id, 2)
    _, once = heard([run, step, ended(run)])
    _, again = heard([run, step, ended(run)])
    assert [event.source for event in once] == [event.source for event in again]
    assert len({event.source for event in once}) == 4


# Any order


@dataclass(frozen=True)
class Life:
    """A run's snapshots and progress in the order they happened."""

    news: list[JobRun | RunEvent]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    run = a_run(id=uuid4())
    news: list[JobRun | RunEvent] = [run]
    if draw(st.booleans()):
        run = started(run)
        news.append(run)
        seconds = sorted(draw(st.lists(st.integers(2, 7), max_size=4)))
        news += [
            progress(run.id, at, draw(st.sampled_from(["training", "deciding"])), at / 10) for at in seconds
        ]
        if draw(st.booleans()):
            run = replace(run, labels={"version_before": "3", "challenger_version": "4"})
            news.append(run)
        if draw(st.booleans()):
            run = replace(run, cancelling=True)
            news.append(run)
    if draw(st.booleans()):
        status = draw(st.sampled_from([COMPLETED, FAILED, CANCELLED]))
        labels = {**run.labels, "promoted": "false", "decision": "kept"}
        news.append(ended(run, status, message="why", labels=labels))
    return Life(news)


@steady
@given(lives(), st.data())
def test_any_order_and_repetition_ends_in_the_same_job(life: Life, data: st.DataObject) -> None:
    expected, _ = heard(life.news)
    repeated = data.draw(st.lists(st.sampled_from(life.news), max_size=5))
    shuffled = data.draw(st.permutations(life.news + repeated))
    first = next(one for one in shuffled if isinstance(one, JobRun))
    job, events = job_of(first, NOW), []
    while shuffled:
        batch = data.draw(st.integers(1, len(shuffled)))
        now, shuffled = shuffled[:batch], shuffled[batch:]
        runs = [one for one in now if isinstance(one, JobRun)]
        events += follow(job, runs, [one for one in now if isinstance(one, RunEvent)], NOW)
    assert what_counts(job) == what_counts(expected)
    statuses = [event.status for event in events if event.kind is EventKind.STATE]
    assert all(may_follow(earlier, later) for earlier, later in pairwise(statuses))
    assert not any(event.status.final for event in events[:-1]), "nothing is told after the end"


def what_counts(job: RetrainingJob) -> dict[str, Any]:
    """All of a job but when it was written, and a cancel of which the news came after the end."""
    facts = job.model_dump(exclude={"updated_at"})
    if job.status.final:
        del facts["cancel_requested_at"]
    return facts
