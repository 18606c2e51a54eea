"""The warm server: everything imported, nothing run; forks a process for each job that connects.

`python -m retraining.warm`, started by the launcher with a listening socket. It starts no thread and opens
no connection, so that a fork of it is as good as a new interpreter that has done the same imports.
It begins anew when the code has changed, and leaves when the workers whose jobs it started are gone; jobs do
not need it once they run.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from retraining.warm.freshness import Sources
from retraining.warm.keeper import Keeper, receive
from retraining.warm.launcher import ALIVE, LEAVING, LISTENING, REFUSED, peer

MODULES = (
    *("prefect.flow_engine", "prefect.task_engine", "prefect.events.clients", "prefect.runner"),
    *("prefect.telemetry.run_telemetry", "prefect.utilities.visualization"),
    *("prefect.concurrency.services", "prefect.concurrency._sync", "prefect.concurrency._events"),
    *("mlflow.sklearn", "mlflow.pyfunc", "skops.io", "matplotlib.figure", "matplotlib.backends.backend_agg"),
    *("mlflow.tracking.request_header.registry", "narwhals.stable.v2", "pyarrow.pandas_compat"),
    # What scikit-learn imports when it first meets the names of a frame's columns, and others at first use.
    *("narwhals._pandas_like.dataframe", "narwhals.stable.v2._namespace", "polars._utils.parquet"),
    *("pandas.core.methods.to_dict", "pyarrow.vendored.version", "encodings.cp437", "netrc"),
    *("rich._emoji_codes", "narwhals._duration"),
    # What Pillow imports before it writes its first picture.
    *(f"PIL.{kind}ImagePlugin" for kind in ("Bmp", "Gif", "Jpeg", "Ppm", "Png")),
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
LOOK_SECONDS = 2.0
"""How often an idle server looks at its code. A change counts once nothing more changes between two looks."""


def main() -> None:
    """Import, then serve; returns in the forked process of a job, whose module it then runs.

    Arguments are the process ids of the workers that the server before this one knew.
    """
    os.closerange(ALIVE + 1, os.sysconf("SC_OPEN_MAX"))
    listening = socket.socket(fileno=LISTENING)
    started_ns, environment = time.time_ns(), dict(os.environb)
    preload()
    refusal = settle()
    if refusal is None and os.fork():
        os._exit(0)  # the threads stay behind
    gc.collect()
    gc.freeze()  # the garbage collector of a job would copy all pages
    server = Server(listening, Sources.of_loaded_modules(started_ns), environment, refusal)
    for worker in sys.argv[1:]:
        server.know(int(worker))
    if (job := server.serve()) is not None:
        job()


def preload() -> None:
    """Import what jobs import, and the modules of the catalog, usable or not."""
    from importlib import import_module

    from retraining.catalog.discovery import load_catalog
    from retraining.registry.flavours import look_up_installed
    from retraining.settings import Settings

    for name in MODULES:
        with suppress(ImportError):
            import_module(name)
    settings = Settings()
    load_catalog(settings.models, settings.models_path)
    with suppress(ImportError):
        look_up_installed()


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
        self._seen = sources
        self._workers: dict[int, int] = {}
        """Process descriptor of each worker, by its id."""

    def serve(self) -> Callable[[], None] | None:
        """Accept until it is time to leave: None. In the forked process of a job: what the job is to do."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a keeper ended
        while True:
            poll = select.poll()
            for descriptor in (self._listening.fileno(), *self._workers.values()):
                poll.register(descriptor, select.POLLIN)
            seconds = LOOK_SECONDS if self._workers else IDLE_SECONDS
            ready = {number for number, _ in poll.poll(seconds * 1000)}
            for ended in [worker for worker, known in self._workers.items() if known in ready]:
                os.close(self._workers.pop(ended))
            if self._listening.fileno() not in ready:
                if not self._workers:
                    return None
                if self._outdated():
                    self._begin_anew()
                continue
            connection, _ = self._listening.accept()
            launcher, user = peer(connection)
            if user != os.getuid():
                connection.close()
                continue
            if (worker := _parent(launcher)) is not None:
                self.know(worker)
            if self._sources.changed() is not None:
                with suppress(OSError):
                    connection.sendall(LEAVING)
                connection.close()
                self._begin_anew()
            if (job := self._fork(connection)) is not None:
                return job
            connection.close()

    def know(self, worker: int) -> None:
        """Stay as long as this process does."""
        if worker not in self._workers:
            with suppress(OSError):  # it is gone
                self._workers[worker] = os.pidfd_open(worker)

    def _outdated(self) -> bool:
        """Whether the code has changed, and does so no more."""
        now = self._sources.as_they_are_now()
        steady, self._seen = now == self._seen, now
        # What changed while it was being imported may do so at every import: that is left to the next job.
        return steady and now != self._sources and None not in self._sources.known.values()

    def _begin_anew(self) -> NoReturn:
        """Become a new server on the same socket, where launchers wait meanwhile."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an import may ask how its child ended
        workers = map(str, self._workers)
        command = [sys.executable, "-P", "-m", "retraining.warm", *workers]
        os.execve(sys.executable, command, self._environment)  # noqa: S606 - no shell wanted

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


def _parent(process: int) -> int | None:
    """The process that started this one, None if either is gone."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    parent = int(status.rpartition(")")[2].split()[1])
    return parent if parent > 1 else None
