"""A stack in a throw-away home, as a process of its own that does not outlive the demo."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from retraining.demo.timeline import DemoFailed
from retraining.stack import leash
from retraining.stack.home import Home
from retraining.stack.stack_file import Addresses, read_stack_file

START_SECONDS = 120
STOP_SECONDS = 20


@contextmanager
def throw_away_stack(say: Callable[[str], None]) -> Iterator[tuple[Home, Addresses]]:
    """A stack that is ready, on free ports; `say` gets its news. Home and processes are gone afterwards.

    Raises:
        DemoFailed: it did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="retraining-demo-"))
    try:
        home = Home(folder / "home")
        with _running(home, say):
            yield home, read_stack_file(home.path).addresses
    finally:
        rmtree(folder, ignore_errors=True)


@contextmanager
def _running(home: Home, say: Callable[[str], None]) -> Iterator[None]:
    up = ("-m", "retraining.cli", "up", "--home", str(home.path))
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [
            *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
            *(sys.executable, *up, "--api-port", "0", "--prefect-port", "0", "--mlflow-port", "0"),
        ],
        # What killed jobs leave in the temporary folder goes with the home.
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(home.path.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for the demo, which stops the stack in order
    )
    ready = threading.Event()
    reader = threading.Thread(target=_relay, args=(process, say, ready), daemon=True)
    reader.start()
    try:
        if not ready.wait(START_SECONDS) or process.poll() is not None:
            raise DemoFailed("the stack did not start; what it said is above")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its watchdog ends the rest
            process.wait()
        reader.join(STOP_SECONDS)


def _relay(process: "subprocess.Popen[str]", say: Callable[[str], None], ready: threading.Event) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        text = line.partition(" s  ")[2].strip()
        if text == "ready":
            ready.set()
        elif text or not ready.is_set():
            say(text or line.rstrip())
    ready.set()  # ended: whoever waits looks at the process
