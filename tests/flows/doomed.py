"""A model whose jobs are ended from outside while they train, as if nobody had heard of them."""

import time
from pathlib import Path

from prefect import get_client
from prefect.runtime import flow_run
from prefect.states import Crashed
from pydantic import Field
from sklearn.linear_model import LinearRegression

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.spec import TrainingInput
from tests.flows.models import tiny

LONGEST_SECONDS = 600


class DoomedParameters(TrainingParameters):
    end: bool = Field(True, description="Whether the job's run is ended while it trains.")
    fail: bool = False
    until: str = Field("", description="A file; the training goes on until there is one.")


def _train(given: TrainingInput) -> LinearRegression:
    if given.parameters.end:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Crashed(message="no sign of life"))
    if given.parameters.fail:
        raise ArithmeticError("the matrix is singular")
    deadline = time.monotonic() + LONGEST_SECONDS
    while given.parameters.until and not Path(given.parameters.until).exists():
        assert time.monotonic() < deadline, "nobody waits for this job any more"
        time.sleep(0.05)
    return LinearRegression().fit(given.features, given.labels)


doomed = tiny.model_copy(
    update={"name": "doomed", "parameters": DoomedParameters, "train": _train, "retry_crashed": True}
)
