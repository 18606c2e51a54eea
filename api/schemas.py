"""What the routes of models and triggers send and take."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StrictBool
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import union_schema

from retraining.catalog.policy import Holdout, PromotionPolicy
from retraining.catalog.spec import ModelSpec, Task
from retraining.champions import Standing, VersionHistory
from retraining.jobs.job import Moment
from retraining.jobs.plain import refuse_unstorable
from retraining.registry.values import DataFingerprint, ModelVersion, Promotion
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition
from retraining.triggers.trigger import TriggerChange, TriggerRequest


def _storable(text: str) -> str:
    refuse_unstorable(text, "the text")
    return text


Storable = Annotated[str, AfterValidator(_storable)]
Reason = Annotated[str, Field(max_length=500), AfterValidator(_storable)]


class Sent(BaseModel):
    """Base of what is sent."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Taken(BaseModel):
    """Base of what is taken: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricPublic(Sent):
    """A metric by which versions are compared."""

    name: str
    direction: Literal["maximize", "minimize"]


class Champion(Sent):
    """The version that serves."""

    version: str
    metrics: Mapping[str, float] = Field(description="Scores on its own holdout.")
    since: datetime | None = Field(description="When it became champion.")
    run_url: str | None = Field(description="Where MLflow shows its training.")

    @classmethod
    def of(cls, champion: ModelVersion, promotion: Promotion | None) -> Self:
        """From the registry's values."""
        return cls(
            version=champion.version,
            metrics=champion.metrics,
            since=promotion.at if promotion else None,
            run_url=champion.run_url,
        )


class Model(Sent):
    """A model of the catalog and its champion."""

    name: str
    description: str
    task: Task
    source: str = Field(description="Where its data is.")
    label: str
    features: tuple[str, ...]
    time_column: str
    label_delay: timedelta = Field(description="How long after a row's time its label is complete.")
    window: timedelta | None = Field(description="How far back training reads; null reads everything.")
    holdout: Holdout
    min_rows: int = Field(description="The fewest training rows worth a job.")
    metric: MetricPublic = Field(description="The primary metric.")
    report: tuple[MetricPublic, ...] = Field(description="Further metrics of every version.")
    parameters: dict[str, Any] = Field(description="JSON schema of the training parameters.")
    promotion: PromotionPolicy
    champion: Champion | None = Field(description="Null before the first promotion.")
    previous: str | None = Field(description="The version that a roll-back would restore.")

    @classmethod
    def of(cls, spec: ModelSpec, standing: Standing) -> Self:
        """From the catalog's specification and the registry's standing."""
        primary, *report = (MetricPublic(name=one.name, direction=one.direction) for one in spec.metrics)
        return cls(
            name=spec.name,
            description=spec.description,
            task=spec.task,
            source=spec.source.describe(),
            label=spec.label,
            features=spec.features,
            time_column=spec.time_column,
            label_delay=spec.label_delay,
            window=spec.window,
            holdout=spec.holdout,
            min_rows=spec.min_rows,
            metric=primary,
            report=tuple(report),
            parameters=spec.parameters.model_json_schema(),
            promotion=spec.promotion,
            champion=Champion.of(standing.champion, standing.promotion) if standing.champion else None,
            previous=standing.previous.version if standing.previous else None,
        )


class PromotionPublic(Sent):
    """One change of champion."""

    version: str = Field(description="Who became champion.")
    previous: str | None = Field(description="Who was champion before.")
    kind: Literal["promotion", "rollback", "outside"] = Field(
        description="`outside`: the alias was moved in MLflow itself."
    )
    at: datetime
    by: str
    reason: str
    job_id: str | None

    @classmethod
    def of(cls, promotion: Promotion) -> Self:
        """From the registry's value."""
        return cls(
            version=promotion.version,
            previous=promotion.previous,
            kind=promotion.kind,
            at=promotion.at,
            by=promotion.by,
            reason=promotion.reason,
            job_id=promotion.job_id,
        )


class Version(Sent):
    """A version of a model, and every change that made it champion."""

    model_name: str
    version: str
    aliases: tuple[str, ...] = Field(description="`champion` serves, `previous` is the roll-back target.")
    created_at: datetime
    job_id: str | None
    correlation_id: str | None
    metrics: Mapping[str, float] = Field(description="Scores on its holdout.")
    parameters: Mapping[str, str]
    fingerprint: DataFingerprint | None = Field(description="Which rows it was trained on.")
    decision: str | None = Field(description="What was decided about it, and why.")
    run_url: str | None = Field(description="Where MLflow shows its training.")
    promotions: tuple[PromotionPublic, ...] = Field(description="When it became champion, newest first.")

    @classmethod
    def of(cls, history: VersionHistory) -> Self:
        """From the registry's values."""
        version = history.version
        return cls(
            model_name=version.model_name,
            version=version.version,
            aliases=version.aliases,
            created_at=version.created_at,
            job_id=version.job_id,
            correlation_id=version.correlation_id,
            metrics=version.metrics,
            parameters=version.parameters,
            fingerprint=version.fingerprint,
            decision=version.decision,
            run_url=version.run_url,
            promotions=tuple(PromotionPublic.of(one) for one in history.promotions),
        )


class PromotionRequest(Taken):
    """Why a version is promoted."""

    reason: Reason | None = Field(None, examples=["approved by the churn team"])


class RollbackRequest(Taken):
    """Why a model is rolled back, and from which champion."""

    reason: Reason | None = Field(None, examples=["complaints since the last promotion"])
    from_version: str | None = Field(
        None,
        pattern=r"^[0-9]{1,18}$",
        description="The champion to leave; makes repeating the request harmless.",
        examples=["4"],
    )


class ChampionChange(Sent):
    """What a promotion or roll-back did."""

    message: str
    changed: bool = Field(description="False if it was so already.")
    promotion: PromotionPublic | None

    @classmethod
    def promoted(cls, model_name: str, version: str, promotion: Promotion | None) -> Self:
        """After a promotion; `promotion` is None if the version was champion already."""
        done = "is now" if promotion else "already is"
        return cls._made(f"version {version} {done} champion of {model_name}", promotion)

    @classmethod
    def rolled_back(cls, model_name: str, promotion: Promotion | None) -> Self:
        """After a roll-back; `promotion` is None if it was done before."""
        if promotion is None:
            return cls._made(f"{model_name} was rolled back already", None)
        return cls._made(f"{model_name} is back at version {promotion.version}", promotion)

    @classmethod
    def _made(cls, message: str, promotion: Promotion | None) -> Self:
        shown = PromotionPublic.of(promotion) if promotion else None
        return cls(message=message, changed=promotion is not None, promotion=shown)


_CONDITIONS: dict[str, type[BaseModel]] = {
    "scheduled": ScheduledCondition,
    "drift": DriftCondition,
    "performance": PerformanceCondition,
}
"""By `trigger_type`, for OpenAPI: what is stored is plain JSON, which `parse_condition` has checked."""


def _described_conditions(handler: GetJsonSchemaHandler) -> dict[str, JsonSchemaValue]:
    """References to the conditions' schemas, without the type, which a request has beside them."""
    union = union_schema([condition.__pydantic_core_schema__ for condition in _CONDITIONS.values()])
    described = handler(union)["anyOf"]
    for reference in described:
        handler.resolve_ref_schema(reference)["properties"].pop("trigger_type", None)
    return dict(zip(_CONDITIONS, described, strict=True))


class TriggerWanted(TriggerRequest):
    """A trigger to be created. `trigger_type` decides which keys `trigger_condition` takes."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the condition of each type."""
        described = handler(core_schema)
        whole = handler.resolve_ref_schema(described)
        whole["properties"]["trigger_type"] = {"type": "string", "enum": [*_CONDITIONS]}
        whole["oneOf"] = [
            {
                "title": trigger_type.capitalize(),
                "properties": {"trigger_type": {"const": trigger_type}, "trigger_condition": condition},
            }
            for trigger_type, condition in _described_conditions(handler).items()
        ]
        return described


class TriggerChanged(TriggerChange):
    """What is to change of a trigger; what is left out stays. A condition is given whole."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"enabled": False},
                {"trigger_condition": {"window": "30d", "patience": 3}},
            ]
        }
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the condition: that of the trigger's type, which does not change."""
        described = handler(core_schema)
        fields = handler.resolve_ref_schema(described)["properties"]
        fields["trigger_condition"]["anyOf"] = [*_described_conditions(handler).values(), {"type": "null"}]
        return described


class CheckRequest(Taken):
    """How a trigger is checked; all of it may be left out."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"as_of": "1998-04-01T00:00:00Z", "report": True}]}
    )

    as_of: Moment | None = Field(
        None, description="Check as if it were this moment, UTC unless it says otherwise; now if left out."
    )
    report: StrictBool = Field(False, description="Make the drift report even if nothing is found.")


class CheckResponse(Sent):
    """A check that was accepted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "check_id": "0198c2a4-7a10-7c52-8d33-1b0c9a6e2f77",
                    "message": "check of trigger 5f0f1f0e-27d5-4a0b-9d6a-0f8f3f6a7c11 accepted",
                    "links": {
                        "trigger": "/api/retraining/triggers/5f0f1f0e-27d5-4a0b-9d6a-0f8f3f6a7c11",
                        "evaluations": "/api/retraining/triggers/5f0f1f0e-27d5-4a0b-9d6a-0f8f3f6a7c11"
                        "/evaluations",
                        "prefect": "http://127.0.0.1:4200/runs/flow-run/0198c2a4-7a10-7c52-8d33-1b0c9a6e2f77",
                    },
                }
            ]
        }
    )

    check_id: UUID = Field(
        description="The id of the evaluation that it will make, and of its Prefect flow run."
    )
    message: str
    links: dict[str, str]
