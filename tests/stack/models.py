"""Models for stacks of the tests: they learn in no time, or as long as a test wants."""

import time
from pathlib import Path

from pydantic import Field
from sklearn.linear_model import LinearRegression

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.spec import TrainingInput
from tests.flows.models import tiny

LONGEST_SECONDS = 240


class PatientParameters(TrainingParameters):
    until: str = Field("", description="A file; the training goes on until there is one.")


def _train_until(given: TrainingInput) -> LinearRegression:
    given.progress(0.5, "half way")
    deadline = time.monotonic() + LONGEST_SECONDS
    while given.parameters.until and not Path(given.parameters.until).exists():
        assert time.monotonic() < deadline, "nobody waits for this job any more"
        time.sleep(0.05)
    return LinearRegression().fit(given.features, given.labels)


# Named so that they come after the installed ones.
swift, swift_all, swift_skip = (
    tiny.model_copy(update={"name": name}) for name in ("swift", "swift-all", "swift-skip")
)
patient = tiny.model_copy(
    update={"name": "test-patient", "parameters": PatientParameters, "train": _train_until}
)
