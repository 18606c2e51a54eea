"""What a running job tells the outside: its stage and progress, its labels, its artifacts.

Everything here is for people who watch. A server that does not answer for a moment must not fail a training
that goes well, so reports are best effort; what decides anything is in MLflow.
"""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.logging import get_run_logger

from retraining.catalog.resources import MIB, Resources
from retraining.limits.bounds import Bounds, bounded
from retraining.limits.ending import report_failure
from retraining.orchestrator.connection import connection_environment
from retraining.orchestrator.labels import LABEL_PREFIX, PROGRESS_EVENT
from retraining.orchestrator.run_labels import label_run

REPORT_EVERY_SECONDS = 0.25
"""Progress is reported this often at most, however often training calls."""


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Log and go on if a report cannot be delivered."""
    try:
        yield
    except Exception as exc:  # whatever the client raises, the training goes on
        get_run_logger().warning("could not report %s: %s", what, exc)


@dataclass
class Job:
    """The job under way. One a flow run."""

    id: UUID
    model_name: str
    correlation_id: str | None = None
    stage: str = "starting"
    bounds: Bounds = field(default_factory=Bounds, repr=False)
    _bound: int | None = None
    _noted: dict[str, str] = field(default_factory=dict, repr=False)
    _bar: UUID | None = None
    _reported_at: float = field(default=0.0, repr=False)

    @classmethod
    def current(cls, model_name: str) -> "Job":
        """The job of the flow run that calls this. Raises RuntimeError outside a flow run."""
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            raise RuntimeError("a job exists inside a flow run only")
        labels = context.flow_run.labels
        correlation_id = labels.get(f"{LABEL_PREFIX}correlation_id")
        return cls(context.flow_run.id, model_name, None if correlation_id is None else str(correlation_id))

    @contextmanager
    def within(self, resources: Resources) -> Iterator[None]:
        """Keep this process, and all that descends from it, to `resources`."""
        with bounded(
            resources,
            get_run_logger(),
            report=report_failure(self.id),
            environment=connection_environment(),
        ) as self.bounds:
            self._bound = resources.memory
            yield

    def peak_memory(self) -> str:
        """The most memory that the job has held so far, in MiB; the log gets it with the bound."""
        peak = f"{self.bounds.peak_bytes() / MIB:.0f}"
        bound = "no bound" if self._bound is None else f"a bound of {self._bound / MIB:.0f} MiB"
        get_run_logger().info("%s: held %s MiB of memory at most, with %s", self.model_name, peak, bound)
        return peak

    def enter(self, stage: str) -> None:
        """Say which stage begins."""
        self.stage = stage
        self.bounds.enter(stage)
        self._emit(None, stage)
        get_run_logger().info("%s: %s (correlation id %s)", self.model_name, stage, self.correlation_id)

    def progress(self, fraction: float, message: str = "") -> None:
        """Report how far the stage is; throttled, so that training may call it as often as it likes."""
        now = time.monotonic()
        if fraction < 1 and now - self._reported_at < REPORT_EVERY_SECONDS:
            return
        self._reported_at = now
        self._emit(fraction, message)
        percent = round(100 * fraction, 1)
        with best_effort("progress"):
            if self._bar is None:
                created = create_progress_artifact(
                    percent, key=f"{self._key}-progress", description=f"Training of {self.model_name}"
                )
                self._bar = cast("UUID", created)  # typed as if it might be awaitable; not in a sync flow
            else:
                update_progress_artifact(self._bar, percent)

    def note(self, **labels: str | None) -> None:
        """Facts that are to stay with the run for good: versions before and after, the decision.

        Told with the next `tell`: on SQLite each change of a run waits for all others.
        """
        self._noted |= {name: value for name, value in labels.items() if value is not None}

    def tell(self) -> None:
        """Label the run with all that was noted since the last time."""
        noted, self._noted = self._noted, {}
        if noted:
            with best_effort("labels"):
                label_run(self.id, noted)

    def show_comparison(self, markdown: str, plot: bytes) -> None:
        """The comparison as a markdown artifact, with its plot inside."""
        image = base64.b64encode(plot).decode()
        with best_effort("the comparison"):
            create_markdown_artifact(
                f"{markdown}\n\n![champion and challenger](data:image/png;base64,{image})\n",
                key=f"{self._key}-comparison",
                description=f"Champion and challenger of {self.model_name}",
            )

    def link_mlflow(self, url: str, version: str) -> None:
        """A link to the version's MLflow run."""
        with best_effort("the link to MLflow"):
            create_link_artifact(
                url, link_text=f"{self.model_name} version {version} in MLflow", key=f"{self._key}-mlflow"
            )

    @property
    def _key(self) -> str:
        return self.model_name.replace("_", "-")  # artifact keys take no underscore

    def _emit(self, fraction: float | None, message: str) -> None:
        emit_event(
            event=PROGRESS_EVENT,
            resource={"prefect.resource.id": f"prefect.flow-run.{self.id}"},
            payload={"stage": self.stage, "fraction": fraction, "message": message},
        )
