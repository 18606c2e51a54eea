"""The one place that writes evaluations: each once, whoever brings it, and in whatever order."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from retraining.jobs.plain import storable_json, storable_text
from retraining.store.database import Database
from retraining.triggers import repository
from retraining.triggers.evaluation import Evaluation
from retraining.triggers.records import TriggerEvaluation

EVALUATIONS = "retraining_evaluations"


class EvaluationLog:
    """Writes the table of evaluations. Every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, evaluations: Iterable[Evaluation]) -> int:
        """Keep what Prefect holds; returns how many were new. One that the facade made is told now."""
        by_id = {evaluation.id: evaluation for evaluation in evaluations}
        async with self._database.session() as session:
            known = await repository.told_among(session, by_id)
        fresh = [evaluation for evaluation in by_id.values() if evaluation.id not in known]
        if not fresh:
            return 0
        new = 0
        # One after the other: two replicas of the facade hear of the same evaluation at the same moment.
        async with self._database.write(serial=EVALUATIONS) as session:
            rows = await repository.evaluations_among(session, [evaluation.id for evaluation in fresh])
            for evaluation in fresh:
                row = rows.get(evaluation.id)
                if row is None:
                    session.add(row_of(evaluation))
                    new += 1
                else:
                    row.told = True
        return new

    async def tell(self, evaluation_id: UUID) -> None:
        """Say that Prefect knows of an evaluation."""
        async with self._database.write() as session:
            row = await repository.find_evaluation(session, evaluation_id)
            if row is not None:
                row.told = True

    async def withdraw(self, evaluation_id: UUID) -> None:
        """Forget an evaluation that Prefect was never told of."""
        async with self._database.write() as session:
            await repository.withdraw_evaluation(session, evaluation_id)


def row_of(evaluation: Evaluation, **facts: Any) -> TriggerEvaluation:
    """The row of an evaluation."""
    return TriggerEvaluation(
        id=evaluation.id,
        trigger_id=evaluation.trigger_id,
        model_name=storable_text(evaluation.model_name),
        trigger_type=evaluation.trigger_type,
        at=evaluation.at,
        evaluation=storable_json(evaluation.model_dump(mode="json", exclude={"job_id"})),
        **facts,
    )


def evaluation_of(row: TriggerEvaluation, job_id: UUID | None = None) -> Evaluation:
    """The evaluation of a row, with the job that it started or joined."""
    return Evaluation.model_validate({**row.evaluation, "job_id": job_id})
