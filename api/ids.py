"""The ids in paths. What is no UUID is nobody's id: 404, like one that nobody has."""

from uuid import UUID

from starlette.convertors import StringConvertor, register_url_convertor

from api.errors import shortened
from retraining.errors import JobNotFound, TriggerNotFound

OTHER_RESOURCES = ("audit", "events", "keys", "models", "triggers")
"""What stands where a job's id does in other paths."""
JOB = "/{job_id:job}"
"""The path of a job. It matches no other resource's, so that jobs, asked for most, are looked for first."""


class _JobId(StringConvertor):
    regex = rf"(?!(?:{'|'.join(OTHER_RESOURCES)})(?:/|$))[^/]+"


register_url_convertor("job", _JobId())


def parsed_id(text: str, not_found: type[JobNotFound | TriggerNotFound]) -> UUID:
    """The id that a path has. Raises `not_found`."""
    try:
        return UUID(text)
    except ValueError:
        raise not_found(shortened(text)) from None
