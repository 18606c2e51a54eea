"""What exists for a caller who is limited to models: theirs, and nothing else.

One rule for all routes: what concerns another model answers like what nobody has (404), and lists and streams
leave it out. So neither ids, nor filters, nor messages tell what there is. (The numbers of live events count
all of them: how much happens elsewhere can be guessed, not what.)
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from api.facade import Facade, facade_of
from api.ids import parsed_id
from api.trail import withheld
from retraining.auth.caller import Caller
from retraining.errors import JobNotFound, TriggerNotFound, UnknownModel


def must_see(request: Request, facade: Facade, model_name: str) -> None:
    """Raise UnknownModel unless the model exists for the caller."""
    try:
        _caller(request).must_see(model_name, facade.catalog.names)
    except UnknownModel:
        withheld(request)
        raise


async def visible_model(
    request: Request, model_name: Annotated[str, Path(description="A model of the catalog.")]
) -> str:
    """Dependency: the model in the path. Raises UnknownModel."""
    must_see(request, facade_of(request), model_name)
    return model_name


async def visible_job(
    request: Request, job_id: Annotated[str, Path(description="The job, which is the Prefect flow run.")]
) -> UUID:
    """Dependency: the job in the path. Raises JobNotFound."""
    wanted, caller = parsed_id(job_id, JobNotFound), _caller(request)
    if caller.models is not None and not caller.sees((await facade_of(request).jobs.get(wanted)).model_name):
        withheld(request)
        raise JobNotFound(wanted)
    return wanted


async def visible_trigger(
    request: Request, trigger_id: Annotated[str, Path(description="The trigger.")]
) -> UUID:
    """Dependency: the trigger in the path, a deleted one too. Raises TriggerNotFound."""
    wanted, caller = parsed_id(trigger_id, TriggerNotFound), _caller(request)
    if caller.models is not None:
        model_name = await facade_of(request).triggers.model_of(wanted)
        if model_name is None:
            raise TriggerNotFound(wanted)
        if not caller.sees(model_name):
            withheld(request)
            raise TriggerNotFound(wanted)
    return wanted


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


VisibleModel = Annotated[str, Depends(visible_model)]
VisibleJob = Annotated[UUID, Depends(visible_job)]
VisibleTrigger = Annotated[UUID, Depends(visible_trigger)]
