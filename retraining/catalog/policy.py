"""When a challenger may replace the champion, and which rows judge them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Guard(BaseModel):
    """A bound that the challenger's own score must keep, whatever it gains elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    minimum: float | None = None
    maximum: float | None = None


class PromotionPolicy(BaseModel):
    """When a challenger replaces the champion. All amounts are in the primary metric's own unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approval: Literal["automatic", "manual"] = "automatic"
    """`manual` registers the challenger and waits for a person to promote it."""
    tolerance: float = Field(0.0, ge=0)
    """How far below the champion still counts as level with it."""
    minimum_improvement: float = Field(0.0, ge=0)
    """The least improvement worth a promotion."""
    when_level: Literal["keep", "promote"] = "keep"
    """A challenger that is surely not worse than the champion by more than `tolerance`, though not surely
    better: keep the champion, or promote the fresher model."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of the bootstrap interval of the difference."""
    resamples: int = Field(1_000, ge=100, le=100_000)
    guards: tuple[Guard, ...] = ()


class EntityHoldout(BaseModel):
    """Hold out a fixed share of entities (customers, devices), the same ones in every job.

    An entity's side follows from a hash of its id, so that no later champion or challenger ever trained on
    an entity that judges it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["entity"] = "entity"
    column: str
    fraction: float = Field(0.3, gt=0, lt=1)
    salt: str = "retraining"


class TimeHoldout(BaseModel):
    """Hold out the newest rows; training rows whose labels reach into the holdout's time are dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["time"] = "time"
    fraction: float = Field(0.2, gt=0, lt=1)


Holdout = Annotated[EntityHoldout | TimeHoldout, Field(discriminator="by")]
