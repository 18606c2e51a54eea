"""Lets the harness hold a worker between taking a job and starting its process: there is no other place to.

Python imports this module by its name before anything else, in every process of a stack whose PYTHONPATH has
this folder. It watches (an audit hook), and changes nothing of what it watches.
"""

import os
import sys
from typing import Any


def _watch() -> None:
    from tests.faults.holding import FOLDER, RUN_ID, Holding

    if FOLDER not in os.environ or os.environ.get("RETRAINING_COMPONENT", "").partition("-")[0] != "worker":
        return
    holding = Holding.of_environment()
    assert holding is not None

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and (run_id := (arguments[3] or {}).get(RUN_ID)):
            holding.at_worker_gate(run_id)

    sys.addaudithook(on_event)


_watch()
