"""Factories: findings and evaluations."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from retraining.jobs.job import TriggerType
from retraining.triggers.evaluation import Action, Evaluation, Finding, Outcome

START = datetime(2026, 5, 4, 8, tzinfo=UTC)


def after(**duration: float) -> datetime:
    """A moment since the tests' day began."""
    return START + timedelta(**duration)


def a_finding(outcome: Outcome = Outcome.BREACHED, **facts: Any) -> Finding:
    """What a check found, about champion 3 unless the facts say otherwise."""
    return Finding(**{"outcome": outcome, "reason": "3 of 4 drifted", "champion_version": "3", **facts})


def an_evaluation(**facts: Any) -> Evaluation:
    """A quiet check of a drift trigger of `churn` at the start."""
    return Evaluation(
        **{
            "id": uuid4(),
            "trigger_id": uuid4(),
            "model_name": "churn",
            "trigger_type": TriggerType.DRIFT,
            "source": "schedule",
            "at": START,
            "as_of": START,
            "patience": 1,
            "patience_count": 0,
            "in_cooldown": False,
            "action": Action.NONE,
            "outcome": Outcome.QUIET,
            "reason": "nothing drifted",
            "champion_version": "3",
            **facts,
        }
    )
