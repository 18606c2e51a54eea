"""A job that does nothing but wait, for tests with a real worker."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from retraining.orchestrator.cancellation import find_cancellation, prompt_cancellation
from retraining.orchestrator.labels import FLOW_NAME


@flow(name=FLOW_NAME)
def retrain(
    model_name: str, parameters: dict[str, Any] | None = None, as_of: datetime | None = None
) -> State[Any]:
    """Leave a file with the process id, then wait for `seconds`."""
    chosen = parameters or {}
    run_id = flow_run.id
    if (cancelled := find_cancellation(run_id)) is not None:
        return cancelled
    with prompt_cancellation(run_id):
        Path(chosen["begun"]).write_text(str(os.getpid()))
        time.sleep(chosen["seconds"])
    return Completed()
