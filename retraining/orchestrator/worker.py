"""How a worker is started: a Prefect process worker that takes up a waiting job within half a second."""

import sys

HEARTBEAT_SETTING = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
HEARTBEAT_SECONDS = 30
"""How often jobs and checks say that they live: as often as Prefect allows."""
JOBS_AT_A_TIME = 4
"""Runs that a worker has in hand, starting or running.

Without a bound it starts a process at the same moment for each model whose schedule is due.
"""


def worker_command(work_pool: str, name: str, *, warm_start: bool = False) -> list[str]:
    """The command line of a worker; it runs until it gets SIGTERM, and its jobs get SIGTERM with it.

    With `warm_start` its first job finds the warm server started, if the pool's jobs start warm.
    """
    return [
        *(sys.executable, "-m", "retraining.warm.worker" if warm_start else "prefect", "worker", "start"),
        *("--pool", work_pool, "--type", "process", "--name", name, "--limit", str(JOBS_AT_A_TIME)),
    ]


def worker_environment() -> dict[str, str]:
    """What the command needs in its environment, beside PREFECT_API_URL and credentials."""
    return {
        # The default of 10 is most of the time that passes between a request and its job's first line, and
        # Prefect 3.8 pushes no runs to process workers. Measured: an idle worker sends 4 requests a minute by
        # default, 57 at 1, 100 at 0.5 and 177 at 0.25, for which the server takes 0.3, 2.5 and 5% of a core.
        "PREFECT_WORKER_QUERY_SECONDS": "0.25",
        # A job is taken when it is due, not ten seconds before: a job that waits for another one of its model
        # would be tried at every query, and leave a state and an event each time.
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
        "DO_NOT_TRACK": "1",
        # As the deployments say: a warm server that was started for the worker is then the one of its jobs.
        HEARTBEAT_SETTING: str(HEARTBEAT_SECONDS),
    }
