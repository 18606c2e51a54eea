import pytest
from pydantic import Field, ValidationError

from retraining import TrainingParameters
from retraining.catalog.parameters import parse_parameters
from retraining.errors import InvalidParameters


class Layer(TrainingParameters):
    units: int = Field(8, ge=1, le=64)


class Given(TrainingParameters):
    rate: float = Field(0.1, gt=0, le=1)
    layer: Layer = Layer()


def test_what_is_not_given_has_its_default() -> None:
    assert parse_parameters("loans", Given, {"rate": 0.5}) == Given(rate=0.5, layer=Layer(units=8))


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"rate": 2}, ["rate"]),
        ({"rate": "fast"}, ["rate"]),
        ({"speed": 1}, ["speed"]),
        ({"layer": {"units": 0}}, ["layer.units"]),
        ({"rate": 0, "layer": {"size": 1}}, ["rate", "layer.size"]),
    ],
)
def test_every_refused_field_is_named(given: dict[str, object], fields: list[str]) -> None:
    with pytest.raises(InvalidParameters, match="invalid parameters for 'loans': ") as refused:
        parse_parameters("loans", Given, given)
    assert [field for field, _ in refused.value.problems] == fields


def test_parameters_never_change() -> None:
    with pytest.raises(ValidationError):
        Given().rate = 0.2  # type: ignore[misc]  # frozen, which is what is tested
