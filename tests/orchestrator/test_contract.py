"""What every `Orchestrator` does: the same tests for the fake and for the real door on a real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from retraining.errors import JobAlreadyFinished, JobNotFound, NotDeployed
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun, RunEvent, RunRequest
from tests.orchestrator.world import Ending, World


def ask(world: World, **changes: Any) -> RunRequest:
    given: dict[str, Any] = {
        "model_name": world.model,
        "parameters": {},
        "as_of": None,
        "idempotency_key": uuid4().hex,
    }
    return RunRequest(**given | changes)


async def read(world: World, run_id: UUID) -> JobRun:
    run = await world.orchestrator.read_run(run_id)
    assert run is not None
    return run


async def next_event(stream: AsyncIterator[RunEvent], run_id: UUID, kind: str) -> RunEvent:
    """The next event of this kind about this run."""
    async with asyncio.timeout(10):
        async for event in stream:
            if (event.run_id, event.kind) == (run_id, kind):
                return event
    raise AssertionError("the stream ended")


async def test_a_created_run_waits_and_carries_what_was_asked(world: World) -> None:
    as_of = datetime(1998, 4, 1, tzinfo=UTC)
    labels = {"triggered_by": "alice", "correlation_id": "c-1"}

    created = await world.orchestrator.create_run(
        ask(world, parameters={"max_iter": 50}, as_of=as_of, labels=labels)
    )

    assert created.status is RetrainingStatus.PENDING
    assert created.due
    assert not created.cancelling
    assert created.model_name == world.model
    assert created.parameters == {"max_iter": 50}
    assert created.as_of == as_of
    assert created.labels == labels
    assert created.created_by is None
    assert created.started_at is None
    assert created.completed_at is None
    assert abs(datetime.now(UTC) - created.created_at) < timedelta(seconds=30)
    assert await read(world, created.id) == created


async def test_the_same_idempotency_key_gives_the_same_run(world: World) -> None:
    request = ask(world)

    first = await world.orchestrator.create_run(request)
    second = await world.orchestrator.create_run(request)

    assert second.id == first.id
    assert [run.id for run in await world.orchestrator.active_runs() if run.model_name == world.model] == [
        first.id
    ]


async def test_a_model_without_deployment_is_named(world: World) -> None:
    with pytest.raises(NotDeployed, match="retrain/nothing"):
        await world.orchestrator.create_run(ask(world, model_name="nothing"))


async def test_an_unknown_run_reads_as_none(world: World) -> None:
    assert await world.orchestrator.read_run(uuid4()) is None


async def test_a_run_goes_from_pending_over_running_to_completed(world: World) -> None:
    run = await world.orchestrator.create_run(ask(world))
    await world.start(run.id)
    running = await read(world, run.id)
    await world.end(run.id, "completed")
    completed = await read(world, run.id)

    assert running.status is RetrainingStatus.RUNNING
    assert running.started_at is not None
    assert running.completed_at is None
    assert completed.status is RetrainingStatus.COMPLETED
    assert completed.started_at == running.started_at
    assert completed.completed_at is not None
    assert completed.completed_at >= running.started_at


@pytest.mark.parametrize(
    ("ending", "said", "status", "message"),
    [
        ("failed", "insufficient training data", RetrainingStatus.FAILED, "insufficient training data"),
        (
            "crashed",
            "killed",
            RetrainingStatus.FAILED,
            "the job's process ended unexpectedly: killed",
        ),
        ("cancelled", "by hand", RetrainingStatus.CANCELLED, "by hand"),
    ],
)
async def test_an_ending_keeps_its_reason(
    world: World, ending: Ending, said: str, status: RetrainingStatus, message: str
) -> None:
    run = await world.orchestrator.create_run(ask(world))
    await world.start(run.id)

    await world.end(run.id, ending, said)

    ended = await read(world, run.id)
    assert (ended.status, ended.message) == (status, message)


async def test_a_planned_run_is_not_due_and_not_active(world: World) -> None:
    planned = await world.plan(ahead=timedelta(hours=1))

    assert not (await read(world, planned)).due
    assert planned not in [run.id for run in await world.orchestrator.active_runs()]


async def test_active_runs_are_those_that_wait_and_those_under_way_oldest_first(world: World) -> None:
    waiting, running, done, cancelling = [
        (await world.orchestrator.create_run(ask(world))).id for _ in range(4)
    ]
    await world.start(running)
    await world.start(done)
    await world.end(done, "completed")
    await world.start(cancelling)
    await world.orchestrator.cancel_run(cancelling)

    active = [run.id for run in await world.orchestrator.active_runs() if run.model_name == world.model]

    assert active == [waiting, running, cancelling]


async def test_finished_runs_since_a_moment_leave_out_those_before(world: World) -> None:
    early, late = [(await world.orchestrator.create_run(ask(world))).id for _ in range(2)]
    await world.end(early, "failed", "no data")
    await world.start(late)
    await world.end(late, "completed")
    ended_at = (await read(world, late)).completed_at

    everything = [run.id async for run in world.orchestrator.finished_runs(None) if run.id in {early, late}]
    newer = [run.id async for run in world.orchestrator.finished_runs(ended_at) if run.id in {early, late}]

    assert everything == [late, early]
    assert newer == [late]


async def test_cancelling_a_waiting_run_ends_it_at_once(world: World) -> None:
    run = await world.orchestrator.create_run(ask(world))

    cancelled = await world.orchestrator.cancel_run(run.id)

    assert cancelled.status is RetrainingStatus.CANCELLED
    assert not cancelled.cancelling
    assert cancelled.started_at is None
    assert cancelled.completed_at is not None
    assert await world.orchestrator.cancel_run(run.id) == cancelled


async def test_cancelling_a_running_run_asks_its_worker_and_repeating_it_is_harmless(world: World) -> None:
    run = await world.orchestrator.create_run(ask(world))
    await world.start(run.id)

    first = await world.orchestrator.cancel_run(run.id)
    second = await world.orchestrator.cancel_run(run.id)

    assert (first.status, first.cancelling) == (RetrainingStatus.RUNNING, True)
    assert second == first
    await world.end(run.id, "cancelled")
    assert (await read(world, run.id)).status is RetrainingStatus.CANCELLED


async def test_cancelling_a_finished_run_is_refused(world: World) -> None:
    run = await world.orchestrator.create_run(ask(world))
    await world.start(run.id)
    await world.end(run.id, "completed")

    with pytest.raises(JobAlreadyFinished, match="already completed"):
        await world.orchestrator.cancel_run(run.id)


async def test_cancelling_an_unknown_run_says_so(world: World) -> None:
    with pytest.raises(JobNotFound):
        await world.orchestrator.cancel_run(uuid4())
    with pytest.raises(JobNotFound):
        await world.orchestrator.force_cancelled(uuid4(), "no worker")


async def test_a_run_that_does_not_follow_its_cancellation_can_be_forced(world: World) -> None:
    run = await world.orchestrator.create_run(ask(world))
    await world.start(run.id)
    await world.orchestrator.cancel_run(run.id)

    forced = await world.orchestrator.force_cancelled(run.id, "its worker did not answer within 30 s")

    assert forced.status is RetrainingStatus.CANCELLED
    assert forced.message == "its worker did not answer within 30 s"
    assert not forced.cancelling


async def test_force_leaves_a_finished_run_as_it_is(world: World) -> None:
    run = await world.orchestrator.create_run(ask(world))
    await world.start(run.id)
    await world.end(run.id, "completed")

    assert (await world.orchestrator.force_cancelled(run.id, "too late")).status is RetrainingStatus.COMPLETED


async def test_logs_come_oldest_first_and_page_by_page(world: World) -> None:
    run = await world.orchestrator.create_run(ask(world))
    await world.log(run.id, [f"line {number}" for number in range(5)])

    first = await world.orchestrator.logs(run.id, limit=3, offset=0)
    rest = await world.orchestrator.logs(run.id, limit=3, offset=3)

    assert [line.message for line in [*first, *rest]] == [f"line {number}" for number in range(5)]
    assert first[0].level == "INFO"
    assert first[0].at <= first[1].at
    assert list(await world.orchestrator.logs(uuid4(), limit=3, offset=0)) == []


async def test_the_stream_tells_every_state_and_the_progress(world: World) -> None:
    async with world.orchestrator.events() as stream:
        run = await world.orchestrator.create_run(ask(world))
        created = await next_event(stream, run.id, "state")
        await world.start(run.id)
        started = await next_event(stream, run.id, "state")
        await world.report(run.id, "training", 0.5, "50 of 100 iterations")
        progress = await next_event(stream, run.id, "progress")
        await world.end(run.id, "completed")
        ended = await next_event(stream, run.id, "state")

    states = [event.run.status for event in (created, started, ended) if event.run is not None]
    assert states == [RetrainingStatus.PENDING, RetrainingStatus.RUNNING, RetrainingStatus.COMPLETED]
    assert (progress.stage, progress.fraction, progress.message) == ("training", 0.5, "50 of 100 iterations")
    assert progress.run is None
    assert len({event.event_id for event in (created, started, progress, ended)}) == 4


async def test_the_promotion_lock_of_a_model_excludes_a_second_holder_until_it_is_free(world: World) -> None:
    lock = world.orchestrator.promotion_lock
    held: list[str] = []

    async def promote(name: str) -> None:
        async with lock(world.model):
            held.append(f"{name} in")
            await asyncio.sleep(0)
            held.append(f"{name} out")

    async with lock(world.model):
        waiting = asyncio.create_task(promote("b"))
        async with lock(f"{world.model}-other"):  # another model's lock is free
            held.append("a")
    async with asyncio.timeout(10):
        await waiting

    assert held == ["a", "b in", "b out"]


async def test_the_promotion_lock_is_free_again_after_an_error(world: World) -> None:
    with pytest.raises(ZeroDivisionError):
        async with world.orchestrator.promotion_lock(world.model):
            raise ZeroDivisionError
    async with asyncio.timeout(10), world.orchestrator.promotion_lock(world.model):
        pass


async def test_a_run_has_an_address_for_people(world: World) -> None:
    run_id = uuid4()

    assert world.orchestrator.run_url(run_id).endswith(f"/runs/flow-run/{run_id}")


async def test_ping_is_silent_while_the_server_answers(world: World) -> None:
    await world.orchestrator.ping()
