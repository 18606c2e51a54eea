"""Bad input: each gets the error format with the right status, nothing is done, the next request works."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.answers import error_of
from tests.api.conftest import Api

JOBS = "/api/retraining"
GOOD = {"model_name": "churn", "parameters": {"iterations": 50}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_was_done(shared_api: Api, shared_admin: httpx.AsyncClient) -> AsyncIterator[None]:
    before = len(shared_api.prefect.requests)
    yield
    assert len(shared_api.prefect.requests) == before
    answer = await shared_admin.post(JOBS, json=GOOD)
    assert answer.status_code == 202, answer.text
    newest = (await shared_admin.get(JOBS, params={"limit": 1})).json()
    assert [job["id"] for job in newest] == [answer.json()["job_id"]]
    assert len(shared_api.prefect.requests) == before + 1


@pytest.mark.parametrize(
    ("body", "status", "error", "field"),
    [
        ({"model_name": "chrun"}, 404, "UnknownModel", None),
        ({"model_name": "\ud800"}, 422, "ValidationError", "model_name"),
        ({"model_name": "\x00"}, 404, "UnknownModel", None),
        (
            {"model_name": "churn", "parameters": {"iterations": 0}},
            422,
            "InvalidParameters",
            "parameters.iterations",
        ),
        (
            {"model_name": "churn", "parameters": {"iterations": "x"}},
            422,
            "InvalidParameters",
            "parameters.iterations",
        ),
        ({"model_name": "churn", "parameters": {"trees": 3}}, 422, "InvalidParameters", "parameters.trees"),
        (
            {"model_name": "churn", "parameters": {"learning_rate": 2**70}},
            422,
            "ValidationError",
            "parameters",
        ),
        ({"model_name": "churn", "parameters": {"a\x00b": 1}}, 422, "ValidationError", "parameters"),
        ({"model_name": "churn", "parameters": {"a": "\udfff"}}, 422, "ValidationError", "parameters"),
        ({"model_name": "churn", "parameters": [1]}, 422, "ValidationError", "parameters"),
        ({"model_name": "churn", "parameters": "{}"}, 422, "ValidationError", "parameters"),
        ({"model_name": 7}, 422, "ValidationError", "model_name"),
        ({"model_name": ""}, 422, "ValidationError", "model_name"),
        ({"model_name": "x" * 201}, 422, "ValidationError", "model_name"),
        ({"parameters": {}}, 422, "ValidationError", "model_name"),
        ({"model_name": "churn", "paramters": {}}, 422, "ValidationError", "paramters"),
        ({"model_name": "churn", "\ud800": {}}, 422, "ValidationError", None),
        ({"model_name": "churn", "as_of": "soon"}, 422, "ValidationError", "as_of"),
        ({"model_name": "churn", "as_of": "2999-01-01T00:00:00Z"}, 422, "InvalidRequest", "as_of"),
        ({"model_name": "churn", "as_of": "0001-01-01T00:00:00+14:00"}, 422, "ValidationError", "as_of"),
        ({"model_name": "churn", "if_running": "wait"}, 422, "ValidationError", "if_running"),
        ([], 422, "ValidationError", "body"),
        ("churn", 422, "ValidationError", "body"),
        (None, 422, "ValidationError", "body"),
    ],
    ids=lambda value: json.dumps(value)[:50] if not isinstance(value, str | int) else "",
)
async def test_a_refused_request_names_the_field(
    shared_admin: httpx.AsyncClient, body: Any, status: int, error: str, field: str | None
) -> None:
    answer = await shared_admin.post(
        JOBS, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    refused = error_of(answer, status, error)
    if field is not None:
        assert field in {detail["field"] for detail in refused["details"]}
        assert field.rpartition(".")[2] in refused["message"]


async def test_an_unknown_model_is_answered_with_the_known_ones(shared_admin: httpx.AsyncClient) -> None:
    refused = error_of(await shared_admin.post(JOBS, json={"model_name": "chrun"}), 404, "UnknownModel")
    assert "'chrun'" in refused["message"]
    assert "churn, profitability" in refused["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"{nope",
        b"",
        b'{"model_name": "churn"',
        b'{"model_name": "churn"} {}',
        b'{"model_name": NaN}',
        b'{"model_name": "churn", "parameters": {"learning_rate": Infinity}}',
        b'{"model_name": "churn", "parameters": {"iterations": ' + b"9" * 5_000 + b"}}",
        b'{"model_name": "churn", "parameters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model_name": "\xff"}',
        b"model_name=churn",
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_a_malformed_body_is_refused(shared_admin: httpx.AsyncClient, body: bytes) -> None:
    answer = await shared_admin.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    if body:
        assert "malformed JSON" in error_of(answer, 400, "MalformedRequest")["message"]
    else:
        error_of(answer, 422, "ValidationError")


async def test_numbers_beyond_what_can_be_stored_are_refused(shared_admin: httpx.AsyncClient) -> None:
    body = b'{"model_name": "churn", "parameters": {"learning_rate": 1e400}}'
    answer = await shared_admin.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    assert "not a finite number" in error_of(answer, 422, "ValidationError")["message"]


async def test_a_deep_body_is_refused(shared_admin: httpx.AsyncClient) -> None:
    nested: Any = 1
    for _ in range(200):
        nested = [nested]
    answer = await shared_admin.post(JOBS, json={"model_name": "churn", "parameters": {"a": nested}})
    assert "nested" in error_of(answer, 422, "ValidationError")["message"]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"]
)
async def test_a_body_that_says_it_is_not_json_is_refused(
    shared_admin: httpx.AsyncClient, media_type: str
) -> None:
    answer = await shared_admin.post(JOBS, content=json.dumps(GOOD), headers={"Content-Type": media_type})
    assert media_type in error_of(answer, 415, "UnsupportedMediaType")["message"]


@pytest.mark.parametrize(
    "media_type", [None, "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.a+json"]
)
async def test_json_by_another_name_is_read(shared_admin: httpx.AsyncClient, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await shared_admin.post(JOBS, content=b'{"model_name": "chrun"}', headers=headers)
    error_of(answer, 404, "UnknownModel")


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b" " * 65_536


@pytest.mark.parametrize("megabytes", [2, 40])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(
    shared_admin: httpx.AsyncClient, megabytes: int, chunked: bool
) -> None:
    size = megabytes * 1024 * 1024
    content = _chunks(size) if chunked else b" " * size
    answer = await shared_admin.post(JOBS, content=content, headers={"Content-Type": "application/json"})
    assert "1,048,576 bytes" in error_of(answer, 413, "BodyTooLarge")["message"]


async def test_a_body_up_to_the_limit_is_read(shared_admin: httpx.AsyncClient, shared_api: Api) -> None:
    padded = b'{"model_name": "chrun"}'.ljust(shared_api.settings.max_body_bytes)
    error_of(await shared_admin.post(JOBS, content=padded), 404, "UnknownModel")
    error_of(await shared_admin.post(JOBS, content=padded + b" "), 413, "BodyTooLarge")


async def test_a_false_content_length_does_not_pass_the_limit(shared_api: Api) -> None:
    """The declared length is a hint; what is counted is what arrives."""
    client = await shared_api.client("admin")
    key = client.headers["Authorization"]
    host = httpx.URL(shared_api.url)
    reader, writer = await asyncio.open_connection(host.host, host.port)
    writer.write(
        b"POST /api/retraining HTTP/1.1\r\nHost: x\r\nAuthorization: " + key.encode() + b"\r\n"
        b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    assert head.startswith(b"HTTP/1.1 413"), head


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"),
        ("status=done", "status"),
        ("model_name=Churn!", "model_name"),
        ("model_name=a%00b", "model_name"),
        ("cursor=nonsense", "cursor"),
        ("statsu=failed", "statsu"),
    ],
)
async def test_a_refused_query_names_the_field(
    shared_admin: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await shared_admin.get(f"{JOBS}?{query}")
    refused = error_of(answer, 422, "InvalidRequest" if field == "cursor" else "ValidationError")
    assert [detail["field"] for detail in refused["details"]] == [field]


@pytest.mark.parametrize(
    "header",
    [
        {"Idempotency-Key": "a b"},
        {"Idempotency-Key": "x" * 201},
        {"Idempotency-Key": "\u00fc".encode("latin-1")},
    ],
)
async def test_an_idempotency_key_is_a_short_plain_word(
    shared_admin: httpx.AsyncClient, header: dict[str, Any]
) -> None:
    refused = error_of(await shared_admin.post(JOBS, json=GOOD, headers=header), 422, "ValidationError")
    assert "Idempotency-Key" in refused["message"]


@pytest.mark.parametrize("job_id", ["00000000-0000-4000-8000-000000000000", "nonsense", "7", "%00"])
@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("GET", "/events")]
)
async def test_an_unknown_job_is_not_found(
    shared_admin: httpx.AsyncClient, method: str, suffix: str, job_id: str
) -> None:
    error_of(await shared_admin.request(method, f"{JOBS}/{job_id}{suffix}"), 404, "JobNotFound")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/api",
        "/docs",
        "/redoc",
        f"{JOBS}/",
        f"{JOBS}/a/b",
        f"{JOBS}/models/churn/nope",
        "/api/retrainings",
    ],
)
async def test_an_unknown_path_is_not_found(shared_admin: httpx.AsyncClient, path: str) -> None:
    assert error_of(await shared_admin.get(path), 404, "NotFound")["message"].endswith(path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{JOBS}/a/{'b' * 5_000}"),
        ("GET", f"{JOBS}/{'b' * 5_000}"),
        ("PUT", f"{JOBS}/{'b' * 5_000}"),
        ("GET", f"{JOBS}/triggers/{'b' * 5_000}"),
        ("GET", f"/{'b' * 5_000}"),
    ],
)
async def test_a_long_path_is_repeated_in_part(
    shared_admin: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await shared_admin.request(method, path)
    assert answer.status_code in {404, 405}
    assert len(answer.json()["message"]) < 400


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", JOBS, "GET, POST"),
        ("DELETE", JOBS, "GET, POST"),
        ("OPTIONS", JOBS, "GET, POST"),
        ("PATCH", f"{JOBS}/00000000-0000-4000-8000-000000000000", "DELETE, GET"),
        ("POST", f"{JOBS}/models", "GET"),
        ("DELETE", f"{JOBS}/models", "GET"),
        ("DELETE", f"{JOBS}/events", "GET"),
        ("PUT", f"{JOBS}/00000000-0000-4000-8000-000000000000/events", "GET"),
        ("GET", f"{JOBS}/models/churn/rollback", "POST"),
        ("DELETE", f"{JOBS}/models/churn/versions/1/promote", "POST"),
        ("POST", "/health", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    shared_admin: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await shared_admin.request(method, path)
    error_of(answer, 405, "MethodNotAllowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["models/chrun", "models/chrun/versions", "models/chrun/promotions"])
async def test_an_unknown_model_has_no_pages(shared_admin: httpx.AsyncClient, path: str) -> None:
    error_of(await shared_admin.get(f"{JOBS}/{path}"), 404, "UnknownModel")


@pytest.mark.parametrize("version", ["1", "0", "x", "-1", "\u00b2", "9" * 30])
async def test_an_unknown_version_is_not_promoted(shared_admin: httpx.AsyncClient, version: str) -> None:
    answer = await shared_admin.post(f"{JOBS}/models/churn/versions/{version}/promote")
    error_of(answer, 404, "VersionNotFound")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": 7}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "\x00"}, "reason"),
        ({"why": ""}, "why"),
    ],
)
async def test_a_refused_promotion_names_the_field(
    shared_admin: httpx.AsyncClient, body: Any, field: str
) -> None:
    answer = await shared_admin.post(f"{JOBS}/models/churn/versions/1/promote", json=body)
    refused = error_of(answer, 422, "ValidationError")
    assert [detail["field"] for detail in refused["details"]] == [field]


async def test_a_malformed_optional_body_is_refused(shared_admin: httpx.AsyncClient) -> None:
    for path in ("versions/1/promote", "rollback"):
        error_of(
            await shared_admin.post(f"{JOBS}/models/churn/{path}", content=b"{"), 400, "MalformedRequest"
        )
