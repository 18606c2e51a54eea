"""What every `TriggerOrchestrator` does: the same tests for the fake and for the door on a real server."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from retraining.errors import NotDeployed, TriggerNotFound
from retraining.jobs.job import TriggerType
from retraining.orchestrator.values import TriggerOrder
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition
from retraining.triggers.evaluation import Evaluation
from tests.orchestrator.trigger_world import TriggerWorld, a_monitor, an_order, schedules, seen
from tests.triggers.evaluating import an_evaluation


def evaluated(order: TriggerOrder) -> Evaluation:
    return an_evaluation(trigger_id=order.trigger_id, model_name=order.model_name)


async def test_a_scheduled_trigger_is_a_schedule_with_its_calendar(triggers: TriggerWorld) -> None:
    order = an_order(triggers.model)

    await triggers.triggers.put_trigger(order)

    [schedule] = await schedules(triggers)
    assert schedule.trigger_id == order.trigger_id
    assert schedule.condition == {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    assert schedule.active
    assert order.trigger_id not in (await seen(triggers)).automations


@pytest.mark.parametrize(
    "condition",
    [
        ScheduledCondition(every="90m"),
        DriftCondition(check_every="90m"),
        PerformanceCondition(check_every="1h30m"),
    ],
)
async def test_an_interval_counts_from_the_triggers_creation(
    triggers: TriggerWorld, condition: ScheduledCondition
) -> None:
    created_at = datetime(2026, 5, 4, 8, 15, 30, 250_000, tzinfo=UTC)

    await triggers.triggers.put_trigger(an_order(triggers.model, condition, created_at=created_at))

    [schedule] = await schedules(triggers)
    assert schedule.condition == {"every": "1h30m", "anchor": "2026-05-04T08:15:30+00:00"}


async def test_a_monitor_has_a_schedule_and_an_automation(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)

    await triggers.triggers.put_trigger(order)

    assert [one.trigger_id for one in await schedules(triggers)] == [order.trigger_id]
    assert (await seen(triggers)).automations[order.trigger_id]


async def test_putting_a_trigger_again_changes_nothing(triggers: TriggerWorld) -> None:
    orders = [an_order(triggers.model), a_monitor(triggers.model)]
    for order in orders:
        await triggers.triggers.put_trigger(order)
    before = await seen(triggers)

    for order in orders:
        await triggers.triggers.put_trigger(order)

    after = await seen(triggers)
    assert sorted(after.schedules, key=str) == sorted(before.schedules, key=str)
    assert after.deployed_at == before.deployed_at


async def test_a_changed_trigger_keeps_its_schedule(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)
    await triggers.triggers.put_trigger(order)
    [before] = await schedules(triggers)

    hourly = replace(order, condition=DriftCondition(check_every="1h"), enabled=False)
    await triggers.triggers.put_trigger(hourly)

    [after] = await schedules(triggers)
    assert after.schedule_id == before.schedule_id
    assert after.condition["every"] == "1h"
    assert not after.active
    assert not (await seen(triggers)).automations[order.trigger_id]


async def test_several_triggers_of_a_model_stand_side_by_side(triggers: TriggerWorld) -> None:
    orders = [an_order(triggers.model), an_order(triggers.model), a_monitor(triggers.model)]
    for order in orders:
        await triggers.triggers.put_trigger(order)

    await triggers.triggers.remove_trigger(orders[0].trigger_id, triggers.model)

    left = {one.trigger_id for one in await schedules(triggers)}
    assert left == {order.trigger_id for order in orders[1:]}


async def test_a_removed_trigger_leaves_nothing_and_can_be_removed_again(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)
    await triggers.triggers.put_trigger(order)

    await triggers.triggers.remove_trigger(order.trigger_id, triggers.model)
    await triggers.triggers.remove_trigger(order.trigger_id, triggers.model)
    await triggers.triggers.remove_trigger(uuid4(), "a model that nobody deployed")

    assert await schedules(triggers) == []
    assert order.trigger_id not in (await seen(triggers)).automations


async def test_a_trigger_is_paused_and_resumed(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)
    await triggers.triggers.put_trigger(order)
    found = []

    for enabled in (False, True):
        await triggers.triggers.set_enabled(order.trigger_id, triggers.model, enabled=enabled)
        [schedule] = await schedules(triggers)
        found.append((schedule.active, (await seen(triggers)).automations[order.trigger_id]))

    assert found == [(False, False), (True, True)]


async def test_only_a_trigger_that_is_there_and_not_paused_is_enabled(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)
    found = [await triggers.triggers.is_enabled(order.trigger_id)]

    await triggers.triggers.put_trigger(order)
    found.append(await triggers.triggers.is_enabled(order.trigger_id))
    for enabled in (False, True):
        await triggers.triggers.set_enabled(order.trigger_id, triggers.model, enabled=enabled)
        found.append(await triggers.triggers.is_enabled(order.trigger_id))
    await triggers.triggers.remove_trigger(order.trigger_id, triggers.model)
    found.append(await triggers.triggers.is_enabled(order.trigger_id))

    assert found == [False, True, False, True, False]


async def test_an_unknown_trigger_cannot_be_paused(triggers: TriggerWorld) -> None:
    with pytest.raises(TriggerNotFound):
        await triggers.triggers.set_enabled(uuid4(), triggers.model, enabled=False)


async def test_a_model_without_deployments_is_named_and_gets_nothing(triggers: TriggerWorld) -> None:
    order = a_monitor("nothing")

    with pytest.raises(NotDeployed, match="nothing"):
        await triggers.triggers.put_trigger(order)
    with pytest.raises(NotDeployed, match="retrain/nothing"):
        await triggers.triggers.put_trigger(an_order("nothing"))
    with pytest.raises(NotDeployed, match="monitor/nothing"):
        await triggers.triggers.start_check(order, as_of=None, report=False, by="ci", correlation_id=None)

    assert order.trigger_id not in (await seen(triggers)).automations


async def test_a_schedule_that_people_made_is_seen_paused_and_removed(triggers: TriggerWorld) -> None:
    theirs = await triggers.add_schedule("0 6 * * 1", "UTC")
    [made] = await schedules(triggers)

    await triggers.triggers.set_enabled(theirs, triggers.model, enabled=False)
    [paused] = await schedules(triggers)
    await triggers.triggers.remove_trigger(theirs, triggers.model)

    assert (made.schedule_id, made.trigger_id, made.active) == (theirs, None, True)
    assert made.condition == {"cron": "0 6 * * 1", "timezone": "UTC"}
    assert not paused.active
    assert await schedules(triggers) == []


async def test_a_deletion_by_hand_is_told_from_a_new_deployment(triggers: TriggerWorld) -> None:
    """Deploying drops the schedules too, and shows in the deployments' time."""
    order, other = an_order(triggers.model), a_monitor(triggers.model)
    await triggers.triggers.put_trigger(order)
    await triggers.triggers.put_trigger(other)
    before = await seen(triggers)
    [schedule] = [one for one in before.schedules if one.trigger_id == order.trigger_id]

    await triggers.delete_schedule(schedule)
    deleted = await seen(triggers)
    await triggers.deploy_again()
    deployed = await seen(triggers)

    assert [one.trigger_id for one in deleted.schedules] == [other.trigger_id]
    assert deleted.deployed_at == before.deployed_at
    assert deployed.schedules == []
    assert deployed.automations[other.trigger_id], "automations do not belong to the deployment"
    assert set(deployed.deployed_at) == {f"retrain/{triggers.model}", f"monitor/{triggers.model}"}
    assert all(deployed.deployed_at[name] > before.deployed_at[name] for name in before.deployed_at)


async def test_a_trigger_lost_by_a_deployment_is_put_back(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)
    await triggers.triggers.put_trigger(order)
    await triggers.deploy_again()

    await triggers.triggers.put_trigger(order)

    assert [one.trigger_id for one in await schedules(triggers)] == [order.trigger_id]


async def test_a_check_by_hand_gets_an_id(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)

    ids = {
        await triggers.triggers.start_check(order, as_of=None, report=True, by="ci", correlation_id="c-1")
        for _ in range(2)
    }

    assert len(ids) == 2


async def test_the_latest_evaluation_is_the_one_kept_last(triggers: TriggerWorld) -> None:
    order, other = a_monitor(triggers.model), a_monitor(triggers.model)
    first, second = evaluated(order), evaluated(order)
    for evaluation in (first, second, evaluated(other)):
        await triggers.triggers.keep_evaluation(evaluation)

    assert await triggers.triggers.latest_evaluation(order.trigger_id) == second
    assert await triggers.triggers.latest_evaluation(uuid4()) is None


@pytest.mark.parametrize("source", ["schedule", "external"])
async def test_an_evaluation_is_kept_once(triggers: TriggerWorld, source: str) -> None:
    order = a_monitor(triggers.model)
    evaluation = evaluated(order).model_copy(update={"source": source})

    for _ in range(2):
        await triggers.triggers.keep_evaluation(evaluation)

    kept = [one async for one in triggers.triggers.kept_evaluations(None) if one.id == evaluation.id]
    assert kept == [evaluation]


async def test_kept_evaluations_come_newest_first_and_end_where_they_are_known(
    triggers: TriggerWorld,
) -> None:
    order = a_monitor(triggers.model)
    old, *new = [evaluated(order) for _ in range(4)]
    await triggers.triggers.keep_evaluation(old)
    since = datetime.now(UTC)
    for evaluation in new:
        await triggers.triggers.keep_evaluation(evaluation)

    everything = [one.id async for one in triggers.triggers.kept_evaluations(None)]
    newer = [one.id async for one in triggers.triggers.kept_evaluations(since)]

    expected = [evaluation.id for evaluation in reversed(new)]
    assert everything[:4] == [*expected, old.id]
    assert newer == expected


async def test_evaluations_are_told_as_they_are_kept(triggers: TriggerWorld) -> None:
    order = a_monitor(triggers.model)
    first, second = evaluated(order), evaluated(order).model_copy(update={"trigger_type": TriggerType.DRIFT})
    told = []

    async with asyncio.timeout(10), triggers.triggers.evaluation_events() as stream:
        await triggers.triggers.keep_evaluation(first)
        await triggers.triggers.keep_evaluation(second)
        async for evaluation in stream:
            if evaluation.trigger_id == order.trigger_id:
                told.append(evaluation)
            if len(told) == 2:
                break

    assert told == [first, second]
