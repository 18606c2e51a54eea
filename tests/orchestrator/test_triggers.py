"""Triggers on a real Prefect server: the runs that it plans, and those that a breach starts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingConcurrencySlot, Running

from retraining.errors import OrchestratorUnavailable
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.evaluations import announce_breach, breach_cause
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.triggers import PrefectTriggers
from retraining.orchestrator.values import RunEvent
from retraining.triggers.calendar import calendar_of, next_runs
from retraining.triggers.cause import find_cause
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition
from retraining.triggers.evaluation import Action, ColumnScore, Evaluation, MetricScore, Outcome
from tests.orchestrator.trigger_world import PrefectTriggerWorld, a_monitor, an_order, schedules, seen
from tests.triggers.evaluating import an_evaluation

T = TypeVar("T")
HOURLY = ScheduledCondition(every="1h")
DRIFTED = ColumnScore(
    column="a b",
    kind="numeric",
    method="psi",
    score=0.5,
    threshold=0.1,
    p_value=None,
    drifted=True,
    reason="",
)
STEADY = DRIFTED.model_copy(update={"column": "c", "score": 0.01, "drifted": False})


async def runs_on(world: PrefectTriggerWorld, flow: str = "retrain") -> list[FlowRun]:
    """The runs of one of the model's deployments."""
    of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[world.ids[flow]]))
    return await world.client.read_flow_runs(flow_run_filter=of_it, limit=200)


async def plan(world: PrefectTriggerWorld, since: datetime, until: datetime, flow: str = "retrain") -> None:
    """Prefect's scheduler looks at the deployment at `since`."""
    await world.client.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": world.ids[flow]},
        json={"start_time": since.isoformat(), "end_time": until.isoformat(), "max_runs": 100},
    )


def due(runs: list[FlowRun]) -> list[datetime]:
    return sorted(run.expected_start_time for run in runs if run.expected_start_time is not None)


def breach(trigger_id: UUID, model: str, **facts: object) -> Evaluation:
    given = {"outcome": Outcome.BREACHED, "action": Action.FIRED, "columns": (DRIFTED, STEADY), **facts}
    return an_evaluation(trigger_id=trigger_id, model_name=model, **given)


async def started_by(stream: AsyncIterator[RunEvent], evaluation: Evaluation) -> RunEvent:
    """The job that the breach started."""
    async with asyncio.timeout(30):
        async for event in stream:
            run = event.run
            if run is not None and run.cause is not None and run.cause.evaluation_id == evaluation.id:
                return event
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("changes_on", ["2027-03-28", "2027-10-31"])
async def test_a_nightly_trigger_runs_once_in_a_night_when_clocks_change(
    prefect_triggers: PrefectTriggerWorld, changes_on: str
) -> None:
    """02:30 in Berlin exists twice, or not at all; whenever Prefect's scheduler looks, it plans one run."""
    world = prefect_triggers
    order = an_order(world.model)
    await world.triggers.put_trigger(order)
    calendar = calendar_of(order.condition, order.created_at)
    night = datetime.fromisoformat(f"{changes_on}T00:00:00+00:00")
    begin, end = night - timedelta(hours=2), night + timedelta(hours=4)

    look = begin
    said: set[datetime] = set()
    while look < end:
        await plan(world, look, end)
        said.update(moment for moment in next_runs(calendar, look, 3) if moment < end)
        look += timedelta(minutes=10, seconds=7)

    planned = [moment for moment in due(await runs_on(world)) if begin <= moment < end]
    assert planned == sorted(said)
    assert len(planned) == 1


@pytest.mark.parametrize(
    "condition",
    [
        ScheduledCondition(cron="30 2 * * *", timezone="Europe/Berlin"),
        ScheduledCondition(cron="*/20 1-3 * * 0", timezone="America/New_York"),
        ScheduledCondition(cron="0 0 1 */2 *"),
        ScheduledCondition(every="36h"),
        ScheduledCondition(every="1h0.5s"),
    ],
    ids=lambda condition: condition.cron or f"every {condition.every}",
)
async def test_the_next_runs_are_those_that_prefect_plans(
    prefect_triggers: PrefectTriggerWorld, condition: ScheduledCondition
) -> None:
    world = prefect_triggers
    order = an_order(world.model, condition)
    await world.triggers.put_trigger(order)
    calendar = calendar_of(condition, order.created_at)
    for since in (datetime(2027, 3, 13, 5, tzinfo=UTC), datetime(2027, 11, 6, 5, tzinfo=UTC)):
        until = since + timedelta(days=300)
        await plan(world, since, until)
        planned = [moment for moment in due(await runs_on(world)) if since < moment < until]

        assert len(planned) >= 3
        assert next_runs(calendar, since, len(planned)) == planned


async def test_a_new_trigger_is_planned_at_once(prefect_triggers: PrefectTriggerWorld) -> None:
    """Prefect itself would look at it within a minute."""
    order = an_order(prefect_triggers.model, HOURLY)
    await prefect_triggers.triggers.put_trigger(order)

    planned = due(await runs_on(prefect_triggers))

    assert planned == next_runs(calendar_of(HOURLY, order.created_at), order.created_at, len(planned))
    assert planned
    [run, *_] = await runs_on(prefect_triggers)
    cause = find_cause(run.parameters["cause"])
    assert cause is not None
    assert (cause.type.value, cause.trigger_id, cause.missed_runs) == (
        "scheduled",
        order.trigger_id,
        "latest",
    )


async def test_a_change_leaves_the_other_triggers_planned(prefect_triggers: PrefectTriggerWorld) -> None:
    """Prefect deletes the planned runs of all triggers, and would plan them anew from when it next looks."""
    world = prefect_triggers
    other, order = an_order(world.model, HOURLY), an_order(world.model)
    await world.triggers.put_trigger(other)
    before = due(await runs_on(world))
    await world.triggers.put_trigger(order)
    for enabled in (False, True, False):
        await world.triggers.set_enabled(order.trigger_id, world.model, enabled=enabled)

    assert due(await runs_on(world)) == before


async def test_nothing_is_planned_for_a_deployment_that_people_paused(
    prefect_triggers: PrefectTriggerWorld,
) -> None:
    await prefect_triggers.client.pause_deployment(prefect_triggers.ids["retrain"])

    await prefect_triggers.triggers.put_trigger(an_order(prefect_triggers.model, HOURLY))

    assert await runs_on(prefect_triggers) == []
    [found] = await schedules(prefect_triggers)
    assert (found.active, found.paused_with_deployment) == (True, True)


async def test_a_removed_trigger_takes_its_waiting_runs_with_it_and_nothing_else(
    prefect_triggers: PrefectTriggerWorld,
) -> None:
    world = prefect_triggers
    long_ago = datetime.now(UTC) - timedelta(hours=4)
    gone, other = [an_order(world.model, HOURLY, created_at=long_ago) for _ in range(2)]
    for order in (gone, other):
        await world.triggers.put_trigger(order)
    await plan(world, long_ago - timedelta(seconds=5), datetime.now(UTC))
    by_trigger: dict[UUID, list[FlowRun]] = {gone.trigger_id: [], other.trigger_id: []}
    for run in sorted(await runs_on(world), key=lambda run: str(run.expected_start_time)):
        cause = find_cause(run.parameters["cause"])
        assert cause is not None
        assert cause.trigger_id is not None
        by_trigger[cause.trigger_id].append(run)
    taken, queued, late, *_ = by_trigger[gone.trigger_id]
    await world.client.set_flow_run_state(taken.id, Running())
    await world.client.set_flow_run_state(
        queued.id, AwaitingConcurrencySlot(scheduled_time=queued.expected_start_time)
    )
    by_hand = await world.client.create_flow_run_from_deployment(world.ids["retrain"])

    await world.triggers.remove_trigger(gone.trigger_id, world.model)

    left = {run.id: run for run in await runs_on(world)}
    waiting = {run.id for run in left.values() if run.state is not None and run.state.is_scheduled()}
    assert due([left[one] for one in waiting - {by_hand.id}]) == due(by_trigger[other.trigger_id])
    assert by_hand.id in waiting
    assert left[taken.id].state_name == "Running"
    for run in (queued, late):
        state = left[run.id].state
        assert state is not None
        assert (state.name, state.message) == ("Cancelled", "its trigger was deleted")


@pytest.mark.parametrize(
    ("condition", "scores"),
    [(None, {"a b": 0.5}), (PerformanceCondition(), {"roc_auc": 0.61})],
    ids=["drift", "performance"],
)
async def test_a_breach_starts_a_job_which_knows_its_cause(
    prefect_triggers: PrefectTriggerWorld,
    door: PrefectOrchestrator,
    condition: PerformanceCondition | None,
    scores: dict[str, float],
) -> None:
    world = prefect_triggers
    order = a_monitor(world.model) if condition is None else an_order(world.model, condition)
    await world.triggers.put_trigger(order)
    metric = MetricScore(
        metric="roc_auc",
        value=0.61,
        low=0.6,
        high=0.62,
        baseline=0.8,
        limit=0.76,
        labels=900,
        estimated=False,
    )
    facts = {"trigger_type": order.condition.trigger_type, "metric": metric if condition else None}
    reason = "{{ 2 }} of 3 \"columns\" <drifted> & 'more' ü"
    async with door.events() as stream:
        evaluation = breach(order.trigger_id, world.model, reason=reason, by="ci", **facts)
        await world.triggers.announce_breach(evaluation)
        run = (await started_by(stream, evaluation)).run

    assert run is not None
    assert run.created_by is not None
    assert run.created_by[0] == "automation"
    cause = run.cause
    assert cause is not None
    assert (cause.type, cause.trigger_id) == (order.condition.trigger_type, order.trigger_id)
    assert (cause.at, cause.by, cause.reason) == (evaluation.at, "ci", reason)
    assert cause.scores == scores


async def test_a_breach_is_announced_once_its_run_is_there(
    prefect_triggers: PrefectTriggerWorld, prefect_api: str
) -> None:
    """Whoever writes next would be in the way of the automation's transaction."""
    world = prefect_triggers
    order = a_monitor(world.model)
    await world.triggers.put_trigger(order)
    evaluation = breach(order.trigger_id, world.model)
    async with PrefectConnection(prefect_api, request_seconds=60) as connection, asyncio.timeout(60):
        await announce_breach(connection, evaluation, seconds=120)

    [run] = await runs_on(world)
    cause = find_cause(run.parameters.get("cause"))
    assert cause is not None
    assert cause.evaluation_id == evaluation.id


async def test_a_breach_that_is_announced_again_starts_nothing_more(
    prefect_triggers: PrefectTriggerWorld, door: PrefectOrchestrator
) -> None:
    world = prefect_triggers
    order = a_monitor(world.model)
    await world.triggers.put_trigger(order)
    one, another = [breach(order.trigger_id, world.model) for _ in range(2)]
    async with door.events() as stream:
        await world.triggers.announce_breach(one)
        await started_by(stream, one)
        for evaluation in (one, one, another):
            await world.triggers.announce_breach(evaluation)
        # Prefect has heard the repetitions before this one.
        await started_by(stream, another)

    causes = [find_cause(run.parameters.get("cause")) for run in await runs_on(world)]
    assert sorted(str(cause.evaluation_id) for cause in causes if cause) == sorted(
        str(evaluation.id) for evaluation in (one, another)
    )


async def test_a_breach_that_prefect_lost_starts_a_run_when_it_is_announced_as_a_new_event(
    prefect_triggers: PrefectTriggerWorld, door: PrefectOrchestrator
) -> None:
    world = prefect_triggers
    order = a_monitor(world.model)
    await world.triggers.put_trigger(order)
    lost = breach(order.trigger_id, world.model)
    async with door.events() as stream:
        for number in range(2):
            await world.triggers.announce_breach(lost, repetition=number)
            await started_by(stream, lost)

    assert len(await runs_on(world)) == 2


async def test_the_cause_names_no_column_that_prefect_would_read_as_a_template() -> None:
    reserved = DRIFTED.model_copy(update={"column": "__prefect_kind"})

    cause = breach_cause(breach(UUID(int=1), "churn", columns=(reserved, DRIFTED)))

    assert cause.scores == {"a b": 0.5}


@pytest.mark.parametrize("step", ["disabled", "put", "removed"])
async def test_checks_that_wait_end_when_their_trigger_is_switched_off(
    prefect_triggers: PrefectTriggerWorld, step: str
) -> None:
    world = prefect_triggers
    long_ago = datetime.now(UTC) - timedelta(hours=4)
    off, other = [
        an_order(world.model, DriftCondition(check_every="1h"), created_at=long_ago) for _ in range(2)
    ]
    for order in (off, other):
        await world.triggers.put_trigger(order)
    await plan(world, long_ago - timedelta(seconds=5), datetime.now(UTC), "monitor")
    for order in (off, other):
        for _ in range(2):
            await world.triggers.start_check(order, as_of=None, report=False, by="ci", correlation_id=None)
    by_trigger: dict[str, list[FlowRun]] = {str(off.trigger_id): [], str(other.trigger_id): []}
    now = datetime.now(UTC)
    for run in await runs_on(world, "monitor"):
        if run.expected_start_time is not None and run.expected_start_time <= now:
            by_trigger[run.parameters["trigger_id"]].append(run)
    ended = by_trigger[str(off.trigger_id)]
    taken, queued = (run for run in ended if not run.auto_scheduled)
    await world.client.set_flow_run_state(taken.id, Running())
    await world.client.set_flow_run_state(
        queued.id, AwaitingConcurrencySlot(scheduled_time=queued.expected_start_time)
    )

    match step:
        case "disabled":
            await world.triggers.set_enabled(off.trigger_id, world.model, enabled=False)
        case "put":
            await world.triggers.put_trigger(replace(off, enabled=False))
        case _:
            await world.triggers.remove_trigger(off.trigger_id, world.model)

    left = {run.id: run for run in await runs_on(world, "monitor")}
    message = f"its trigger was {'deleted' if step == 'removed' else 'disabled'}"
    assert left.pop(taken.id).state_name == "Running"
    for run in ended:
        if run.id != taken.id:
            state = left.pop(run.id).state
            assert state is not None
            assert (state.name, state.message) == ("Cancelled", message)
    assert {run.parameters["trigger_id"] for run in left.values()} == {str(other.trigger_id)}
    assert all(run.state is not None and run.state.is_scheduled() for run in left.values())
    assert {run.id for run in by_trigger[str(other.trigger_id)]} <= left.keys()


async def test_a_disabled_or_another_trigger_starts_nothing(
    prefect_triggers: PrefectTriggerWorld, door: PrefectOrchestrator
) -> None:
    world = prefect_triggers
    silent, loud = a_monitor(world.model, enabled=False), a_monitor(world.model)
    for order in (silent, loud):
        await world.triggers.put_trigger(order)
    heard = breach(loud.trigger_id, world.model)
    async with door.events() as stream:
        await world.triggers.announce_breach(breach(silent.trigger_id, world.model))
        await world.triggers.announce_breach(heard)
        await started_by(stream, heard)

    assert len(await runs_on(world)) == 1


async def test_a_trigger_that_fails_half_way_leaves_nothing_once_it_is_removed(
    prefect_triggers: PrefectTriggerWorld, prefect_api: str
) -> None:
    world = prefect_triggers
    order = a_monitor(world.model)
    async with _CutShort(prefect_api, request_seconds=60) as connection:
        with pytest.raises(OrchestratorUnavailable):
            await PrefectTriggers(connection).put_trigger(order)
    half = await seen(world)

    await world.triggers.remove_trigger(order.trigger_id, world.model)

    assert order.trigger_id in half.automations
    assert half.schedules == []
    assert order.trigger_id not in (await seen(world)).automations


async def test_what_crowds_ask_for_is_asked_for_in_turn(
    prefect_triggers: PrefectTriggerWorld, prefect_api: str
) -> None:
    order = a_monitor(prefect_triggers.model)
    async with _InTurn(prefect_api, request_seconds=60) as connection:
        triggers = PrefectTriggers(connection)
        for one in (order, replace(order, condition=PerformanceCondition(check_every="2h"))):
            await triggers.put_trigger(one)
        await triggers.start_check(order, as_of=None, report=False, by="ci", correlation_id=None)

    put = [f"put the {half} of trigger {order.trigger_id}" for half in ("automation", "schedule")]
    assert connection.asked == [*put, *put, f"start a check of trigger {order.trigger_id}"]


class _InTurn(PrefectConnection):
    """Remembers what had to wait for its turn."""

    def __init__(self, api_url: str, request_seconds: float) -> None:
        super().__init__(api_url, request_seconds=request_seconds)
        self.asked: list[str] = []

    async def ask_in_turn(self, doing: str, request: Callable[[PrefectClient], Awaitable[T]]) -> T:
        self.asked.append(doing)
        return await super().ask_in_turn(doing, request)


class _CutShort(PrefectConnection):
    """Gives up before a schedule is made."""

    async def ask(
        self, doing: str, request: Callable[[PrefectClient], Awaitable[T]], seconds: float | None = None
    ) -> T:
        if doing.startswith("put the schedule"):
            raise OrchestratorUnavailable(doing)
        return await super().ask(doing, request, seconds)


async def test_an_automation_of_a_deployment_that_is_gone_counts_as_gone(
    prefect_triggers: PrefectTriggerWorld,
) -> None:
    """Putting the trigger again has it run the new deployment."""
    world = prefect_triggers
    order = a_monitor(world.model)
    await world.triggers.put_trigger(order)

    await world.client.delete_deployment(world.ids["retrain"])
    await world.deploy("retrain")
    stale = await seen(world)
    await world.triggers.put_trigger(order)

    assert order.trigger_id not in stale.automations
    assert (await seen(world)).automations[order.trigger_id]


async def test_everything_is_seen_page_by_page(
    prefect_triggers: PrefectTriggerWorld, prefect_api: str
) -> None:
    world = prefect_triggers
    orders = [a_monitor(world.model) for _ in range(5)]
    for order in orders:
        await world.triggers.put_trigger(order)
        await world.triggers.keep_evaluation(
            an_evaluation(trigger_id=order.trigger_id, model_name=world.model)
        )

    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        triggers = PrefectTriggers(connection, page_size=2)
        found = await triggers.triggers_seen()
        kept = [one.trigger_id async for one in triggers.kept_evaluations(None)]

    whole = await world.triggers.triggers_seen()
    assert sorted(found.schedules, key=str) == sorted(whole.schedules, key=str)
    assert found.automations == whole.automations
    assert found.deployed_at == whole.deployed_at
    assert kept[:5] == [order.trigger_id for order in reversed(orders)]


async def test_a_check_by_hand_tells_the_monitor_all_that_was_asked(
    prefect_triggers: PrefectTriggerWorld,
) -> None:
    world = prefect_triggers
    order = a_monitor(world.model, enabled=False)
    as_of = datetime(2026, 5, 4, tzinfo=UTC)

    run_id = await world.triggers.start_check(
        order, as_of=as_of, report=True, by="alice", correlation_id="c-1"
    )

    [run] = await runs_on(world, "monitor")
    assert run.id == run_id
    assert run.parameters == {
        "model_name": world.model,
        "trigger_id": str(order.trigger_id),
        "trigger_type": "drift",
        "condition": order.condition.model_dump(mode="json"),
        "enabled": False,
        "as_of": as_of.isoformat(),
        "report": True,
        "by": "alice",
    }
    assert run.labels["retraining.correlation_id"] == "c-1"
