"""A catalog of two small models."""

from collections.abc import Mapping

from pydantic import Field

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.spec import ModelSpec
from retraining.errors import UnknownModel


class Iterations(TrainingParameters):
    """One bounded parameter, and one without bounds."""

    iterations: int = Field(100, ge=1, le=1_000)
    note: str = ""


class SmallCatalog:
    """`churn` and `profitability`, by name alone: starting a job needs no more of a model."""

    def __init__(self) -> None:
        self._models: Mapping[str, ModelSpec] = {
            name: ModelSpec.model_construct(name=name, parameters=Iterations)
            for name in ("churn", "profitability")
        }

    def get(self, name: str) -> ModelSpec:
        """The model of this name. Raises UnknownModel."""
        if name not in self._models:
            raise UnknownModel(name, [*self._models])
        return self._models[name]
