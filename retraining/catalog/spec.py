"""`ModelSpec`: all that a team writes to bring its model."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.policy import EntityHoldout, Holdout, PromotionPolicy, TimeHoldout
from retraining.catalog.resources import Resources
from retraining.sources.source import DataSource
from retraining.training.metrics import Metric, find_metric
from retraining.training.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["binary", "multiclass", "regression"]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


@dataclass(frozen=True)
class TrainingInput:
    """What a `train` callable gets: the training side of the split, never the holdout."""

    features: "pd.DataFrame"
    """rows x features, in the order of the specification."""
    labels: "pd.Series"
    parameters: Any
    """An instance of the specification's parameter class."""
    progress: Progress


class ModelSpec(BaseModel):
    """A model: where its data is, how it is trained, and when a new version may replace the old one.

    Exactly one of `estimator` and `train` is given. `estimator` takes the parameters and returns an unfitted
    scikit-learn estimator or pipeline; `train` takes a `TrainingInput` and returns any fitted model with an
    MLflow flavour: scikit-learn, LightGBM, or an `mlflow.pyfunc.PythonModel`, whose predictions are
    probabilities of the positive class (binary), rows x classes (multiclass) or values (regression).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: ModelName
    description: str = ""
    task: Task
    source: DataSource
    label: str
    features: tuple[str, ...] = Field(min_length=1)
    time_column: str
    label_delay: timedelta = Field(timedelta(0), ge=timedelta(0))
    """How long after a row's time its label is complete."""
    window: timedelta | None = Field(None, gt=timedelta(0))
    """How far back training reads; None reads all history."""
    holdout: Holdout = Field(default_factory=TimeHoldout)
    parameters: type[TrainingParameters] = TrainingParameters
    estimator: Callable[[Any], Any] | None = None
    train: Callable[[TrainingInput], Any] | None = None
    compact_features: bool = False
    """Numbers as float32 and text as pandas categories, which take half the memory or less: for estimators
    that take categories, such as HistGradientBoosting and LightGBM. See `retraining.training.inputs`."""
    resources: Resources = Resources()
    """What its jobs may use: threads, memory, time."""
    trusted_types: tuple[str, ...] = ()
    """Types beyond scikit-learn's own that may be loaded from the model's file (skops' safe format)."""
    metric: str | Metric
    """The primary metric: a name from `retraining.training.metrics`, or a metric of the team's own."""
    report: tuple[str | Metric, ...] = ()
    """Further metrics to compute and log."""
    min_rows: int = Field(500, ge=10)
    """The fewest training rows worth a job."""
    promotion: PromotionPolicy = PromotionPolicy()
    retry_crashed: bool = False
    """Start a job once more, as a new job, whose process was killed or vanished. A retry is not retried."""

    @field_validator("source", mode="before")
    @classmethod
    def _source_is_a_data_source(cls, source: object) -> object:
        if not isinstance(source, DataSource):
            raise ValueError("source needs read() and describe(); see retraining.sources")  # noqa: TRY004
        return source

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.estimator is None) == (self.train is None):
            raise ValueError("give exactly one of estimator and train")
        if len(set(self.features)) != len(self.features):
            raise ValueError("features are listed more than once")
        if self.label in self.features:
            raise ValueError(f"the label {self.label!r} is among the features")
        for metric in self.metrics:
            if self.task not in metric.tasks:
                raise ValueError(f"metric {metric.name!r} does not fit the task {self.task!r}")
        self.parameters()  # every parameter has a default, so that a schedule needs none
        return self

    @property
    def primary_metric(self) -> Metric:
        """The metric that decides."""
        return find_metric(self.metric)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics of a version, the primary one first: it, the reported ones and the guards' ones."""
        wanted = [self.metric, *self.report, *(guard.metric for guard in self.promotion.guards)]
        found = {metric.name: metric for metric in map(find_metric, wanted)}
        return tuple(found.values())

    @property
    def entity_column(self) -> str | None:
        """The column that names the entity, where the holdout is made of entities."""
        return self.holdout.column if isinstance(self.holdout, EntityHoldout) else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a training set needs, each once."""
        wanted = [self.time_column, *self.features, self.label]
        if self.entity_column:
            wanted.insert(1, self.entity_column)
        return tuple(dict.fromkeys(wanted))
