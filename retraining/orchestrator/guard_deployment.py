"""The deployment `guard/<work pool>`, and the automation that runs it when a job or a check may be dead.

A schedule runs it too: Prefect keeps what an automation has seen in memory, and loses events now and then.
"""

from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, CompoundTrigger, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from retraining.jobs.dead import NEVER_BEGAN, SILENT_INTERVALS
from retraining.orchestrator.automations import TAG
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.guard import RUN_RESOURCE
from retraining.orchestrator.labels import GUARD_FLOW_NAME
from retraining.orchestrator.values import Deployed
from retraining.orchestrator.worker import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

ENTRYPOINT = "flows.guard.guard"
GUARD_TAG = "retraining-guard"
"""Not the tag of jobs and checks: nobody guards the guard."""
NAME_PREFIX = "retraining dead jobs of "
SILENCE = SILENT_INTERVALS * timedelta(seconds=HEARTBEAT_SECONDS)
NET_SLUG = "whatever-was-missed"
NET_CRON = "*/10 * * * *"
"""A look at the pool that nobody asked for."""
DESCRIPTION = "Ends jobs and checks of the work pool whose process is gone, after making sure."
UNDER_WAY = tuple(f"{RUN_RESOURCE}{name}" for name in ("Running", "heartbeat", "Cancelling"))
TAKEN = tuple(f"{RUN_RESOURCE}{name}" for name in ("Pending", "Submitting", "InfrastructurePending"))
ANY_NEWS = f"{RUN_RESOURCE}*"
"""A heartbeat, or a state of whatever name."""
CRASHED = f"{RUN_RESOURCE}Crashed"


async def deploy_guard(
    connection: PrefectConnection, work_pool: str, *, silence: timedelta = SILENCE
) -> list[Deployed]:
    """Make or renew the pool's guard, its schedule and its automation; what people switched off stays so.

    `silence` is how long a run may send no heartbeat before the guard looks at it.

    Raises:
        OrchestratorUnavailable: the server does not answer; calling again goes on where this call stopped.
    """
    name = f"{GUARD_FLOW_NAME}/{work_pool}"
    wanted = _deployment(work_pool)

    async def apply(client: "PrefectClient") -> "tuple[UUID, Deployed]":
        try:
            found = await client.read_deployment_by_name(name)
        except ObjectNotFound:
            flow_id = await client.create_flow_from_name(GUARD_FLOW_NAME)
            created = await client.create_deployment(flow_id, work_pool, schedules=[_net()], **wanted)
            return created, Deployed(name, "created")
        limit = found.global_concurrency_limit
        is_now = {**found.model_dump(), "concurrency_limit": limit.limit if limit else None}
        is_now |= {"concurrency_options": found.concurrency_options, "pull_steps": found.pull_steps or []}
        changed = {key: value for key, value in wanted.items() if is_now[key] != value}
        missing = all(schedule.slug != NET_SLUG for schedule in found.schedules)
        if missing:
            await client.create_deployment_schedules(found.id, [_net()])
        if changed:
            await client.update_deployment(found.id, DeploymentUpdate(**changed))
        return found.id, Deployed(name, "updated" if changed or missing else "unchanged")

    deployment_id, deployed = await connection.ask(f"deploy {name}", apply)
    return [deployed, await _put_automation(connection, work_pool, deployment_id, silence)]


def _net() -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=CronSchedule(cron=NET_CRON, timezone="UTC"), slug=NET_SLUG)


def _deployment(work_pool: str) -> dict[str, Any]:
    from flows.guard import guard

    return {
        "entrypoint": ENTRYPOINT,
        "path": None,
        "pull_steps": [],
        "parameters": {"work_pool": work_pool},
        "parameter_openapi_schema": parameter_schema(guard).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "description": DESCRIPTION,
        "version": version("retraining"),
        "tags": [GUARD_TAG],
        "work_pool_name": work_pool,
        # One look at the pool sees all its runs; when a machine dies with all of its jobs, the others find
        # nothing left to do.
        "concurrency_limit": 1,
        "concurrency_options": ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    }


async def _put_automation(
    connection: PrefectConnection, work_pool: str, deployment_id: "UUID", silence: timedelta
) -> Deployed:
    wanted = _automation(work_pool, deployment_id, silence)
    name = wanted.name
    found = await connection.ask(f"find {name}", lambda client: client.read_automations_by_name(name))
    if not found:
        await connection.ask(f"make {name}", lambda client: client.create_automation(wanted))
        return Deployed(name, "created")
    kept = found[0]
    if _meaning(kept) == _meaning(wanted):
        return Deployed(name, "unchanged")
    # Triggers that stay keep their ids or not: what they have seen of runs under way comes again with the
    # next heartbeat.
    renewed = wanted.model_copy(update={"enabled": kept.enabled})
    await connection.ask(f"renew {name}", lambda client: client.update_automation(kept.id, renewed))
    return Deployed(name, "updated")


def _automation(work_pool: str, deployment_id: "UUID", silence: timedelta) -> AutomationCore:
    """Without an owner: deploying or deleting a deployment deletes the automations that it owns."""
    return AutomationCore(
        name=f"{NAME_PREFIX}{work_pool}",
        description="A job or a check that was not heard of, did not begin or crashed is looked after.",
        tags=[GUARD_TAG],
        trigger=CompoundTrigger(
            require="any",
            within=None,
            triggers=[
                _no_news(after=UNDER_WAY, within=silence),
                _no_news(after=TAKEN, within=NEVER_BEGAN),
                EventTrigger(
                    **_OF_OURS,
                    expect={CRASHED},
                    posture=Posture.Reactive,
                    threshold=1,
                    within=timedelta(0),
                ),
            ],
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment_id,
                parameters={
                    "work_pool": work_pool,
                    "run_id": {"__prefect_kind": "jinja", "template": "{{ event.resource.id }}"},
                },
            )
        ],
    )


_OF_OURS: dict[str, Any] = {
    "match": {"prefect.resource.id": f"{RUN_RESOURCE}*"},
    "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
    "for_each": {"prefect.resource.id"},
}
"""Runs of our deployments, each by itself; heartbeats name the tags of a run, and not its work pool."""


def _no_news(*, after: tuple[str, ...], within: timedelta) -> EventTrigger:
    return EventTrigger(
        **_OF_OURS,
        after=set(after),
        expect={ANY_NEWS},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _meaning(automation: AutomationCore) -> Mapping[str, Any]:
    shown = automation.model_dump(mode="json", include={"name", "description", "tags", "trigger", "actions"})
    triggers = [
        {
            key: sorted(value) if isinstance(value, list) else value
            for key, value in one.items()
            if key != "id"
        }
        for one in shown["trigger"].pop("triggers", [])
    ]
    actions = [(one.get("deployment_id"), one.get("parameters")) for one in shown.pop("actions")]
    return {
        **shown,
        "trigger": {"require": shown["trigger"].get("require")},
        "triggers": triggers,
        "actions": actions,
    }
