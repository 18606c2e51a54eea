"""The folder a stack lives in: its lock, keys, logs and databases."""

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retraining.errors import HomeInUse, HomeNotWritable
from retraining.stack.processes import alive

CLEARING_SECONDS = 15


@dataclass(frozen=True)
class Home:
    """Where everything of a stack is kept. The path is absolute."""

    path: Path

    @property
    def admin_key(self) -> Path:
        """The administrator's API key, mode 0600."""
        return self.path / "admin.key"

    @property
    def servers_password(self) -> Path:
        """User and password of Prefect's and MLflow's servers, as `user:password`, mode 0600."""
        return self.path / "servers.password"

    @property
    def cli_env(self) -> Path:
        """Variables for the `prefect`, `mlflow` and `retraining` commands, mode 0600."""
        return self.path / "cli.env"

    @property
    def stack_file(self) -> Path:
        """Addresses and process ids of the living stack; absent when none is ready."""
        return self.path / "stack.json"

    def log(self, component: str) -> Path:
        """The log of a component."""
        return self.path / "logs" / f"{component}.log"

    def mark(self) -> str:
        """What the environment of the stack's processes carries: this very folder, not one of its name."""
        status = self.path.stat()
        return f"{status.st_dev:x}-{status.st_ino:x}"

    def prepare(self) -> None:
        """Make the folders. Raises HomeNotWritable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)  # databases, logs and keys are nobody else's, in a home that was there too
            for folder in ("logs", "prefect", "mlflow"):
                (self.path / folder).mkdir(exist_ok=True)
            probe = self.path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as exc:
            raise HomeNotWritable(self.path, exc.strerror or str(exc)) from exc

    def lock(self) -> int:
        """Take the home for this process and whoever inherits the descriptor that is returned.

        The watchdog of a supervisor that was killed holds the lock while it clears up: that is waited for.

        Raises:
            HomeInUse: a living stack has it.
        """
        descriptor = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + CLEARING_SECONDS
        while not _taken(descriptor):
            holder = os.pread(descriptor, 20, 0).decode()
            pid = int(holder) if holder.isdigit() else None
            if (pid is not None and alive(pid)) or time.monotonic() > deadline:
                os.close(descriptor)
                raise HomeInUse(self.path, pid)
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; nobody else can read it at any moment."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
