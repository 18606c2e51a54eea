"""The whole stack from its first check to its last process: what `retraining up` does."""

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from retraining.errors import ComponentFailed
from retraining.stack.component import last_lines
from retraining.stack.home import Home, write_private
from retraining.stack.password import credentials_of
from retraining.stack.plan import (
    LOOPBACK,
    Ports,
    addresses,
    client_environment,
    components,
    stack_environment,
    worker_names,
)
from retraining.stack.ports import choose_ports
from retraining.stack.stack_file import Addresses, Pids, Stack, write_stack_file
from retraining.stack.supervisor import Supervisor

READY_WITHIN_SECONDS = 60


@dataclass(frozen=True)
class StackOptions:
    """What a person may choose. Port 0 is a free one."""

    home: Path
    host: str = "127.0.0.1"
    api_port: int = 8000
    prefect_port: int = 4200
    mlflow_port: int = 5000
    workers: int = 1
    work_pool: str = "retraining"
    warm_start: bool = True


async def run_stack(
    options: StackOptions, *, say: Callable[[str], None], ready: Callable[[Home, Addresses], None]
) -> None:
    """Run the stack until SIGTERM, SIGINT or SIGHUP; a second signal gives nobody time to end by itself.

    `say` gets news for people, `ready` is called once, when everything works.

    Raises:
        CannotStart: nothing was started: the home or a port is not to be had.
        ComponentFailed: a component did not come up; everything is stopped again.
    """
    home = Home(options.home.absolute())
    home.prepare()
    lock = home.lock()
    try:
        wanted = {"api": options.api_port, "prefect": options.prefect_port, "mlflow": options.mlflow_port}
        where = addresses(options.host, ports := Ports(**choose_ports(options.host, wanted)))
        if options.host not in LOOPBACK:
            say(
                f"listening on {options.host}: keys and the servers' password cross the network as they are; "
                "put a proxy with TLS in front"
            )
        home.stack_file.unlink(missing_ok=True)
        credentials = credentials_of(home)
        _write_client_environment(home, client_environment(home, where, credentials))
        supervisor = Supervisor(
            components(
                options.host,
                ports,
                home,
                where,
                credentials,
                workers=options.workers,
                work_pool=options.work_pool,
                warm_start=options.warm_start,
            ),
            home=home,
            environment=stack_environment(home, where, credentials),
            lock=lock,
            say=say,
            changed=lambda pids: _write_stack_file(home, where, pids, options.workers),
        )
        await _until_signalled(supervisor, home, where, say, ready)
    finally:
        os.close(lock)


async def _until_signalled(
    supervisor: Supervisor,
    home: Home,
    where: Addresses,
    say: Callable[[str], None],
    ready: Callable[[Home, Addresses], None],
) -> None:
    running = asyncio.current_task()
    assert running is not None
    signals = 0

    def on_signal(name: str) -> None:
        nonlocal signals
        signals += 1
        if supervisor.stopping or signals > 1:
            supervisor.hurry()
        else:
            say(f"stopping ({name})")
            running.cancel()

    loop = asyncio.get_running_loop()
    stopping_signals = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        stopping_signals.add(signal.SIGHUP)
    for number in stopping_signals:
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        async with supervisor:
            await supervisor.start()
            await _facade_ready(home, where, say)
            supervisor.announce()
            ready(home, where)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if signals == 0:  # somebody else's wish
            raise
        say("stopped")


async def _facade_ready(home: Home, where: Addresses, say: Callable[[str], None]) -> None:
    """Wait until the facade itself says that everything it needs is there.

    A catalog with an entry that cannot be used does not heal by waiting: the other models are served.
    """
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while True:
            problem = "does not answer"
            with suppress(httpx.HTTPError, ValueError, KeyError):
                answer = await client.get(f"{where.api_url}/ready")
                if answer.is_success:
                    return
                problem = answer.json()["message"]
                checks = answer.json()["checks"]
                if [part for part, check in checks.items() if not check["ready"]] == ["catalog"]:
                    say(problem)
                    return
            if time.monotonic() > deadline:
                raise ComponentFailed(
                    "api", f"is not ready: {problem}", home.log("api"), last_lines(home.log("api"))
                )
            await asyncio.sleep(0.1)


def _write_client_environment(home: Home, environment: Mapping[str, str]) -> None:
    lines = (f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
    write_private(home.cli_env, "".join(lines))


def _write_stack_file(home: Home, where: Addresses, running: Mapping[str, int], workers: int) -> None:
    names = worker_names(workers)
    if {"prefect", "mlflow", "api", *names} <= running.keys():  # otherwise one is just being started again
        pids = Pids(
            prefect=running["prefect"],
            mlflow=running["mlflow"],
            api=running["api"],
            workers=tuple(running[name] for name in names),
            supervisor=os.getpid(),
        )
        write_stack_file(home, Stack(where, pids))
