"""`python -I -S launcher.py MODULE [ARGUMENT...]`: what `python -m` would do, in a fork of the warm server.

To whoever starts it, the launcher is the job: it hands its environment, working folder, umask, resource
limits and standard streams on, relays signals, and ends as the job ends, by its exit code or its signal. The
end of the launcher, of whatever kind, ends the job.

The warm server is started when there is none, and again when the code has changed. What cannot be started
warm starts cold, and says so in its log (see `retraining.warm.cold`).

Started by path for each job: no import beyond what is built into the interpreter, or the launcher costs more
than it saves (`socket` and `signal` would double its time). The server uses this module's names for the wire.
"""

# pathlib and contextlib would cost more than the rest:
# ruff: noqa: PTH102, PTH115, SIM105

import _signal  # type: ignore[import-not-found]  # built in, but unknown to the type checker
import _socket
import marshal
import os
import sys

SOCKETS = "RETRAINING_WARM_SOCKETS"
"""Environment variable: a folder for the sockets, if not one in XDG_RUNTIME_DIR or the temporary folder."""
REASON = "RETRAINING_COLD_START"
"""Environment variable of a job that started cold although it was meant to start warm: why."""

ACCEPTED, REFUSED, LEAVING, ENDED = b"+", b"-", b"~", b"="
"""First byte of an answer. ENDED is followed by a wait status, REFUSED by a reason."""
STATUS_BYTES = 4
LENGTH_BYTES = 8
DESCRIPTOR_BYTES = 4
PASSED_ON = 4
"""Descriptors: standard input, output, error, and the working folder."""
LISTENING, ALIVE = 3, 4
"""Descriptors of the server: its socket, and a file that stays locked as long as it lives."""

WARM_UP_SECONDS = 120
"""How long a job waits for a server that is still importing; a cold start would import the same."""
SERVERS_AT_MOST = 4
"""One a distinct environment. Each takes as much memory as the libraries; a job beyond that starts cold."""
NOT_SHARED = frozenset(
    {
        *(b"PWD", b"OLDPWD", b"SHLVL", b"_", b"RETRAINING_COMPONENT"),
        # Deployments set it, workers do not. Prefect reads it when a run begins.
        b"PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
    }
)
"""Differ between jobs, or between the workers of a stack, and mean nothing to an import."""
RELAYED = tuple(
    getattr(_signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
)


class ColdStartError(Exception):
    """The job cannot be started warm; the message says why."""


def shared(environment: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """What jobs must have in common to come from the same server: all that an import may have read."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(b"PREFECT__") and name not in NOT_SHARED
    }


def main() -> None:
    """Start the job, warm or cold, and end as it ends."""
    try:
        os.setsid()  # as a job of the stock command: what ends the worker's process group does not end it
    except PermissionError:
        pass  # it was started as the leader of a group
    wanted = os.environ.get("RETRAINING_WARM_START", "").lower() not in {"0", "false", "no", "off", "f", "n"}
    # A signal that comes before the job has begun ends the launcher, as it would end a starting interpreter.
    ignored = [number for number in RELAYED if _signal.getsignal(number) is _signal.SIG_IGN]
    try:
        job = _start(ignored) if wanted else None
        reason = None
    except (ColdStartError, OSError) as problem:
        job, reason = None, str(problem) or type(problem).__name__
    if job is None:
        _become_cold(reason)
    else:
        for number in RELAYED:
            if number not in ignored:
                _signal.signal(number, lambda number, _frame: _relay(job, number))
        _end_as(_await_end(job))


def _relay(job: _socket.socket, number: int) -> None:
    try:
        job.send(bytes([number]))
    except OSError:  # the job has just ended
        pass


def _start(ignored: list[int]) -> _socket.socket:
    """A connection to the job's keeper. Raises ColdStartError, OSError."""
    if sys.platform != "linux":
        raise ColdStartError("only Linux can start jobs warm")
    folder = _private_folder()
    environment = dict(os.environb)
    umask = os.umask(0o77)
    os.umask(umask)
    import resource

    limits = [
        (kind, *resource.getrlimit(kind))
        for kind in (getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
    ]
    request = marshal.dumps((environment, umask, limits, ignored, sys.argv[1:]))
    name = _name(environment)
    for _ in range(2):  # the first server may know only the code of yesterday
        connection = _connect(folder, name) or _start_server(folder, name, environment)
        try:
            connection.settimeout(WARM_UP_SECONDS)
            _send(connection, request)
            answer = connection.recv(1)
        except TimeoutError:
            raise ColdStartError("the warm server does not answer") from None
        except (BrokenPipeError, ConnectionResetError):  # it ended while this launcher was in its queue
            answer = b""
        if answer == ACCEPTED:
            connection.settimeout(None)
            return connection
        if answer == REFUSED:
            raise ColdStartError(_rest(connection))
    ended = f"the warm server ended, see {os.readlink(f'/proc/self/fd/{folder}')}/{name}.log"
    raise ColdStartError("the code is changing" if answer else ended)


def _private_folder() -> int:
    """A descriptor of the folder of the sockets, which is nobody else's. Raises ColdStartError."""
    path = os.environ.get(SOCKETS)
    if path is None:
        parent = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108
        path = f"{parent}/retraining-warm-{os.getuid()}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(folder)
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ColdStartError(f"{path} is open to others: its mode must be 0700, its owner this user")
    return folder


def _name(environment: dict[bytes, bytes]) -> str:
    """The name of the server of this interpreter, code and environment."""
    import binascii

    facts = sorted(shared(environment).items())
    # Another environment of the same name is refused by the server, which compares.
    # Version 2: later ones write equal values in different ways.
    return f"{binascii.crc32(marshal.dumps((sys.executable, sys.version, __file__, facts), 2)):08x}"


def _connect(folder: int, name: str) -> _socket.socket | None:
    """A connection to the server, None if there is none. Raises ColdStartError."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(WARM_UP_SECONDS)
    try:
        # By way of the descriptor: no path is too long for a socket then, and no folder is swapped.
        connection.connect(f"/proc/self/fd/{folder}/{name}.sock")
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    if peer(connection)[1] != os.getuid():
        raise ColdStartError("the warm server is somebody else's")
    return connection


def peer(connection: _socket.socket) -> tuple[int, int]:
    """Process id and user id of the other end."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    process, user = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    return process, user


def _send(connection: _socket.socket, request: bytes) -> None:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    descriptors = b"".join(number.to_bytes(DESCRIPTOR_BYTES, sys.byteorder) for number in (0, 1, 2, folder))
    length = len(request).to_bytes(LENGTH_BYTES, "big")
    connection.sendmsg([length], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    connection.sendall(request)


def _start_server(folder: int, name: str, environment: dict[bytes, bytes]) -> _socket.socket:
    """Start the server, unless another launcher has just done so; connected at once. Raises ColdStartError.

    It listens before it imports: launchers queue up at its socket, and learn at once if it dies.
    """
    import fcntl

    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (connection := _connect(folder, name)) is not None:
            return connection
        if _living_servers(folder) >= SERVERS_AT_MOST:
            raise ColdStartError(f"{SERVERS_AT_MOST} warm servers run already, for other environments")
        alive = os.open(f"{name}.alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder)
        fcntl.flock(alive, fcntl.LOCK_EX)
        listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            os.unlink(f"{name}.sock", dir_fd=folder)
        except FileNotFoundError:
            pass
        listening.bind(f"/proc/self/fd/{folder}/{name}.sock")
        listening.listen(1024)
        log = os.open(
            f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        # None of these may be what another one is to become.
        sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (listening.fileno(), alive, log)]
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(folder)  # the server's: Prefect reads settings from files where it is imported
        os.posix_spawn(
            sys.executable,
            # -P: nothing in the folder where it starts is a module.
            [sys.executable, "-P", "-m", "retraining.warm"],
            {key: value for key, value in environment.items() if not key.startswith(b"PREFECT__")},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                *((os.POSIX_SPAWN_DUP2, sources[2], number) for number in (1, 2)),
                (os.POSIX_SPAWN_DUP2, sources[0], LISTENING),
                (os.POSIX_SPAWN_DUP2, sources[1], ALIVE),
            ],
            setsid=True,
            setsigdef=RELAYED,
            setsigmask=[],
        )
        os.fchdir(here)
        for number in (*sources, alive, log, here):
            os.close(number)
        listening.close()
        if (connection := _connect(folder, name)) is None:
            raise ColdStartError("the warm server does not start")
        return connection
    finally:
        os.close(lock)


def _living_servers(folder: int) -> int:
    """How many servers live; what dead ones have left is removed."""
    import fcntl

    living = 0
    for entry in os.listdir(folder):
        name, dot, kind = entry.partition(".")
        if dot + kind != ".alive":
            continue
        alive = os.open(entry, os.O_RDWR | os.O_CLOEXEC, dir_fd=folder)
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            living += 1
        else:
            for left in ("sock", "alive", "log"):
                try:
                    os.unlink(f"{name}.{left}", dir_fd=folder)
                except FileNotFoundError:
                    pass
        finally:
            os.close(alive)
    return living


def _rest(connection: _socket.socket) -> str:
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
    return b"".join(parts).decode(errors="replace")


def _await_end(job: _socket.socket) -> int:
    """The wait status of the job; that of a killed one if its keeper is gone, which took the job with it."""
    answer = b""
    while len(answer) < 1 + STATUS_BYTES:
        try:
            part = job.recv(1 + STATUS_BYTES - len(answer))
        except ConnectionResetError:
            part = b""
        if not part:
            return int(_signal.SIGKILL)
        answer += part
    return int.from_bytes(answer[1:], "big")


def _end_as(status: int) -> None:
    number = os.WTERMSIG(status)
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the job has left its own
    if number != _signal.SIGKILL:
        _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # a signal that does not end a process


def _become_cold(reason: str | None) -> None:
    environment = {**os.environ, **({REASON: reason} if reason else {})}
    through = ["retraining.warm.cold"] if reason else []
    command = [sys.executable, "-m", *through, *sys.argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()
