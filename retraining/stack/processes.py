"""Which processes belong to a stack, found without asking any of them.

Every component starts with a mark in its environment, which its children inherit, however deep, in whatever
session and after whoever's death. Linux shows the environment in /proc; elsewhere nothing is found and only
process groups are left to go by.
"""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

STACK = "RETRAINING_STACK"
"""Names the stack: a process with this variable belongs to it."""
COMPONENT = "RETRAINING_COMPONENT"
"""Names the component of the stack."""


def members(mark: str, component: str | None = None) -> set[int]:
    """Ids of the living processes of a stack, or of one of its components; never the caller's own."""
    wanted = {f"{STACK}={mark}".encode()}
    if component is not None:
        wanted.add(f"{COMPONENT}={component}".encode())
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # gone meanwhile, or somebody else's
            continue
        if wanted <= set(environment.split(b"\0")):
            found.add(int(folder.name))
    return found - {os.getpid()}


def alive(process: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent to notice does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:  # no /proc here, or gone since
        return not Path("/proc/self").exists()


def send(processes: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes that may be gone already."""
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def sweep(mark: str, grace_seconds: float = 5, limit_seconds: float = 10) -> bool:
    """End every process of a stack: politely, then by force. False if some would not go within the limit."""
    started = time.monotonic()
    send(members(mark), signal.SIGTERM)
    while left := members(mark):
        waited = time.monotonic() - started
        if waited > limit_seconds:
            return False
        if waited > grace_seconds:
            send(left, signal.SIGKILL)
        time.sleep(0.05)
    return True
