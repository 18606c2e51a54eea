"""One server or step of the stack, and its process."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from retraining.stack import leash
from retraining.stack.home import Home
from retraining.stack.processes import COMPONENT, STACK

LOOK_BACK_BYTES = 16 * 1024
Health = Callable[[httpx.AsyncClient], Awaitable[bool]]
"""Asks a component whether it does its work; False, or an HTTP error, while it does not."""


@dataclass(frozen=True)
class Component:
    """What runs, and when it counts as ready."""

    name: str
    command: tuple[str, ...]
    """The first part is a path."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside the stack's own."""
    needs: tuple[str, ...] = ()
    """Components that are ready before this one starts."""
    health: Health | None = None
    """None for a step, which is ready when it has ended well."""
    ready_within: float = 120
    """Seconds."""
    runs_jobs: bool = False
    """Its children are jobs: they go on while it is started again, and end first when the stack stops."""


class ComponentProcess:
    """The process of a component: leader of a session, tied to the supervisor's life, writing to its log."""

    def __init__(self, component: Component, process: asyncio.subprocess.Process) -> None:
        self.component = component
        self.pid = process.pid
        self._process = process

    @classmethod
    async def start(
        cls, component: Component, environment: Mapping[str, str], home: Home
    ) -> "ComponentProcess":
        """Start the component in the home; its log goes on where an earlier process left it."""
        with home.log(component.name).open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
                *component.command,
                # Not where the stack was started: a project there may have an `api` or `flows` of its own,
                # and settings for another Prefect.
                cwd=home.path,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**environment, **component.environment, STACK: home.mark(), COMPONENT: component.name},
                start_new_session=True,
            )
        return cls(component, process)

    async def wait(self) -> int:
        """The exit code, once the process has ended; negative for a signal's number."""
        return await self._process.wait()

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.returncode


def last_lines(log: Path, count: int = 15) -> list[str]:
    """The end of a log, without empty lines."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOOK_BACK_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-count:]


def answers(url: str) -> Health:
    """Healthy while the address answers 200."""

    async def ask(client: httpx.AsyncClient) -> bool:
        return (await client.get(url)).status_code == httpx.codes.OK

    return ask
