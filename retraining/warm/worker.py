"""`prefect`, as our workers run it: `python -m retraining.warm.worker worker start ...`.

The worker's first job finds everything imported. A job that does nothing starts the server, while the worker
goes on: in the environment of the worker's jobs, or the server would not be theirs. If jobs cannot start
warm, the worker's output says why.
"""

import os
import subprocess
import sys
import tempfile
import warnings
from importlib import import_module
from threading import Thread

from retraining.warm import launcher, rehearsal


def main() -> None:
    """Run Prefect's own command line."""
    from prefect.cli import app

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it takes the place of Prefect's own process worker
        import_module("retraining.orchestrator.slot_worker")
    Thread(target=rehearse, name="rehearsal", daemon=True).start()
    sys.argv[0] = "prefect"
    app()


def rehearse() -> None:
    """Start a job that does nothing, and wait for its end."""
    with tempfile.TemporaryDirectory() as folder:  # a working folder without modules, as jobs have
        subprocess.run(  # noqa: S603 - our own
            [sys.executable, "-I", "-S", launcher.__file__, rehearsal.__name__],
            env=job_environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            check=False,
        )


def job_environment() -> dict[str, str]:
    """What Prefect gives to each job of this worker, but for what differs between jobs."""
    from prefect.settings import get_current_settings

    return {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}


if __name__ == "__main__":
    main()
