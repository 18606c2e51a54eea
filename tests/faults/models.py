"""Models whose jobs wait where the harness wants them to, until it lets them go on.

What a training tells and decides does not depend on chance: a job that is `worse` may never become champion,
every other one is promoted. The waits within MLflow's requests need nothing of the product: Python tells an
audit hook of each request that `http.client` sends.
"""

import os
import sys
from typing import Any, Literal

import numpy as np
from pydantic import Field
from sklearn.linear_model import LinearRegression

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.policy import PromotionPolicy
from retraining.catalog.spec import TrainingInput
from tests.faults.holding import RUN_ID, Holding
from tests.flows.models import tiny

Place = Literal[
    "", "training", "cancelling", "before-version", "after-version", "before-alias", "after-alias"
]
REQUESTS = {"version": b"/mlflow/model-versions/create ", "alias": b"/mlflow/registered-models/alias "}
WORSE_BY = 100.0
LETTERS = "abcd"


class HeldParameters(TrainingParameters):
    hold: Place = ""
    worse: bool = False
    ballast: int = Field(0, description="Bytes that the model carries along.")


class _InRequests:
    """Waits before the request that a place names, or before the one that follows it."""

    def __init__(self) -> None:
        self.place: Place = ""
        self._seen = False

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        when, _, what = self.place.partition("-")
        if event != "http.client.send" or what not in REQUESTS:
            return
        line = bytes(arguments[1][:200]).partition(b"\r\n")[0] if isinstance(arguments[1], bytes) else b""
        if not line.endswith(b" HTTP/1.1"):
            return  # a body
        named = line.startswith(b"POST ") and REQUESTS[what] in line
        if (when == "before" and named) or (when == "after" and self._seen):
            place, self.place = self.place, ""
            _wait(place)
        self._seen |= named


_in_requests = _InRequests()
sys.addaudithook(_in_requests.on_event)


def _wait(place: str) -> None:
    holding = Holding.of_environment()
    assert holding is not None
    holding.wait(os.environ[RUN_ID], place)


def _train(given: TrainingInput) -> LinearRegression:
    holding = Holding.of_environment()
    assert holding is not None
    holding.began(os.environ[RUN_ID])
    wanted: HeldParameters = given.parameters
    _in_requests.place = wanted.hold
    try:
        if wanted.hold in {"training", "cancelling"}:
            _wait("training")
    except BaseException:  # the cancellation, a signal
        if wanted.hold == "cancelling":
            _wait("cancelling")
        raise
    model = LinearRegression().fit(given.features, given.labels + (WORSE_BY if wanted.worse else 0.0))
    model.ballast_ = np.random.default_rng(0).bytes(wanted.ballast)
    return model


_held = tiny.model_copy(
    update={
        "parameters": HeldParameters,
        "train": _train,
        # The same model again is level with the champion, and promoted.
        "promotion": PromotionPolicy(tolerance=1.0, when_level="promote", resamples=100),
    }
)
held_a, held_b, held_c, held_d, held_tick = (
    _held.model_copy(update={"name": f"held-{one}"}) for one in [*LETTERS, "tick"]
)
HELD = tuple(f"held-{letter}" for letter in LETTERS)
TICK = "held-tick"
"""The model whose trigger fires all the time."""
