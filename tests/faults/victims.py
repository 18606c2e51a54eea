"""The processes of a component, and their end by SIGKILL."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from retraining.stack.home import Home
from retraining.stack.processes import alive, members
from tests.stack.running import RunningStack
from tests.stack.waiting import until

GONE_SECONDS = 30


def warm_servers(stack: RunningStack) -> set[int]:
    """One, or while it begins anew two. Jobs are forks of it; its lock file is what they have closed."""
    found = set()
    for pid in stack.processes():
        with suppress(OSError):
            locked = Path(f"/proc/{pid}/fd/4").readlink()
            if locked.suffix == ".alive" and locked.is_relative_to(stack.home / "warm"):
                found.add(pid)
    return found


def kill(pids: Iterable[int]) -> None:
    """All at the same moment: none sees another one's end. Returns when they are gone."""
    victims = list(pids)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    until(lambda: not any(map(alive, victims)), GONE_SECONDS)


def whole_stack(stack: RunningStack) -> list[int]:
    """Its components and their jobs, its supervisor, and the watchdog that would clear up after that."""
    supervisor = stack.pids.supervisor
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [supervisor, *map(int, children), *members(Home(stack.home).mark())]
