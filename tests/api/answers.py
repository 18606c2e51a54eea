"""What every error answer must look like."""

from typing import Any

import httpx

from api.correlation import HEADER


def error_of(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    """The body of an error answer, which has the format, the status and the type that were expected."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert body.keys() >= {"error", "message", "status_code", "correlation_id"}, body
    assert body.keys() <= {
        "error",
        "message",
        "status_code",
        "correlation_id",
        "details",
        "job_id",
        "checks",
    }, body
    assert (body["error"], body["status_code"]) == (error, status), body
    assert body["message"]
    assert answer.headers.get_list(HEADER) == [body["correlation_id"]]
    assert body["correlation_id"]
    return body
