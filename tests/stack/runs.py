"""Runs and jobs of one model on a stack, as Prefect and the facade tell of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tests.stack.running import RunningStack

FINAL = {"COMPLETED", "CANCELLED", "FAILED", "CRASHED"}


@dataclass(frozen=True)
class ModelRuns:
    """What came since a test began."""

    stack: RunningStack
    model: str
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def deployment(self) -> str:
        return str(self.stack.ask_prefect("GET", f"/deployments/name/retrain/{self.model}")["id"])

    def due(self) -> list[dict[str, Any]]:
        """Runs that are due, in the order in which they came."""
        asked = {
            "deployments": {"id": {"any_": [self.deployment()]}},
            "flow_runs": {
                "expected_start_time": {
                    "after_": self.since.isoformat(),
                    "before_": datetime.now(UTC).isoformat(),
                }
            },
            "sort": "EXPECTED_START_TIME_ASC",
        }
        found: list[dict[str, Any]] = self.stack.ask_prefect("POST", "/flow_runs/filter", asked)
        return found

    def in_state(self, state_type: str) -> list[dict[str, Any]]:
        return [run for run in self.due() if run["state_type"] == state_type]

    def ended(self) -> bool:
        return all(run["state_type"] in FINAL for run in self.due())

    def jobs(self) -> list[dict[str, Any]]:
        """The model's jobs, newest first; none while the facade is away."""
        try:
            found = self.stack.client().jobs(model_name=self.model, limit=500)
        except Exception:  # it has just been killed
            return []
        return [job for job in found if datetime.fromisoformat(job["created_at"]) >= self.since]

    def schedule(
        self, every: int, first: datetime, *, times: int | None = None, missed_runs: str | None = None
    ) -> str:
        """Make a schedule as a person does in Prefect, every so many seconds; its id.

        Without `missed_runs` it says nothing about them.
        """
        rule = f"DTSTART:{first.astimezone(UTC):%Y%m%dT%H%M%S}\nRRULE:FREQ=SECONDLY;INTERVAL={every}"
        calendar = {"rrule": f"{rule};COUNT={times}" if times else rule, "timezone": "UTC"}
        cause = {"type": "scheduled", "trigger_id": str(uuid4()), "missed_runs": missed_runs}
        parameters = {"cause": cause} if missed_runs else {}
        wanted = {"active": True, "schedule": calendar, "parameters": parameters}
        deployment = self.deployment()
        [made] = self.stack.ask_prefect("POST", f"/deployments/{deployment}/schedules", [wanted])
        # Prefect plans runs of deployments that changed within seconds, of all others within a minute.
        self.stack.ask_prefect("PATCH", f"/deployments/{deployment}", {"paused": False})
        return str(made["id"])

    def unschedule(self, schedule_id: str) -> None:
        """Delete a schedule, and with it the runs that no worker has taken."""
        self.stack.ask_prefect("DELETE", f"/deployments/{self.deployment()}/schedules/{schedule_id}")
