"""Automations: what turns the breach of a trigger into a run of `retrain/<model>`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never
from uuid import UUID

import httpx
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import DRIFT_EVENT, PERFORMANCE_EVENT, TRIGGER_RESOURCE
from retraining.orchestrator.values import TriggerOrder
from retraining.triggers.condition import DriftCondition, MonitorCondition, PerformanceCondition

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.events.schemas.automations import Automation

NAME_PREFIX = "retraining trigger "
TAG = "retraining"
OURS = {"automations": {"tags": {"any_": [TAG]}}, "sort": "NAME_ASC"}
"""What lists the automations of all triggers."""
CAUSE_TEMPLATE = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload | tojson }}"},
}
"""The event's payload as an object, not as text."""


def breach_event(condition: MonitorCondition) -> str:
    """The name of the event that tells of a breach."""
    match condition:
        case DriftCondition():
            return DRIFT_EVENT
        case PerformanceCondition():
            return PERFORMANCE_EVENT
    assert_never(condition)


async def put_automation(
    connection: PrefectConnection, order: TriggerOrder, condition: MonitorCondition, deployment_id: UUID
) -> None:
    """Make there be one automation for the trigger, which runs the deployment."""
    wanted = _wanted(order, condition, deployment_id)
    doing = f"put the automation of trigger {order.trigger_id}"
    found = await _find(connection, order.trigger_id)
    if not found:
        await connection.ask_in_turn(doing, lambda client: client.create_automation(wanted))
    elif _meaning(found[0]) != _meaning(wanted):
        await connection.ask_in_turn(doing, lambda client: client.update_automation(found[0].id, wanted))
    for superfluous in found[1:]:  # names need not be unique: two made it at once
        await _delete(connection, superfluous.id)


async def set_automation_enabled(connection: PrefectConnection, trigger_id: UUID, *, enabled: bool) -> None:
    """Let the trigger's automation react to breaches, or not. Harmless if there is none."""
    for found in await _find(connection, trigger_id):
        if found.enabled == enabled:
            continue
        await connection.ask(
            f"{'enable' if enabled else 'disable'} the automation of trigger {trigger_id}",
            partial(_set_enabled, automation_id=found.id, enabled=enabled),
        )


async def remove_automation(connection: PrefectConnection, trigger_id: UUID) -> None:
    """Delete the trigger's automation. Harmless if there is none."""
    for found in await _find(connection, trigger_id):
        await _delete(connection, found.id)


def automations_seen(rows: Iterable[Mapping[str, Any]], retrain_ids: frozenset[UUID]) -> dict[UUID, bool]:
    """By trigger id: whether its automation is enabled. `rows` is the JSON of `OURS`.

    One that runs a deployment which is gone counts as gone.
    """
    seen: dict[UUID, bool] = {}
    for row in rows:
        trigger_id = _trigger_id(row["name"])
        if trigger_id is not None and _runs(row["actions"]) <= retrain_ids:
            seen[trigger_id] = bool(row["enabled"]) or seen.get(trigger_id, False)
    return seen


async def _find(connection: PrefectConnection, trigger_id: UUID) -> "list[Automation]":
    name = f"{NAME_PREFIX}{trigger_id}"
    return await connection.ask(
        f"find the automation of trigger {trigger_id}", lambda client: client.read_automations_by_name(name)
    )


async def _delete(connection: PrefectConnection, automation_id: UUID) -> None:
    async def delete(client: "PrefectClient") -> None:
        try:
            await client.delete_automation(automation_id)
        except httpx.HTTPStatusError as exc:
            if exc.response.status_code != httpx.codes.NOT_FOUND:
                raise

    await connection.ask(f"delete automation {automation_id}", delete)


async def _set_enabled(client: "PrefectClient", *, automation_id: UUID, enabled: bool) -> None:
    await (client.resume_automation if enabled else client.pause_automation)(automation_id)


def _wanted(order: TriggerOrder, condition: MonitorCondition, deployment_id: UUID) -> AutomationCore:
    # Without an owner: deploying or deleting a deployment deletes the automations that it owns.
    return AutomationCore(
        name=f"{NAME_PREFIX}{order.trigger_id}",
        description=f"A breach of this {condition.trigger_type} trigger retrains {order.model_name}.",
        enabled=order.enabled,
        tags=[TAG, f"model:{order.model_name}"],
        trigger=EventTrigger(
            match={"prefect.resource.id": f"{TRIGGER_RESOURCE}{order.trigger_id}"},
            expect={breach_event(condition)},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment_id,
                parameters={"model_name": order.model_name, "cause": CAUSE_TEMPLATE},
            )
        ],
    )


def _meaning(automation: AutomationCore) -> Mapping[str, Any]:
    shown = automation.model_dump(mode="json", include={"name", "enabled", "tags", "trigger", "actions"})
    keep = ("type", "match", "expect", "posture", "threshold", "source", "deployment_id", "parameters")
    return {
        **shown,
        "trigger": {key: value for key, value in shown["trigger"].items() if key in keep},
        "actions": [{key: action.get(key) for key in keep} for action in shown["actions"]],
    }


def _trigger_id(name: str) -> UUID | None:
    if not name.startswith(NAME_PREFIX):
        return None
    try:
        return UUID(name.removeprefix(NAME_PREFIX))
    except ValueError:
        return None


def _runs(actions: Sequence[Mapping[str, Any]]) -> frozenset[UUID]:
    return frozenset(UUID(one["deployment_id"]) for one in actions if one.get("deployment_id"))
