"""The door when MLflow is down, hangs or refuses, and what the door costs a process."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket

import pytest

from retraining.errors import RegistryRefused, RegistryUnavailable
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.registry.values import ModelVersion
from tests.registry.factories import AS_OF, challenger
from tests.servers import free_port

VERSION = ModelVersion("churn", "1", AS_OF, None, None, None, None, {}, {}, None, None, None)
CALLS: dict[str, Callable[[MlflowRegistry], object]] = {
    "register": lambda registry: registry.register("churn", challenger()),
    "load": lambda registry: registry.load(VERSION),
    "get_version": lambda registry: registry.get_version("churn", "1"),
    "list_versions": lambda registry: registry.list_versions("churn"),
    "find_champion": lambda registry: registry.find_champion("churn"),
    "find_previous": lambda registry: registry.find_previous("churn"),
    "record_decision": lambda registry: registry.record_decision(VERSION, "promoted"),
    "promote": lambda registry: registry.promote("churn", "1", by="ann", reason="better"),
    "roll_back": lambda registry: registry.roll_back("churn", by="ann", reason="worse"),
    "promotions": lambda registry: registry.promotions("churn"),
}


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - http.server's names

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("call", CALLS)
def test_every_call_says_at_once_that_nothing_listens(call: str) -> None:
    registry = MlflowRegistry(f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()

    with pytest.raises(RegistryUnavailable, match="MLflow is unavailable"):
        CALLS[call](registry)

    assert time.monotonic() - started < 10


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_in_trouble_counts_as_unavailable(status: int) -> None:
    with answering(status, "upstream is gone") as url:
        for name in ("list_versions", "promote", "register"):
            with pytest.raises(RegistryUnavailable):
                CALLS[name](MlflowRegistry(url))


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, "You are not authenticated", "You are not authenticated"),
        (403, json.dumps({"error_code": "PERMISSION_DENIED", "message": "no"}), "PERMISSION_DENIED: no"),
        (404, "<html>not MLflow</html>", "failed with error code 404"),
    ],
)
def test_a_refusal_carries_its_reason(status: int, body: str, reason: str) -> None:
    with answering(status, body) as url, pytest.raises(RegistryRefused) as refusal:
        MlflowRegistry(url).find_champion("churn")

    assert refusal.value.doing == "read the champion of 'churn'"
    assert reason in str(refusal.value)


def test_a_server_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        registry = MlflowRegistry(f"http://127.0.0.1:{silent.getsockname()[1]}")
        for ask in (CALLS["list_versions"], MlflowRegistry.ping):
            started = time.monotonic()
            with pytest.raises(RegistryUnavailable):
                ask(registry)
            assert time.monotonic() - started < 10


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://nowhere.invalid", "not an address"])
def test_ping_says_that_nothing_listens(address: str) -> None:
    with pytest.raises(RegistryUnavailable):
        MlflowRegistry(address).ping()


def test_the_door_costs_nothing_until_it_is_used_and_keeps_telemetry_off() -> None:
    program = """
import os, sys
from retraining.registry.mlflow_registry import MlflowRegistry
registry = MlflowRegistry("http://127.0.0.1:1")
heavy = {"mlflow", "sklearn", "skops", "lightgbm", "scipy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"
registry._client
import mlflow.telemetry
assert mlflow.telemetry.get_telemetry_client() is None
"""
    subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7"},
        check=True,
        timeout=120,
    )
