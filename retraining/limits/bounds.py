"""Applies the resources of a model to the job that runs in this process."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from retraining.catalog.resources import Resources

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

PR_SET_CHILD_SUBREAPER = 36
ANSWER_SECONDS = 10.0
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT"),
)
"""For libraries that are loaded later, and for the processes that training starts."""


class Bounds:
    """The watch over this job, if it has one."""

    def __init__(self, watch: "subprocess.Popen[bytes] | None" = None) -> None:
        self._watch = watch

    def enter(self, stage: str) -> None:
        """Say what the job is at, for the reason of a failure."""
        self._tell(f"stage {stage}\n")

    def peak_bytes(self) -> int:
        """The most memory held so far: by this process, and as far as there is a bound by its descendants."""
        return max(_own_peak(), self._seen())

    def lift(self) -> None:
        """The job's work is done: no bound ends it any more."""
        if self._watch is None:
            return
        self._tell("lift\n")
        watch, self._watch = self._watch, None
        with suppress(OSError, subprocess.TimeoutExpired):
            watch.communicate(timeout=ANSWER_SECONDS)

    def _seen(self) -> int:
        self._tell("peak\n")
        if self._watch is None or self._watch.stdout is None:
            return 0
        answered, _, _ = select.select([self._watch.stdout], [], [], ANSWER_SECONDS)
        return int(self._watch.stdout.readline() or 0) if answered else 0

    def _tell(self, line: str) -> None:
        if self._watch is not None and self._watch.stdin is not None:
            with suppress(OSError, ValueError):  # somebody has killed it
                self._watch.stdin.write(line.encode())
                self._watch.stdin.flush()


@contextmanager
def bounded(
    resources: Resources,
    log: "Logger | LoggerAdapter[Logger]",
    *,
    report: Sequence[str],
    environment: Mapping[str, str],
) -> Iterator[Bounds]:
    """Apply `resources` to this process while the block runs.

    When a bound is exceeded, this process and all that descend from it are stopped, the command `report` runs
    with the reason as its last argument and `environment` added to this process's own, and then they are
    killed. Threads stay as they are set.
    """
    if resources.threads is not None:
        _limit_threads(resources.threads)
    bounds = Bounds()
    if resources.watched:
        if sys.platform == "linux" and Path("/proc/self/statm").exists():
            bounds = Bounds(_start_watch(resources, report, environment))
        else:
            log.warning("resources.memory and resources.time_limit do not apply: there is no /proc here")
    try:
        yield bounds
    finally:
        bounds.lift()


def _start_watch(
    resources: Resources, report: Sequence[str], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    import ctypes

    from retraining.limits import watch

    # What descends from this process stays below it when its own parent ends.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    given = [
        str(int(resources.memory or 0)),
        str(0 if resources.time_limit is None else resources.time_limit.total_seconds()),
    ]
    return subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-I", "-S", watch.__file__, str(os.getpid()), *given, *report],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        start_new_session=True,  # a signal to the job's group is not for its watch
    )


def _limit_threads(threads: int) -> None:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    threadpool_limits(threads)


def _own_peak() -> int:
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
