"""The keeper: between a job and its launcher, one a job.

A fork of the warm server, so that nothing of a job depends on the server once it runs. It checks what the
launcher asks for, forks the job, relays signals to it and its end to the launcher, and kills it when the
launcher is gone.
"""

import array
import ctypes
import importlib
import io
import marshal
import os
import random
import resource
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.machinery import all_suffixes
from pathlib import Path

from retraining.warm.exit import SWIFT_EXIT
from retraining.warm.launcher import (
    ACCEPTED,
    DESCRIPTOR_BYTES,
    ENDED,
    LENGTH_BYTES,
    PASSED_ON,
    REFUSED,
    RELAYED,
    STATUS_BYTES,
    shared,
)

REQUEST_SECONDS = 10
TO_ALL_SECONDS = 0.05
"""How far apart one SIGTERM to every process of a stack may arrive."""
ONE_OCCASION_SECONDS = 5
"""How long a launcher may take to pass that SIGTERM on: on a busy machine it waits for its turn."""
PR_SET_PDEATHSIG = 1


class RefusedError(Exception):
    """The job cannot be a fork of this server; the message says why."""


@dataclass(frozen=True)
class Request:
    """What a launcher asks for."""

    environment: dict[bytes, bytes]
    umask: int
    limits: list[tuple[int, int, int]]
    """Resource, soft and hard limit."""
    ignored: list[int]
    """Signals that the launcher was started to ignore."""
    arguments: list[str]
    """A module and its arguments."""
    streams: tuple[int, ...]
    """Descriptors of standard input, output and error."""
    folder: int
    """Descriptor of the working folder."""


class Keeper:
    """Keeps one job. `environment` is the one in which the server was started."""

    def __init__(self, connection: socket.socket, environment: Mapping[bytes, bytes]) -> None:
        self._connection = connection
        self._environment = dict(environment)
        self._terminated_at = float("-inf")

    def run(self) -> Callable[[], None]:
        """Keep the job until its end, and end with it. In the forked process: what the job is to do."""
        try:
            request = receive(self._connection)
            self._check(request)
            self._connection.sendall(ACCEPTED)
        except RefusedError as refusal:
            with suppress(OSError):
                self._connection.sendall(REFUSED + str(refusal).encode())
            os._exit(0)
        except OSError:  # the launcher is gone before the job began
            os._exit(0)
        self._connection.settimeout(None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._note_termination)
        keeper = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, RELAYED)  # until the job has handlers of its own
        job = os.fork()
        if job == 0:
            self._connection.close()
            return partial(become, request, keeper, self._made_by_imports())
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with suppress(OSError):
            self._keep(job, request)
        os._exit(0)

    def _check(self, request: Request) -> None:
        """Raise RefusedError unless a fork of the server is what a new interpreter would be."""
        if shared(request.environment) != shared(self._environment):
            raise RefusedError("its environment is not that of the warm server")
        if request.environment.get(b"POLARS_OOC_SPILL_POLICY", b"no_spill") != b"no_spill":
            raise RefusedError("polars cannot spill to disk in a fork")
        if not request.environment.get(b"PYTHONSAFEPATH"):
            loaded = {name.partition(".")[0] for name in sys.modules}
            for entry in os.listdir(request.folder):  # noqa: PTH208 - a descriptor
                name, dot, rest = entry.partition(".")
                if name in loaded and (not dot or f".{rest}" in all_suffixes()):
                    raise RefusedError(f"its working folder has a {entry} of its own")
        try:
            for kind, soft, hard in request.limits:
                if resource.getrlimit(kind) != (soft, hard):
                    resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError) as problem:
            raise RefusedError(f"its resource limits exceed the warm server's: {problem}") from problem

    def _made_by_imports(self) -> dict[bytes, bytes]:
        """Environment variables that an import has set, as it would have in the job."""
        return {name: value for name, value in os.environb.items() if self._environment.get(name) != value}

    def _note_termination(self, _number: int, _frame: object) -> None:
        self._terminated_at = time.monotonic()

    def _keep(self, job: int, request: Request) -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        for number in (nothing, *request.streams, request.folder):
            os.close(number)  # whoever reads the job's output waits for the last of these
        descriptor = os.pidfd_open(job)
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        poll.register(descriptor, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll()}
            if descriptor in ready:
                break
            asked = self._ask()
            if not asked:
                for kill in (os.killpg, os.kill):  # it may lead no session yet
                    with suppress(ProcessLookupError):
                        kill(job, signal.SIGKILL)
                break
            for number in asked:
                self._relay(job, number)
        _, status = os.waitpid(job, 0)
        self._connection.sendall(ENDED + status.to_bytes(STATUS_BYTES, "big"))

    def _ask(self) -> bytes:
        try:
            return self._connection.recv(64)
        except ConnectionResetError:
            return b""

    def _relay(self, job: int, number: int) -> None:
        if number == signal.SIGTERM:
            # Somebody who ends all processes of a stack has sent it to the job as well. A second one would
            # interrupt the job in telling Prefect how it ends.
            time.sleep(TO_ALL_SECONDS)
            if time.monotonic() - self._terminated_at < ONE_OCCASION_SECONDS:
                return
        with suppress(ProcessLookupError):
            os.kill(job, number)


def receive(connection: socket.socket) -> Request:
    """Read a request; its descriptors are the caller's. Raises OSError, also if it takes too long."""
    connection.settimeout(REQUEST_SECONDS)
    size = DESCRIPTOR_BYTES * PASSED_ON
    length, ancillary, _, _ = connection.recvmsg(LENGTH_BYTES, socket.CMSG_SPACE(size))
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content)
    if len(length) < LENGTH_BYTES or len(descriptors) != PASSED_ON:
        raise ConnectionAbortedError
    body = bytearray()
    while len(body) < int.from_bytes(length, "big"):
        if not (part := connection.recv(1 << 20)):
            raise ConnectionAbortedError
        body += part
    environment, umask, limits, ignored, arguments = marshal.loads(body)  # noqa: S302 - of this very user
    *streams, folder = descriptors
    return Request(environment, umask, limits, ignored, arguments, tuple(streams), folder)


def become(request: Request, keeper: int, made_by_imports: Mapping[bytes, bytes]) -> None:
    """Turn this fork into the process that the launcher was asked for, and run the module.

    Returns as the module does; raises what it raises: the interpreter ends as it would have.
    """
    os.setsid()
    _die_with(keeper)
    for number in {*RELAYED, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN if number in request.ignored else signal.SIG_DFL)
    if signal.SIGINT not in request.ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.fchdir(request.folder)
    for number, descriptor in enumerate(request.streams):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.umask(request.umask)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=stream is sys.stderr or stream.isatty())
    os.environb.clear()
    os.environb.update({**request.environment, **made_by_imports})
    _forget()
    sys.argv = list(request.arguments)
    if not os.environ.get("PYTHONSAFEPATH"):
        sys.path.insert(0, str(Path.cwd()))
    sys.modules.pop(sys.argv[0], None)
    with SWIFT_EXIT:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _die_with(keeper: int) -> None:
    """Linux kills this process when its keeper ends, whatever ended it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:
        os._exit(1)


def _forget() -> None:
    """Nothing of this process is common to all forks: seeds, settings, what was not found on the disk."""
    import numpy as np
    import polars as pl
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging
    from prefect.settings import get_current_settings

    random.seed()
    np.random.seed()
    pl.set_random_seed(int.from_bytes(os.urandom(7)))
    importlib.invalidate_caches()
    imported_with = get_current_settings()
    refresh_global_settings_context()
    if get_current_settings() != imported_with:  # a file has changed, or is in the working folder
        setup_logging(incremental=False)
