"""A job that begins while Prefect's server is being restarted waits for it."""

import socket
import time
from collections.abc import Iterator
from threading import Timer

import pytest

from retraining.warm.engine import wait_while_refused


@pytest.fixture
def refusing() -> Iterator[socket.socket]:
    """Bound, and nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def address(of: socket.socket) -> str:
    return f"http://127.0.0.1:{of.getsockname()[1]}/api"


def test_it_waits_until_the_server_listens(
    refusing: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    Timer(0.5, refusing.listen).start()
    wait_while_refused(address(refusing), 30)
    refusing.settimeout(0)
    refusing.accept()  # it had got through
    assert capsys.readouterr().err == f"retraining: nobody listens at {address(refusing)}; waiting\n"


def test_it_waits_no_longer_than_it_may(refusing: socket.socket) -> None:
    began = time.monotonic()
    wait_while_refused(address(refusing), 0.5)
    assert time.monotonic() - began >= 0.5


def test_what_cannot_be_tried_is_left_to_the_engine() -> None:
    """Names that only a proxy knows, for example."""
    began = time.monotonic()
    wait_while_refused("https://prefect.invalid/api", 3600)
    assert time.monotonic() - began < 60
