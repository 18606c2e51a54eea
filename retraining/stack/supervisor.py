"""Starts components in the order of their needs, keeps them alive, and stops them all."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import httpx

from retraining.errors import ComponentFailed
from retraining.stack.component import Component, ComponentProcess, last_lines
from retraining.stack.home import Home
from retraining.stack.processes import STACK, members, send, sweep

POLL_SECONDS = 0.1
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A component that lived this long is started again without delay; its earlier deaths are forgotten."""
JOB_GRACE_SECONDS = 4.0
WORKER_GRACE_SECONDS = 2.0
SERVER_GRACE_SECONDS = 3.0
"""How long they may take to end by themselves, one after the other."""
FORCE_SECONDS = 1.5
"""How long a killed process is waited for before it is given up: it hangs in the kernel."""


class Supervisor:
    """A set of components, as one thing that starts, lives and stops. Entered in the main thread.

    The components are tied to the thread that starts them (see `leash`), and to a watchdog process that
    outlives this one.
    """

    def __init__(
        self,
        components: Sequence[Component],
        *,
        home: Home,
        environment: Mapping[str, str],
        lock: int,
        say: Callable[[str], None],
        changed: Callable[[Mapping[str, int]], None],
    ) -> None:
        """`say` gets news for people; `changed` the process ids of all components, when one is new."""
        self._components = components
        self._home = home
        self._mark = home.mark()
        self._environment = environment
        self._lock = lock
        self._say = say
        self._changed = changed
        self._processes: dict[str, ComponentProcess] = {}
        self._ready = {component.name: asyncio.Event() for component in components}
        self._client = httpx.AsyncClient(timeout=5, trust_env=False)  # loopback, past any proxy
        self.stopping = False
        self._announced = False
        self._hurried = False
        self._keepers: list[asyncio.Task[None]] = []
        self._watchdog: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        sweep(self._mark)  # what a stack left whose supervisor and watchdog were both killed
        self._watchdog = subprocess.Popen(  # noqa: ASYNC220, S603 - at once, before any component; our own
            [sys.executable, "-P", "-m", "retraining.stack.watchdog", self._mark, str(self._home.stack_file)],
            env={name: value for name, value in os.environ.items() if name != STACK},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[self._lock],
            start_new_session=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring every component up, as many at a time as their needs allow.

        Raises:
            ComponentFailed: one ended or did not become ready in time.
        """
        failed: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as starting:
                for component in self._components:
                    starting.create_task(self._bring_up(component))
        except* ComponentFailed as failures:
            failed += failures.exceptions
        if failed:
            raise failed[0]  # here: what is raised in `except*` may come out as a group
        for component in self._components:
            if component.health is not None:
                self._keepers.append(asyncio.create_task(self._keep(component)))

    def announce(self) -> None:
        """From now on `changed` is told."""
        self._announced = True
        self._tell()

    @property
    def pids(self) -> dict[str, int]:
        """The process of each component that runs."""
        return {name: process.pid for name, process in self._processes.items() if process.exit_code is None}

    async def stop(self) -> None:
        """End every process of the stack: jobs, then workers, then servers. Nothing is left."""
        self.stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._home.stack_file.unlink(missing_ok=True)
        names = [component.name for component in self._components if component.runs_jobs]
        workers = {self.pids[name] for name in names if name in self.pids}

        def with_jobs() -> set[int]:
            return set().union(*map(self._members, names))

        # A worker that is asked to end takes its jobs with it, and nobody tells Prefect: they would show as
        # running for ever. Asked alone, they say themselves how they end; the worker must not start others.
        send(workers, signal.SIGSTOP)
        await self._end(lambda: with_jobs() - workers, JOB_GRACE_SECONDS)
        send(workers, signal.SIGCONT)
        await self._end(with_jobs, WORKER_GRACE_SECONDS)
        await self._end(lambda: members(self._mark) | set(self.pids.values()), SERVER_GRACE_SECONDS)
        await self._client.aclose()
        if self._watchdog is not None:
            self._watchdog.communicate()  # closing its input ends it

    def hurry(self) -> None:
        """Give nobody any more time to end by itself."""
        self._hurried = True

    async def _end(self, living: Callable[[], set[int]], grace: float) -> None:
        send(living(), signal.SIGTERM)
        started = time.monotonic()
        while left := living():
            waited = time.monotonic() - started
            if waited > grace + FORCE_SECONDS:
                self._say(f"could not end the processes {sorted(left)}")
                return
            if waited > grace or self._hurried:
                send(left, signal.SIGKILL)
            await asyncio.sleep(POLL_SECONDS)

    def _members(self, name: str) -> set[int]:
        """The processes of one component. Without /proc, at least the one that was started."""
        running = self.pids.get(name)
        return members(self._mark, name) | ({running} if running else set())

    async def _bring_up(self, component: Component) -> None:
        for need in component.needs:
            await self._ready[need].wait()
        started = time.monotonic()
        await self._launch(component)
        self._ready[component.name].set()
        done = "ready" if component.health else "done"
        self._say(f"{component.name} {done} in {time.monotonic() - started:.1f} s")

    async def _launch(self, component: Component) -> None:
        log = self._home.log(component.name)
        try:
            process = await ComponentProcess.start(component, self._environment, self._home)
        except OSError as exc:  # no memory, no file handles, no room for the log
            raise ComponentFailed(component.name, f"cannot be started: {exc}", log, []) from exc
        self._processes[component.name] = process
        try:
            async with asyncio.timeout(component.ready_within):
                problem = await self._until_ready(process)
        except TimeoutError:
            problem = f"was not ready after {component.ready_within:.0f} s"
        if problem:
            raise ComponentFailed(component.name, problem, log, last_lines(log))

    async def _until_ready(self, process: ComponentProcess) -> str | None:
        """What went wrong, None if it is ready."""
        health = process.component.health
        if health is None:
            code = await process.wait()
            return None if code == 0 else f"ended with {describe_exit(code)}"
        while process.exit_code is None:
            try:
                if await health(self._client):
                    return None
            except httpx.HTTPError:
                pass  # not listening yet
            await asyncio.sleep(POLL_SECONDS)
        return f"ended with {describe_exit(process.exit_code)}"

    async def _keep(self, component: Component) -> None:
        """Start the component again each time it dies, later and later if it keeps dying."""
        log = self._home.log(component.name)
        deaths = 0
        while True:
            started = time.monotonic()
            code = await self._processes[component.name].wait()
            deaths = 1 if time.monotonic() - started > STEADY_SECONDS else deaths + 1
            delay = min(FIRST_BACK_OFF_SECONDS * 2 ** (deaths - 1), LONGEST_BACK_OFF_SECONDS)
            shown = "".join(f"\n    {line}" for line in last_lines(log))
            self._say(
                f"{component.name} ended with {describe_exit(code)}, starts again in {delay:g} s{shown}"
            )
            self._clear(component)
            await asyncio.sleep(delay)
            try:
                await self._launch(component)
            except ComponentFailed as failure:
                self._say(f"{component.name} {failure.problem}")
                self._clear(component)
            else:
                self._say(f"{component.name} is back")
                self._tell()

    def _clear(self, component: Component) -> None:
        """Kill what is left of a component: it would keep the port. Jobs go on without their worker."""
        running = self.pids.get(component.name)
        alone = {running} if running else set()
        send(alone if component.runs_jobs else self._members(component.name), signal.SIGKILL)

    def _tell(self) -> None:
        if not self._announced:
            return
        try:
            self._changed(self.pids)
        except OSError as exc:
            self._say(f"cannot write down the new process ids: {exc}")


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"
