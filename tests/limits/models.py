"""Models whose training uses more than it may, if it is told to."""

import ctypes
import os
import signal
import time
from typing import Literal

import numpy as np
from sklearn.linear_model import LinearRegression

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.resources import MIB, Resources
from retraining.catalog.spec import TrainingInput
from tests.flows.models import tiny


class Appetite(TrainingParameters):
    takes: Literal["little", "memory", "time"] = "little"


def _train(given: TrainingInput) -> LinearRegression:
    match given.parameters.takes:
        case "memory":
            _fill_memory()
        case "time":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock
    return LinearRegression().fit(given.features, given.labels)


def _fill_memory() -> None:
    """In processes that outlive their parents, too."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
    kept = []
    for _ in range(100):
        kept.append(np.ones(40 * MIB // 8))
        time.sleep(0.05)
    time.sleep(600)


hungry = tiny.model_copy(
    update={
        "name": "hungry",
        "parameters": Appetite,
        "train": _train,
        "resources": Resources(memory="1500 MiB", threads=1),
    }
)
slow = hungry.model_copy(update={"name": "slow", "resources": Resources(time_limit=30)})
