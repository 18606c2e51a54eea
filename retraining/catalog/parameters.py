"""Training parameters: what a caller may set for one job."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from retraining.errors import InvalidParameters


class TrainingParameters(BaseModel):
    """Base of a model's parameter class: frozen, and strict about names.

    Give every field a default and bounds (`Field(100, ge=1, le=5_000)`); the facade refuses with 422 what
    lies outside, and names the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=TrainingParameters)


def parse_parameters(model_name: str, parameters: type[P], given: dict[str, Any]) -> P:
    """Validate `given` against the model's parameter class.

    Raises:
        InvalidParameters: with one (field, problem) pair for each refused field.
    """
    try:
        # As JSON and strictly: "0.1" and true are no numbers, while 1 is a float and text may be a date.
        return parameters.model_validate_json(to_json(given, inf_nan_mode="constants"), strict=True)
    except ValidationError as exc:
        problems = [
            (".".join(str(part) for part in error["loc"]) or "parameters", error["msg"])
            for error in exc.errors(include_url=False, include_context=False)
        ]
        raise InvalidParameters(model_name, problems) from exc
