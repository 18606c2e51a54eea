"""Schedules of deployments: the scheduled triggers, and how often a monitor checks.

Prefect gives a deployment's schedules no transaction of their own: whoever changes or deletes one deletes the
planned runs of all, and the scheduler makes those anew from the moment when it next looks, up to a minute
later. What was due in between would be lost, so that every change here has the deployment planned at once,
from the moment before the change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingConcurrencySlot, Cancelled

from retraining.errors import NotDeployed
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import MONITOR_FLOW_NAME
from retraining.orchestrator.values import ScheduleSeen, TriggerOrder
from retraining.triggers.calendar import calendar_of
from retraining.triggers.cause import Cause
from retraining.triggers.condition import ScheduledCondition
from retraining.triggers.duration import duration_text, parse_duration

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

SLUG_PREFIX = "trigger-"
PAGE = 200
DELETED_MESSAGE = "its trigger was deleted"
DISABLED_MESSAGE = "its trigger was disabled"
KEPT_MESSAGE = "waits, while another trigger of its model is deleted"


@dataclass(frozen=True)
class Schedule:
    """A schedule of a deployment."""

    id: UUID
    slug: str | None
    calendar: Mapping[str, Any]
    """As `retraining.triggers.calendar` reads it."""
    parameters: Mapping[str, Any]
    active: bool
    created_at: datetime

    @property
    def checks(self) -> bool:
        """Whether its runs are a monitor's checks, and not jobs."""
        return "trigger_id" in self.parameters

    @property
    def trigger_id(self) -> UUID | None:
        """The trigger of ours that it belongs to."""
        if self.slug is None or not self.slug.startswith(SLUG_PREFIX):
            return None
        try:
            return UUID(self.slug.removeprefix(SLUG_PREFIX))
        except ValueError:
            return None


@dataclass(frozen=True)
class Deployment:
    """A deployment, as far as its schedules go."""

    id: UUID
    name: str
    """The model's."""
    paused: bool
    updated_at: datetime
    schedules: Sequence[Schedule]

    def find_schedule(self, trigger_id: UUID) -> Schedule | None:
        """The schedule of a trigger of ours, or the one that people made with this id."""
        return next((one for one in self.schedules if trigger_id in {one.trigger_id, one.id}), None)


def deployment_from(shown: Mapping[str, Any]) -> Deployment:
    """A deployment from its JSON.

    The client's own models look up every time zone of the machine for each schedule: a hundred times slower.
    """
    return Deployment(
        id=UUID(shown["id"]),
        name=shown["name"],
        paused=shown["paused"],
        updated_at=datetime.fromisoformat(shown["updated"]),
        schedules=[
            Schedule(
                id=UUID(one["id"]),
                slug=one.get("slug"),
                calendar=_calendar(one["schedule"]),
                parameters=one["parameters"],
                active=one["active"],
                created_at=datetime.fromisoformat(one["created"]),
            )
            for one in shown["schedules"]
        ],
    )


async def find_deployment(connection: PrefectConnection, flow: str, name: str) -> Deployment | None:
    """The deployment with its schedules, or None."""

    async def read(client: "PrefectClient") -> Deployment | None:
        try:
            answer = await client.request(
                "GET",
                "/deployments/name/{flow_name}/{deployment_name}",
                path_params={"flow_name": flow, "deployment_name": name},
            )
        except httpx.HTTPStatusError as exc:
            if exc.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise
        return deployment_from(answer.json())

    return await connection.ask(f"read deployment {flow}/{name}", read)


async def read_deployment(connection: PrefectConnection, flow: str, name: str) -> Deployment:
    """The deployment with its schedules.

    Raises:
        NotDeployed: there is none.
    """
    found = await find_deployment(connection, flow, name)
    if found is None:
        raise NotDeployed(f"{flow}/{name}")
    return found


async def put_schedule(connection: PrefectConnection, deployment: Deployment, order: TriggerOrder) -> None:
    """Make the deployment have the trigger's schedule as ordered."""
    found, parameters = deployment.find_schedule(order.trigger_id), _parameters(order)
    calendar = calendar_of(order.condition, order.created_at)
    wanted = {"schedule": _schedule(calendar), "parameters": parameters, "active": order.enabled}
    doing = f"put the schedule of trigger {order.trigger_id}"
    if found is None:
        new = {**wanted, "slug": f"{SLUG_PREFIX}{order.trigger_id}"}
        await connection.ask_in_turn(doing, lambda client: _create(client, deployment.id, new))
        if order.enabled:
            await plan_runs(connection, deployment)
        return
    if (found.calendar, found.parameters, found.active) != (calendar, parameters, order.enabled):
        before = datetime.now(UTC)
        await connection.ask_in_turn(
            doing,
            lambda client: client.request(
                "PATCH",
                "/deployments/{id}/schedules/{schedule_id}",
                path_params={"id": deployment.id, "schedule_id": found.id},
                json=wanted,
            ),
        )
        await plan_runs(connection, deployment, before)
    if not order.enabled:
        await _end_checks(connection, deployment, found)


async def _create(client: "PrefectClient", deployment_id: UUID, new: Mapping[str, Any]) -> None:
    of_deployment = {"id": deployment_id}
    try:
        await client.request("POST", "/deployments/{id}/schedules", path_params=of_deployment, json=[new])
    except httpx.HTTPStatusError:
        # Slugs are unique. Who comes second, or asks again after no answer, gets one of several errors.
        made = await client.request("GET", "/deployments/{id}/schedules", path_params=of_deployment)
        if new["slug"] not in [one["slug"] for one in made.json()]:
            raise


async def set_active(
    connection: PrefectConnection, deployment: Deployment, schedule: Schedule, *, active: bool
) -> None:
    """Pause or resume a schedule; checks that wait for a paused one end."""
    await _set_active(connection, deployment, schedule, active=active)
    if not active:
        await _end_checks(connection, deployment, schedule)


async def _set_active(
    connection: PrefectConnection, deployment: Deployment, schedule: Schedule, *, active: bool
) -> None:
    if schedule.active == active:
        return
    before = datetime.now(UTC)
    await connection.ask(
        f"{'resume' if active else 'pause'} schedule {schedule.id}",
        lambda client: client.update_deployment_schedule(deployment.id, schedule.id, active=active),
    )
    await plan_runs(connection, deployment, before)


async def _end_checks(connection: PrefectConnection, deployment: Deployment, schedule: Schedule) -> None:
    """Cancel the due checks of a trigger that is off. Jobs that are due stay: they were asked for before."""

    async def cancel(client: "PrefectClient") -> None:
        for run in await _waiting_runs(client, deployment.id, before=datetime.now(UTC)):
            if _is_of(run, schedule):
                await client.set_flow_run_state(run.id, Cancelled(message=DISABLED_MESSAGE))

    if schedule.checks:
        await connection.ask(f"cancel the checks of schedule {schedule.id}", cancel)


async def remove_schedule(connection: PrefectConnection, deployment: Deployment, schedule: Schedule) -> None:
    """Delete a schedule and the runs planned or waiting for it.

    A run of it that is due already ends as cancelled. Deleting a schedule, Prefect deletes the due runs of
    all others of the deployment too, unless they wait for a slot: so those are told to.
    """
    doing = f"remove schedule {schedule.id}"
    await _set_active(connection, deployment, schedule, active=False)  # from here on none is planned
    before = datetime.now(UTC)
    await connection.ask(doing, lambda client: _settle_due_runs(client, deployment.id, schedule))
    await connection.ask(doing, lambda client: _delete(client, deployment.id, schedule.id))
    await connection.ask(doing, lambda client: _delete_planned(client, deployment.id, schedule))
    await plan_runs(connection, deployment, before)


async def _settle_due_runs(client: "PrefectClient", deployment_id: UUID, schedule: Schedule) -> None:
    for run in await _waiting_runs(client, deployment_id, before=datetime.now(UTC)):
        if _is_of(run, schedule):
            await client.set_flow_run_state(run.id, Cancelled(message=DELETED_MESSAGE))
        elif run.auto_scheduled and run.state_name != AwaitingConcurrencySlot().name:
            waits: State[None] = AwaitingConcurrencySlot(
                scheduled_time=run.next_scheduled_start_time or run.expected_start_time, message=KEPT_MESSAGE
            )
            await client.set_flow_run_state(run.id, waits)


async def _delete(client: "PrefectClient", deployment_id: UUID, schedule_id: UUID) -> None:
    try:
        await client.delete_deployment_schedule(deployment_id, schedule_id)
    except ObjectNotFound:
        return


async def _delete_planned(client: "PrefectClient", deployment_id: UUID, schedule: Schedule) -> None:
    """The runs that the scheduler was just making while the schedule was deleted."""
    for run in await _waiting_runs(client, deployment_id):
        if _is_of(run, schedule):
            await client.delete_flow_run(run.id)


async def _waiting_runs(
    client: "PrefectClient", deployment_id: UUID, before: datetime | None = None
) -> "list[FlowRun]":
    runs: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                expected_start_time=FlowRunFilterExpectedStartTime(before_=before),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=PAGE,
            offset=len(runs),
        )
        runs += page
        if len(page) < PAGE:
            return runs


def _is_of(run: "FlowRun", schedule: Schedule) -> bool:
    """Whether the schedule made the run, or somebody asked for its check; and no worker ever took it."""
    creator = run.created_by
    made = creator is not None and creator.type == "SCHEDULE" and creator.id == schedule.id
    asked = schedule.checks and run.parameters.get("trigger_id") == schedule.parameters["trigger_id"]
    return (made or asked) and run.run_count == 0


async def plan_runs(
    connection: PrefectConnection, deployment: Deployment, since: datetime | None = None
) -> None:
    """Have the runs of all schedules planned now, those due since then included.

    Each run is made once, however often it is planned. A paused deployment would be planned too.
    """
    if deployment.paused:
        return
    start = {} if since is None else {"start_time": since.isoformat()}
    await connection.ask(
        f"plan the runs of deployment {deployment.name}", partial(_plan, deployment.id, start)
    )


async def _plan(deployment_id: UUID, start: dict[str, str], client: "PrefectClient") -> None:
    try:
        await client.request(
            "POST", "/deployments/{id}/schedule", path_params={"id": deployment_id}, json=start
        )
    except httpx.HTTPStatusError as exc:
        if exc.response.status_code != httpx.codes.NOT_FOUND:
            raise


def _schedule(calendar: Mapping[str, Any]) -> dict[str, Any]:
    """A calendar of ours as Prefect's JSON."""
    if "cron" in calendar:
        return {"cron": calendar["cron"], "timezone": calendar["timezone"]}
    every = parse_duration(calendar["every"]).total_seconds()
    return {"interval": every, "anchor_date": calendar["anchor"], "timezone": "UTC"}


def _parameters(order: TriggerOrder) -> dict[str, Any]:
    condition = order.condition
    if isinstance(condition, ScheduledCondition):
        cause = Cause(
            type=condition.trigger_type, trigger_id=order.trigger_id, missed_runs=condition.missed_runs
        )
        return {"cause": cause.model_dump(mode="json", include={"type", "trigger_id", "missed_runs"})}
    return monitor_parameters(order)


def monitor_parameters(order: TriggerOrder) -> dict[str, Any]:
    """What the monitor is told of a trigger."""
    return {
        "trigger_id": str(order.trigger_id),
        "trigger_type": order.condition.trigger_type.value,
        "condition": order.condition.model_dump(mode="json"),
    }


def schedules_seen(deployment: Deployment, flow: str) -> Iterable[ScheduleSeen]:
    """A deployment's schedules; those that people made for a monitor are no triggers."""
    for schedule in deployment.schedules:
        if schedule.trigger_id is None and flow == MONITOR_FLOW_NAME:
            continue
        yield ScheduleSeen(
            schedule_id=schedule.id,
            model_name=deployment.name,
            trigger_id=schedule.trigger_id,
            condition=schedule.calendar,
            active=schedule.active,
            created_at=schedule.created_at,
            paused_with_deployment=deployment.paused,
        )


def _calendar(schedule: Mapping[str, Any]) -> dict[str, Any]:
    timezone = schedule.get("timezone") or "UTC"
    if "cron" in schedule:
        cron = {"cron": schedule["cron"], "timezone": timezone}
        return cron if schedule.get("day_or", True) else {**cron, "day_or": False}
    if "rrule" in schedule:
        return {"rrule": schedule["rrule"], "timezone": timezone}
    anchor = datetime.fromisoformat(schedule["anchor_date"]).astimezone(UTC)
    every = {
        "every": duration_text(timedelta(seconds=float(schedule["interval"]))),
        "anchor": anchor.isoformat(),
    }
    return every if timezone == "UTC" else {**every, "timezone": timezone}
