"""The OpenAPI description is valid, complete, and its examples are what the routes send and take."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel

from api import audit, errors, events, jobs, keys, schemas, system, triggers
from api.app import create_app
from api.ids import OTHER_RESOURCES
from api.router import PREFIX
from retraining.jobs import job as job_models
from retraining.jobs.records import JobEvent
from retraining.triggers import evaluation, signal
from retraining.triggers import trigger as trigger_models
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return create_app().openapi()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_the_description_is_valid(described: dict[str, Any]) -> None:
    OpenAPI.model_validate(described)
    schemas_known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert set(references(described)) <= schemas_known
    ids = Counter(operation["operationId"] for _, operation in operations(described))
    assert max(ids.values()) == 1


def test_every_route_says_what_it_does_and_how_it_fails_in_our_format(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        assert operation["description"], name
        if name.endswith(("/health", "/ready")):
            continue
        assert operation["security"] == [{"HTTPBearer": []}, {"APIKeyHeader": []}], name
        refused = {code: answer for code, answer in operation["responses"].items() if int(code) >= 400}
        assert refused.keys() >= {"401", "403", "422", "500", "503"}, name
        if "requestBody" in operation:
            assert refused.keys() >= {"400", "413", "415"}, name
        for code, answer in refused.items():
            [content] = answer["content"].values()
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}, (name, code)
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_no_other_resource_is_taken_for_a_job(described: dict[str, Any]) -> None:
    """The paths of jobs are matched first: they have to know what else stands where a job's id does."""
    below = [path.removeprefix(f"{PREFIX}/") for path in described["paths"] if path.startswith(f"{PREFIX}/")]
    assert {path.partition("/")[0] for path in below} == {*OTHER_RESOURCES, "{job_id}"}


def models() -> list[type[BaseModel]]:
    found = {
        model
        for module in (
            errors,
            jobs,
            schemas,
            system,
            keys,
            audit,
            triggers,
            job_models,
            trigger_models,
            signal,
            evaluation,
        )
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
    }
    return sorted(found, key=lambda model: model.__name__)


def examples_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    extra: Any = model.model_config.get("json_schema_extra") or {}
    return list(extra.get("examples", []))


@pytest.mark.parametrize(
    ("model", "example"),
    [
        pytest.param(model, example, id=f"{model.__name__}-{number}")
        for model in models()
        for number, example in enumerate(examples_of(model))
    ],
)
def test_every_example_is_what_its_model_says(model: type[BaseModel], example: dict[str, Any]) -> None:
    shown = json.loads(model.model_validate(example).model_dump_json(exclude_unset=True))
    assert shown == example


def test_the_contracts_models_have_examples() -> None:
    shown = {model.__name__ for model in models() if examples_of(model)}
    assert shown >= {"RetrainingJob", "RetrainingRequest", "RetrainingResponse", "ErrorResponse", "Message"}
    assert shown >= {
        "TriggerRequest",
        "TriggerPublic",
        "CheckRequest",
        "CheckResponse",
        "Signal",
        "Evaluation",
    }


def test_each_type_of_trigger_is_described_with_the_keys_of_its_condition(described: dict[str, Any]) -> None:
    known = described["components"]["schemas"]
    classes: dict[str, type[BaseModel]] = {
        "scheduled": ScheduledCondition,
        "drift": DriftCondition,
        "performance": PerformanceCondition,
    }
    shown = {}
    for kind in known["TriggerWanted"]["oneOf"]:
        condition = known[kind["properties"]["trigger_condition"]["$ref"].rpartition("/")[2]]
        assert condition["additionalProperties"] is False
        shown[kind["properties"]["trigger_type"]["const"]] = set(condition["properties"])
    assert shown == {kind: set(cls.model_fields) - {"trigger_type"} for kind, cls in classes.items()}
    change = known["TriggerChanged"]["properties"]["trigger_condition"]["anyOf"]
    assert len(change) == len(classes) + 1


def test_every_example_of_a_field_is_valid() -> None:
    for model in models():
        for name, field in model.model_fields.items():
            for example in field.examples or []:
                model.model_validate({name: example})


def test_the_example_of_an_event_is_one() -> None:
    fields = dict(
        line.split(": ", 1)
        for line in events.STREAM["content"]["text/event-stream"]["example"].split("\n")
        if line
    )
    event = JobEvent.model_validate({**json.loads(fields["data"]), "source": ""})
    assert json.loads(event.model_dump_json()) == json.loads(fields["data"])
    assert (event.kind, str(event.id)) == (fields["event"], fields["id"])
