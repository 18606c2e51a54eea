"""How a worker is started: a Prefect process worker that takes up a waiting job within a second or two."""

import sys

JOBS_AT_A_TIME = 4
"""Runs that a worker has in hand, starting or running.

Without a bound it starts a process at the same moment for each model whose schedule is due.
"""


def worker_command(work_pool: str, name: str) -> list[str]:
    """The command line of a worker; it runs until it gets SIGTERM, and its jobs get SIGTERM with it."""
    return [
        *(sys.executable, "-m", "prefect", "worker", "start"),
        *("--pool", work_pool, "--type", "process", "--name", name, "--limit", str(JOBS_AT_A_TIME)),
    ]


def worker_environment() -> dict[str, str]:
    """What the command needs in its environment, beside PREFECT_API_URL and credentials."""
    return {
        # The default of 10 is most of the time that passes between a request and its job's first line. One
        # small query a second for each worker is nothing to the server.
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        # A job is taken when it is due, not ten seconds before: a job that waits for another one of its model
        # would be tried at every query, and leave a state and an event each time.
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
        "DO_NOT_TRACK": "1",
    }
