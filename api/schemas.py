"""What the routes of models send and take."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from retraining.catalog.policy import Holdout, PromotionPolicy
from retraining.catalog.spec import ModelSpec, Task
from retraining.champions import Standing, VersionHistory
from retraining.jobs.plain import refuse_unstorable
from retraining.registry.values import DataFingerprint, ModelVersion, Promotion


def _storable(text: str) -> str:
    refuse_unstorable(text, "the text")
    return text


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
