"""`FakeTriggers`: the `TriggerOrchestrator` in memory, with handles for what people and Prefect would do.

`test_triggers_contract.py` holds it to the behaviour of the real door.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from retraining.errors import NotDeployed, OrchestratorUnavailable, TriggerNotFound
from retraining.orchestrator.values import ScheduleSeen, TriggerOrder, TriggersSeen
from retraining.triggers.calendar import calendar_of
from retraining.triggers.condition import ScheduledCondition
from retraining.triggers.evaluation import Evaluation
from tests.orchestrator.fake_server import FakeServer


@dataclass(frozen=True)
class Check:
    """A check that was started by hand."""

    run_id: UUID
    order: TriggerOrder
    as_of: datetime | None
    report: bool
    by: str
    correlation_id: str | None


class FakeTriggers(FakeServer[Evaluation]):
    """Triggers in memory. What `TriggerOrchestrator` does not have plays Prefect, its UI and its monitor."""

    def __init__(
        self,
        deployed: Iterable[str] = ("churn", "profitability"),
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__()
        self._clock = clock
        self.deployed_at = {
            f"{flow}/{model}": clock() for model in deployed for flow in ("retrain", "monitor")
        }
        """Remove one to play a model without deployment."""
        self.orders: dict[UUID, TriggerOrder] = {}
        """By trigger id: as last put, and as people changed it since."""
        self.schedules: dict[UUID, ScheduleSeen] = {}
        """By schedule id."""
        self.paused: set[str] = set()
        """Models whose deployments somebody paused."""
        self.automations: dict[UUID, bool] = {}
        self.checks: list[Check] = []
        self.breaches: list[Evaluation] = []
        """Announced, each repetition once."""
        self._announced: set[tuple[UUID, int]] = set()
        self.kept: dict[UUID, tuple[datetime, Evaluation]] = {}
        """By evaluation id, with the time when it was kept; oldest first."""
        self._breaking = False

    # What the product calls

    async def put_trigger(self, order: TriggerOrder) -> None:
        self._ask("put_trigger")
        scheduled = isinstance(order.condition, ScheduledCondition)
        self._deployed("retrain" if scheduled else "monitor", order.model_name)
        self._deployed("retrain", order.model_name)
        found = self._schedule_of(order.trigger_id)
        self.schedules = {
            **self.schedules,
            (schedule_id := found.schedule_id if found else uuid4()): ScheduleSeen(
                schedule_id=schedule_id,
                model_name=order.model_name,
                trigger_id=order.trigger_id,
                condition=calendar_of(order.condition, order.created_at),
                active=order.enabled,
                created_at=found.created_at if found else self._clock(),
            ),
        }
        if self._breaking:
            self._breaking = False
            raise OrchestratorUnavailable("put the trigger")
        if not scheduled:
            self.automations[order.trigger_id] = order.enabled
        self.orders[order.trigger_id] = order

    async def remove_trigger(self, trigger_id: UUID, model_name: str) -> None:
        self._ask("remove_trigger")
        found = self._find(trigger_id)
        if found is not None:
            del self.schedules[found.schedule_id]
        self.automations.pop(trigger_id, None)
        self.orders.pop(trigger_id, None)

    async def set_enabled(self, trigger_id: UUID, model_name: str, *, enabled: bool) -> None:
        self._ask("set_enabled")
        found = self._find(trigger_id)
        if found is None:
            raise TriggerNotFound(trigger_id)
        self.schedules[found.schedule_id] = replace(found, active=enabled)
        if trigger_id in self.automations:
            self.automations[trigger_id] = enabled
        if trigger_id in self.orders:
            self.orders[trigger_id] = replace(self.orders[trigger_id], enabled=enabled)

    async def is_enabled(self, trigger_id: UUID) -> bool:
        self._ask("is_enabled")
        return self.automations.get(trigger_id, False)

    async def triggers_seen(self) -> TriggersSeen:
        self._ask("triggers_seen")
        schedules = [
            replace(one, paused_with_deployment=one.model_name in self.paused)
            for one in self.schedules.values()
        ]
        return TriggersSeen(schedules, dict(self.automations), dict(self.deployed_at))

    async def start_check(
        self,
        order: TriggerOrder,
        *,
        as_of: datetime | None,
        report: bool,
        by: str,
        correlation_id: str | None,
    ) -> UUID:
        self._ask("start_check")
        self._deployed("monitor", order.model_name)
        check = Check(uuid4(), order, as_of, report, by, correlation_id)
        self.checks.append(check)
        return check.run_id

    async def announce_breach(self, evaluation: Evaluation, *, repetition: int = 0) -> None:
        self._ask("announce_breach")
        if (evaluation.id, repetition) not in self._announced:
            self._announced.add((evaluation.id, repetition))
            self.breaches.append(evaluation)

    async def keep_evaluation(self, evaluation: Evaluation) -> None:
        self._ask("keep_evaluation")
        if evaluation.id in self.kept:
            return
        self.kept[evaluation.id] = (self._clock(), evaluation)
        self._tell(evaluation)

    async def latest_evaluation(self, trigger_id: UUID) -> Evaluation | None:
        self._ask("latest_evaluation")
        return next((one for _, one in self._newest_first() if one.trigger_id == trigger_id), None)

    async def kept_evaluations(self, since: datetime | None) -> AsyncIterator[Evaluation]:
        self._ask("kept_evaluations")
        for kept_at, evaluation in self._newest_first():
            if since is None or kept_at >= since:
                self._ask("kept_evaluations")
                yield evaluation

    def evaluation_events(self) -> AbstractAsyncContextManager[AsyncIterator[Evaluation]]:
        return self._followed("evaluation_events")

    # What Prefect, its UI and its monitor do

    def add_schedule(
        self, model_name: str, condition: Mapping[str, Any], *, active: bool = True
    ) -> ScheduleSeen:
        """Somebody makes a schedule on `retrain/<model>` in Prefect."""
        schedule = ScheduleSeen(uuid4(), model_name, None, dict(condition), active, self._clock())
        self.schedules[schedule.schedule_id] = schedule
        return schedule

    def pause(self, trigger_id: UUID, *, active: bool = False) -> None:
        """Somebody pauses or resumes a schedule in Prefect; the automation of a monitor stays as it is."""
        found = self._find(trigger_id)
        assert found is not None
        self.schedules[found.schedule_id] = replace(found, active=active)

    def delete_schedule(self, trigger_id: UUID) -> None:
        """Somebody deletes a schedule in Prefect; the automation of a monitor stays."""
        found = self._find(trigger_id)
        assert found is not None
        del self.schedules[found.schedule_id]

    def delete_automation(self, trigger_id: UUID) -> None:
        """Somebody deletes a monitor's automation in Prefect."""
        del self.automations[trigger_id]

    def redeploy(self, model_name: str, *, flows: Iterable[str] = ("retrain", "monitor")) -> None:
        """`prefect deploy --all`: the deployments' schedules go."""
        now = self._clock()
        for flow in flows:
            self.deployed_at[f"{flow}/{model_name}"] = now
        self.schedules = {
            key: one
            for key, one in self.schedules.items()
            if one.model_name != model_name or self._flow_of(one) not in flows
        }

    def break_put(self) -> None:
        """The next `put_trigger` fails half way: its schedule is made, the rest is not."""
        self._breaking = True

    def _deployed(self, flow: str, model_name: str) -> None:
        if f"{flow}/{model_name}" not in self.deployed_at:
            raise NotDeployed(f"{flow}/{model_name}")

    def _schedule_of(self, trigger_id: UUID) -> ScheduleSeen | None:
        return next((one for one in self.schedules.values() if one.trigger_id == trigger_id), None)

    def _find(self, trigger_id: UUID) -> ScheduleSeen | None:
        return self._schedule_of(trigger_id) or self.schedules.get(trigger_id)

    def _flow_of(self, schedule: ScheduleSeen) -> str:
        order = None if schedule.trigger_id is None else self.orders.get(schedule.trigger_id)
        return "retrain" if order is None or isinstance(order.condition, ScheduledCondition) else "monitor"

    def _newest_first(self) -> list[tuple[datetime, Evaluation]]:
        return list(reversed(self.kept.values()))
