"""The warm server: everything imported, nothing run; forks a process for each job that connects.

`python -m retraining.warm`, started by the launcher with a listening socket. It starts no thread and opens
no connection, so that a fork of it is as good as a new interpreter that has done the same imports.
It leaves when the code has changed, and when the workers whose jobs it started are gone; jobs do not need it
once they run.
"""

import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from retraining.warm.freshness import Sources
from retraining.warm.keeper import Keeper, receive
from retraining.warm.launcher import ALIVE, LEAVING, LISTENING, REFUSED, peer

MODULES = (
    *("prefect.flow_engine", "prefect.events.clients", "prefect.runner", "prefect.telemetry.run_telemetry"),
    *("mlflow.sklearn", "mlflow.pyfunc", "skops.io", "matplotlib.figure", "matplotlib.backends.backend_agg"),
    *(
        "sklearn.ensemble",
        "sklearn.pipeline",
        "sklearn.compose",
        "sklearn.preprocessing",
        "sklearn.linear_model",
    ),
    *("pandas", "polars", "pyarrow.parquet", "lightgbm", "anyio._backends._asyncio"),
    *("flows.retrain", "flows.monitor"),
)
"""What jobs import. One that is not installed is left out."""
QUIET_THREADS = frozenset({"jemalloc_bg_thd", "polars-ooc-clea"})
"""Threads of libraries that only sleep, and that no fork needs: its memory is cleared by other means, and
polars spills nothing to disk unless told to."""
SETTLE_SECONDS = 5.0
IDLE_SECONDS = 600.0
"""How long a server without a living worker waits for a job."""


def main() -> None:
    """Import, then serve; returns in the forked process of a job, whose module it then runs."""
    os.closerange(ALIVE + 1, os.sysconf("SC_OPEN_MAX"))
    listening = socket.socket(fileno=LISTENING)
    started_ns, environment = time.time_ns(), dict(os.environb)
    preload()
    refusal = settle()
    if refusal is None and os.fork():
        os._exit(0)  # the threads stay behind
    gc.collect()
    gc.freeze()  # the garbage collector of a job would copy all pages
    job = Server(listening, Sources.of_loaded_modules(started_ns), environment, refusal).serve()
    if job is not None:
        job()


def preload() -> None:
    """Import what jobs import, and the modules of the catalog, usable or not."""
    from importlib import import_module

    from retraining.catalog.discovery import load_catalog
    from retraining.settings import Settings

    for name in MODULES:
        with suppress(ImportError):
            import_module(name)
    settings = Settings()
    load_catalog(settings.models, settings.models_path)


def settle() -> str | None:
    """Wait until this thread is alone but for sleeping ones that no fork misses; else say what there is."""
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)  # OpenBLAS ends its threads at a fork, and makes new ones when it is used
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        others = _other_threads()
        strangers = sorted({name for name, _ in others if name not in QUIET_THREADS})
        if not strangers and all(state == "S" for _, state in others):
            return None
        if time.monotonic() > deadline:
            running = strangers or sorted({name for name, _ in others})
            return f"an imported module has started threads: {', '.join(running)}"
        time.sleep(0.02)


def _other_threads() -> list[tuple[str, str]]:
    """Name and state of each thread of this process but the calling one."""
    threads = []
    for folder in Path("/proc/self/task").iterdir():
        if int(folder.name) == os.getpid():
            continue
        with suppress(OSError):  # it has just ended
            name, _, facts = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            threads.append((name, facts.split()[0]))
    return threads


class Server:
    """Accepts launchers, and forks a keeper for each."""

    def __init__(
        self,
        listening: socket.socket,
        sources: Sources,
        environment: dict[bytes, bytes],
        refusal: str | None,
    ) -> None:
        self._listening = listening
        self._sources = sources
        self._refusal = refusal
        self._environment = environment
        self._workers: dict[int, int] = {}
        """Process descriptor of each worker, by its id."""

    def serve(self) -> Callable[[], None] | None:
        """Accept until it is time to leave: None. In the forked process of a job: what the job is to do."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a keeper ended
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll(IDLE_SECONDS * 1000 if not self._workers else None)}
            for worker, descriptor in list(self._workers.items()):
                if descriptor in ready:
                    poll.unregister(descriptor)
                    os.close(self._workers.pop(worker))
            if self._listening.fileno() not in ready:
                if not self._workers:
                    return None
                continue
            connection, _ = self._listening.accept()
            launcher, user = peer(connection)
            if user != os.getuid():
                connection.close()
                continue
            if self._sources.changed() is not None:
                self._listening.close()  # first: the launcher starts another server at once
                os.close(ALIVE)
                connection.sendall(LEAVING)
                return None
            if (job := self._fork(connection)) is not None:
                return job
            if (known := self._know_worker(launcher)) is not None:
                poll.register(known, select.POLLIN)
            connection.close()

    def _fork(self, connection: socket.socket) -> Callable[[], None] | None:
        refusal = self._refusal
        if refusal is None and (threads := _other_threads()):
            refusal = f"the warm server has {len(threads) + 1} threads"
        if refusal is not None:
            with suppress(OSError):
                # Closing a connection with something unread in it takes the answer along.
                request = receive(connection)
                for descriptor in (*request.streams, request.folder):
                    os.close(descriptor)
                connection.sendall(REFUSED + refusal.encode())
            return None
        if os.fork():
            return None
        self._listening.close()
        os.close(ALIVE)
        for descriptor in self._workers.values():
            os.close(descriptor)
        return Keeper(connection, self._environment).run()

    def _know_worker(self, launcher: int) -> int | None:
        """A descriptor that tells when the worker of the launcher ends; None if it is known, or gone."""
        try:
            status = Path(f"/proc/{launcher}/stat").read_text()
            worker = int(status.rpartition(")")[2].split()[1])
            if worker <= 1 or worker in self._workers:
                return None
            descriptor = os.pidfd_open(worker)
        except OSError:
            return None
        self._workers[worker] = descriptor
        return descriptor
