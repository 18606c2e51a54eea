"""`stack.json`: how others find a living stack."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from retraining.errors import StackNotRunning
from retraining.stack.home import Home, write_private


@dataclass(frozen=True)
class Pids:
    """Process ids of the components, each the leader of its own session."""

    prefect: int
    mlflow: int
    api: int
    workers: tuple[int, ...]
    supervisor: int


@dataclass(frozen=True)
class Addresses:
    """Where the servers of a stack answer."""

    api_url: str
    prefect_api_url: str
    prefect_ui_url: str
    mlflow_url: str


@dataclass(frozen=True)
class Stack:
    """A stack that is ready."""

    addresses: Addresses
    pids: Pids


def write_stack_file(home: Home, stack: Stack) -> None:
    """Say that the stack is ready; readers see the old file or the new one, never half of one."""
    content = {**asdict(stack.addresses), "pids": asdict(stack.pids)}
    write_private(home.stack_file, json.dumps(content, indent=2) + "\n")


def read_stack_file(home: Path) -> Stack:
    """The stack that runs in `home`. Raises StackNotRunning."""
    try:
        content = json.loads((home / "stack.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise StackNotRunning(home) from exc
    pids = content.pop("pids")
    return Stack(Addresses(**content), Pids(**{**pids, "workers": tuple(pids["workers"])}))
