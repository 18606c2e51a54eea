"""Breaches of triggers, told to Prefect as a check tells them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from tests.stack.runs import ModelRuns

DRIFTED = "retraining.drift.detected"


@contextmanager
def automations(runs: ModelRuns, trigger_ids: list[UUID], parameters: dict[str, Any]) -> Iterator[None]:
    """For each trigger: a breach of it runs the job, with the breach as its cause."""
    payload = {"__prefect_kind": "jinja", "template": "{{ event.payload | tojson }}"}
    made = [
        runs.stack.ask_prefect(
            "POST",
            "/automations/",
            {
                "name": f"test {trigger_id}",
                "trigger": {
                    "type": "event",
                    "match": {"prefect.resource.id": f"retraining.trigger.{trigger_id}"},
                    "expect": [DRIFTED],
                    "posture": "Reactive",
                    "threshold": 1,
                },
                "actions": [
                    {
                        "type": "run-deployment",
                        "source": "selected",
                        "deployment_id": runs.deployment(),
                        "parameters": {
                            "model_name": runs.model,
                            "parameters": parameters,
                            "cause": {"__prefect_kind": "json", "value": payload},
                        },
                    }
                ],
            },
        )["id"]
        for trigger_id in trigger_ids
    ]
    try:
        yield
    finally:
        for automation_id in made:
            runs.stack.ask_prefect("DELETE", f"/automations/{automation_id}")


def breach(trigger_id: UUID, evaluation_id: UUID, at: datetime, event_id: UUID | None = None) -> Any:
    """The event in which a check tells of a breach."""
    return {
        "id": str(event_id or uuid5(evaluation_id, "breach")),
        "occurred": datetime.now(UTC).isoformat(),
        "event": DRIFTED,
        "resource": {"prefect.resource.id": f"retraining.trigger.{trigger_id}"},
        "payload": {
            "type": "drift",
            "trigger_id": str(trigger_id),
            "evaluation_id": str(evaluation_id),
            "at": at.isoformat(),
            "reason": "half of the columns drifted",
            "scores": {"recency": 0.4},
        },
    }
