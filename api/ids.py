"""The ids in paths. What is no UUID is nobody's id: 404, like one that nobody has."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path

from api.errors import shortened
from retraining.errors import JobNotFound, TriggerNotFound


async def job_id_in_path(
    job_id: Annotated[str, Path(description="The job, which is the Prefect flow run.")],
) -> UUID:
    """Dependency: the job id. Raises JobNotFound."""
    return _parsed(job_id, JobNotFound)


async def trigger_id_in_path(trigger_id: Annotated[str, Path(description="The trigger.")]) -> UUID:
    """Dependency: the trigger id. Raises TriggerNotFound."""
    return _parsed(trigger_id, TriggerNotFound)


JobId = Annotated[UUID, Depends(job_id_in_path)]
TriggerId = Annotated[UUID, Depends(trigger_id_in_path)]


def _parsed(text: str, not_found: type[JobNotFound | TriggerNotFound]) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise not_found(shortened(text)) from None
