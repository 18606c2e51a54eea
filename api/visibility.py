"""What exists for a caller who is limited to models: theirs, and nothing else.

One rule for all routes: what concerns another model answers like what nobody has (404), and lists and streams
leave it out. So neither ids, nor filters, nor messages tell what there is. (The numbers of live events count
all of them: how much happens elsewhere can be guessed, not what.)
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from api.facade import Facade, TheFacade
from api.ids import JobId, TriggerId
from api.trail import withheld
from retraining.auth.caller import Caller
from retraining.errors import JobNotFound, TriggerNotFound, UnknownModel


def must_see(request: Request, facade: Facade, model_name: str) -> None:
    """Raise UnknownModel unless the model exists for the caller."""
    caller: Caller = request.state.caller
    try:
        caller.must_see(model_name, facade.catalog.names)
    except UnknownModel:
        withheld(request)
        raise


async def visible_model(
    request: Request,
    facade: TheFacade,
    model_name: Annotated[str, Path(description="A model of the catalog.")],
) -> str:
    """Dependency: the model in the path. Raises UnknownModel."""
    must_see(request, facade, model_name)
    return model_name


async def visible_job(request: Request, facade: TheFacade, job_id: JobId) -> UUID:
    """Dependency: the job in the path. Raises JobNotFound."""
    caller: Caller = request.state.caller
    if caller.models is not None and not caller.sees((await facade.jobs.get(job_id)).model_name):
        withheld(request)
        raise JobNotFound(job_id)
    return job_id


async def visible_trigger(request: Request, facade: TheFacade, trigger_id: TriggerId) -> UUID:
    """Dependency: the trigger in the path, a deleted one too. Raises TriggerNotFound."""
    caller: Caller = request.state.caller
    if caller.models is not None:
        model_name = await facade.triggers.model_of(trigger_id)
        if model_name is None:
            raise TriggerNotFound(trigger_id)
        if not caller.sees(model_name):
            withheld(request)
            raise TriggerNotFound(trigger_id)
    return trigger_id


VisibleModel = Annotated[str, Depends(visible_model)]
VisibleJob = Annotated[UUID, Depends(visible_job)]
VisibleTrigger = Annotated[UUID, Depends(visible_trigger)]
