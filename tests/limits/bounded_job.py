"""A process with bounds: `python -m tests.limits.bounded_job SCRATCH RESOURCES_JSON WORK`.

It does the work that WORK names, and leaves `done` in SCRATCH; when a bound is exceeded, `reason` is there.
Every process it starts leaves its id in SCRATCH.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from retraining.catalog.resources import MIB, Resources
from retraining.limits.bounds import Bounds, bounded

SCRATCH = Path(sys.argv[1])
REPORT = "import pathlib, sys; pathlib.Path(sys.argv[1], 'reason').write_text(sys.argv[2])"


def leave_id() -> None:
    (SCRATCH / f"pid-{os.getpid()}").touch()


def allocate_without_end() -> None:
    kept = []
    while True:
        kept.append(np.ones(20 * MIB // 8))
        time.sleep(0.002)


def children_allocate() -> None:
    """Three children, and one of them an orphan in a session of its own, each below the bound."""
    for number in range(3):
        if os.fork() == 0:
            if number == 0 and os.fork():
                os._exit(0)
            os.setsid()
            leave_id()
            kept = np.ones(150 * MIB // 8)
            time.sleep(600)
            print(kept.sum())
    time.sleep(600)


def sleep_deaf_with_the_lock() -> None:
    """A call into C that keeps the interpreter's lock, in a process that ignores what can be ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(600)


def share_memory() -> None:
    """Forks whose pages are their parent's: in RAM once."""
    kept = np.ones(200 * MIB // 8)
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            time.sleep(1)
            os._exit(int(kept[0] != 1))
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def reserve_without_use() -> None:
    """Address space is no memory."""
    kept = np.empty(8192 * MIB // 8)
    time.sleep(1)
    print(kept.shape)


def nothing() -> None:
    pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


WORK = {
    work.__name__: work
    for work in (
        *(allocate_without_end, children_allocate, sleep_deaf_with_the_lock),
        *(share_memory, reserve_without_use, nothing, die),
    )
}


def remember(bounds: Bounds) -> None:
    assert bounds._watch is not None
    (SCRATCH / f"watch-{bounds._watch.pid}").touch()


if __name__ == "__main__":
    leave_id()
    report = [sys.executable, "-c", REPORT, str(SCRATCH)]
    resources = Resources.model_validate_json(sys.argv[2])
    with bounded(resources, logging.getLogger(), report=report, environment={}) as bounds:
        remember(bounds)
        bounds.enter("training")
        WORK[sys.argv[3]]()
        (SCRATCH / "peak").write_text(str(bounds.peak_bytes()))
    (SCRATCH / "done").touch()
