"""The correlation id: in, out, into the job and into every log line."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.correlation import HEADER
from api.logs import JsonFormatter
from tests.api.conftest import Api

JOBS = "/api/retraining"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the facade logs, as it would be written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(name) for name in ("api", "retraining")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield written
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize(
    "path", [JOBS, "/health", "/nope", f"{JOBS}/nope/nope", f"{JOBS}/models/churn/rollback"]
)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("given", ["req-1", "7d0c8a1e2b4f4d0e9a6c3f5b8e1d2c70", "a" * 128])
async def test_a_callers_id_comes_back(shared_admin: httpx.AsyncClient, path: str, given: str) -> None:
    answer = await shared_admin.get(path, headers={HEADER: given})
    assert answer.headers.get_list(HEADER) == [given]
    if answer.is_error:
        assert answer.json()["correlation_id"] == given


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "given", [None, "", "a b", "a" * 129, "<script>", "-x", "\u00fc".encode("latin-1"), "a,b"]
)
async def test_without_an_acceptable_id_the_request_gets_a_new_one(
    shared_admin: httpx.AsyncClient, given: Any
) -> None:
    answers = [
        await shared_admin.get(JOBS, headers={} if given is None else {HEADER: given}) for _ in range(2)
    ]
    first, second = (answer.headers[HEADER] for answer in answers)
    assert first != second
    assert all(UUID(made).version == 4 for made in (first, second))


async def test_the_id_follows_the_job_into_its_labels(api: Api, admin: httpx.AsyncClient) -> None:
    answer = await admin.post(JOBS, json={"model_name": "churn"}, headers={HEADER: "req-7"})
    [request] = api.prefect.requests
    assert request.labels["correlation_id"] == "req-7"
    assert (await admin.get(answer.headers["Location"])).json()["correlation_id"] == "req-7"


async def test_every_line_of_a_request_has_its_id_and_none_has_the_key(
    api: Api, admin: httpx.AsyncClient, log: io.StringIO
) -> None:
    await admin.post(f"{JOBS}?key=s3cret", json={"model_name": "churn"}, headers={HEADER: "req-8"})
    await admin.get("/nope", headers={HEADER: "req-9"})
    written = [line for line in lines(log) if line.get("correlation_id") == "req-8"]
    assert [line["message"] for line in written] == ["job started", "POST /api/retraining 202"]
    assert written[1]["status"] == 202
    assert written[1]["caller"] == "ada"
    assert written[1]["milliseconds"] > 0
    assert [line["status"] for line in lines(log) if line.get("correlation_id") == "req-9"] == [404]
    assert "s3cret" not in log.getvalue()
    assert admin.headers["Authorization"].removeprefix("Bearer ") not in log.getvalue()


def test_a_line_is_one_object_whatever_is_logged() -> None:
    record = logging.makeLogRecord(
        {"name": "api", "levelname": "ERROR", "msg": "a\nb %s", "args": ("\ud800",)}
    )
    record.job_id = UUID(int=7)
    record.exc_info = (ValueError, ValueError("why\nand where"), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    shown = json.loads(line)
    assert (shown["level"], shown["job_id"]) == ("error", str(UUID(int=7)))
    assert "ValueError: why" in shown["exception"]
