"""The door to Prefect for triggers: schedules, automations, and the evaluations of monitors."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from retraining.errors import TriggerNotFound
from retraining.orchestrator.automations import (
    NAME_PREFIX,
    OURS,
    automations_seen,
    put_automation,
    remove_automation,
    set_automation_enabled,
)
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.evaluations import (
    announce_breach,
    evaluation_events,
    keep_evaluation,
    kept_evaluations,
    latest_evaluation,
)
from retraining.orchestrator.labels import FLOW_NAME, LABEL_PREFIX, MONITOR_FLOW_NAME
from retraining.orchestrator.listing import PAGE, Listed, all_rows
from retraining.orchestrator.schedules import (
    deployment_from,
    find_deployment,
    monitor_parameters,
    put_schedule,
    read_deployment,
    remove_schedule,
    schedules_seen,
    set_active,
)
from retraining.orchestrator.values import ScheduleSeen, TriggerOrder, TriggersSeen
from retraining.triggers.condition import ScheduledCondition
from retraining.triggers.evaluation import Evaluation

FLOWS = (FLOW_NAME, MONITOR_FLOW_NAME)
DEPLOYMENTS_AT_ONCE = 50
"""While it puts together a page of deployments with their schedules, a Prefect server does nothing else."""


class PrefectTriggers:
    """The `TriggerOrchestrator` on a Prefect server."""

    def __init__(self, connection: PrefectConnection, *, page_size: int = PAGE) -> None:
        """`connection` is opened and closed by somebody else."""
        self._connection = connection
        self._page_size = page_size

    async def put_trigger(self, order: TriggerOrder) -> None:
        """See `TriggerOrchestrator.put_trigger`."""
        condition = order.condition
        retrain = await read_deployment(self._connection, FLOW_NAME, order.model_name)
        if isinstance(condition, ScheduledCondition):
            await put_schedule(self._connection, retrain, order)
            return
        monitor = await read_deployment(self._connection, MONITOR_FLOW_NAME, order.model_name)
        # The automation first: no check may find a breach that nobody listens to.
        await put_automation(self._connection, order, condition, retrain.id)
        await put_schedule(self._connection, monitor, order)

    async def remove_trigger(self, trigger_id: UUID, model_name: str) -> None:
        """See `TriggerOrchestrator.remove_trigger`."""
        await remove_automation(self._connection, trigger_id)
        for flow in FLOWS:
            deployment = await find_deployment(self._connection, flow, model_name)
            schedule = None if deployment is None else deployment.find_schedule(trigger_id)
            if deployment is not None and schedule is not None:
                await remove_schedule(self._connection, deployment, schedule)

    async def set_enabled(self, trigger_id: UUID, model_name: str, *, enabled: bool) -> None:
        """See `TriggerOrchestrator.set_enabled`. Raises TriggerNotFound if it has no schedule."""
        found = False
        for flow in FLOWS:
            deployment = await find_deployment(self._connection, flow, model_name)
            schedule = None if deployment is None else deployment.find_schedule(trigger_id)
            if deployment is not None and schedule is not None:
                found = True
                await set_active(self._connection, deployment, schedule, active=enabled)
        if not found:
            raise TriggerNotFound(trigger_id)
        await set_automation_enabled(self._connection, trigger_id, enabled=enabled)

    async def is_enabled(self, trigger_id: UUID) -> bool:
        """See `TriggerOrchestrator.is_enabled`."""
        name = f"{NAME_PREFIX}{trigger_id}"
        found = await self._connection.ask(
            f"ask whether trigger {trigger_id} is enabled",
            lambda client: client.read_automations_by_name(name),
        )
        return any(automation.enabled for automation in found)

    async def triggers_seen(self) -> TriggersSeen:
        """See `TriggerOrchestrator.triggers_seen`."""
        schedules: list[ScheduleSeen] = []
        deployed_at: dict[str, datetime] = {}
        retrain_ids: set[UUID] = set()
        for flow in FLOWS:
            wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "NAME_ASC"}
            for deployment in map(deployment_from, await self._all("/deployments/filter", wanted)):
                deployed_at[f"{flow}/{deployment.name}"] = deployment.updated_at
                schedules.extend(schedules_seen(deployment, flow))
                if flow == FLOW_NAME:
                    retrain_ids.add(deployment.id)
        automations = automations_seen(await self._all("/automations/filter", OURS), frozenset(retrain_ids))
        return TriggersSeen(schedules, automations, deployed_at)

    async def start_check(
        self,
        order: TriggerOrder,
        *,
        as_of: datetime | None,
        report: bool,
        by: str,
        correlation_id: str | None,
    ) -> UUID:
        """See `TriggerOrchestrator.start_check`."""
        monitor = await read_deployment(self._connection, MONITOR_FLOW_NAME, order.model_name)
        parameters = {
            "model_name": order.model_name,
            **monitor_parameters(order),
            "enabled": order.enabled,
            "as_of": None if as_of is None else as_of.isoformat(),
            "report": report,
            "by": by,
        }
        labels: dict[str, Any] = {f"{LABEL_PREFIX}triggered_by": by}
        if correlation_id is not None:
            labels[f"{LABEL_PREFIX}correlation_id"] = correlation_id
        run = await self._connection.ask_in_turn(
            f"start a check of trigger {order.trigger_id}",
            lambda client: client.create_flow_run_from_deployment(
                monitor.id, parameters=parameters, name=f"{order.model_name} for {by}", labels=labels
            ),
        )
        return run.id

    async def announce_breach(self, evaluation: Evaluation, *, repetition: int = 0) -> None:
        """See `TriggerOrchestrator.announce_breach`."""
        await announce_breach(self._connection, evaluation, repetition)

    async def keep_evaluation(self, evaluation: Evaluation) -> None:
        """See `TriggerOrchestrator.keep_evaluation`."""
        await keep_evaluation(self._connection, evaluation)

    async def latest_evaluation(self, trigger_id: UUID) -> Evaluation | None:
        """See `TriggerOrchestrator.latest_evaluation`."""
        return await latest_evaluation(self._connection, trigger_id)

    def kept_evaluations(self, since: datetime | None) -> AsyncIterator[Evaluation]:
        """See `TriggerOrchestrator.kept_evaluations`."""
        return kept_evaluations(self._connection, since, self._page_size)

    def evaluation_events(self) -> AbstractAsyncContextManager[AsyncIterator[Evaluation]]:
        """See `TriggerOrchestrator.evaluation_events`."""
        return evaluation_events(self._connection)

    async def _all(self, path: Listed, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        at_once = DEPLOYMENTS_AT_ONCE if path == "/deployments/filter" else PAGE
        return await all_rows(self._connection, path, wanted, page_size=min(self._page_size, at_once))
