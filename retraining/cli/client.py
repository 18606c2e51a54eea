"""The facade's REST API, as the commands and the demo use it."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from retraining.cli.shell import Problem, home_of
from retraining.stack.home import Home
from retraining.stack.stack_file import read_stack_file

ROOT = "/api/retraining"
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 45.0
"""The event stream says something at least every 15 s; so long a silence means that it is cut."""
RECONNECTS = 8
PAGE = 1_000
REPEAT_SECONDS = 1.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Refused(Problem):
    """The facade answered with an error. Carries its facts."""

    def __init__(self, status: int, error: str, message: str, correlation_id: str) -> None:
        self.status = status
        self.error = error
        self.message = message
        self.correlation_id = correlation_id
        found_by = f" (correlation id {correlation_id})" if correlation_id and status >= 500 else ""
        super().__init__(f"{message}{found_by}")


class NotReachable(Problem):
    """Nobody answers at the facade's address."""

    def __init__(self, url: str, problem: str, *, asked: bool = False) -> None:
        """`asked`: the request may have arrived, and only its answer is missing."""
        self.url = url
        self.asked = asked
        super().__init__(
            f"the API does not answer at {url} ({problem}); start it with `retraining up`, "
            "or set RETRAINING_API_URL to where it is"
        )


class FacadeClient:
    """A caller of the facade. Every method raises Refused or NotReachable.

    With `patience_seconds`, requests that nobody could serve for the moment are repeated for so long. A start
    may be, because it carries an idempotency key.
    """

    def __init__(self, api_url: str, key: str, patience_seconds: float = 0) -> None:
        self.api_url = api_url.rstrip("/")
        self._patience_seconds = patience_seconds
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"},
            timeout=ANSWER_SECONDS,
            trust_env=httpx.URL(api_url).host not in LOOPBACK,  # no proxy leads back to this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def start_job(
        self,
        model_name: str,
        parameters: Mapping[str, Any],
        as_of: str | None = None,
        if_running: str = "queue",
    ) -> dict[str, Any]:
        """Start a job: job_id, status, message, links."""
        wanted = {
            "model_name": model_name,
            "parameters": parameters,
            "as_of": as_of,
            "if_running": if_running,
        }
        return self._object("POST", "", json=wanted, headers={"Idempotency-Key": uuid4().hex})

    def jobs(self, **query: str | int | None) -> list[dict[str, Any]]:
        """Jobs, newest first."""
        return self._list("", {name: value for name, value in query.items() if value is not None})

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        return self._object("GET", f"/{job_id}")

    def cancel_job(self, job_id: str) -> str:
        """Cancel a job; says what happens to it."""
        return str(self._object("DELETE", f"/{job_id}")["message"])

    def logs(self, job_id: str) -> Iterator[dict[str, Any]]:
        """A job's log, oldest line first."""
        return self._pages(f"/{job_id}/logs")

    def events(self, job_id: str) -> Iterator[dict[str, Any]]:
        """A job's events from its beginning to its end, as they happen; a cut stream is taken up again."""
        last_id: str | None = None
        cuts = 0
        while True:
            try:
                for event_id, event in self._events(job_id, last_id):
                    last_id, cuts = event_id, 0
                    yield event
                    if event["status"] in {"completed", "failed", "cancelled"}:
                        return
                problem: Exception = EOFError("the stream ended before the job did")
            except httpx.HTTPError as exc:
                problem = exc
            except Refused as exc:
                if exc.status < 500:
                    raise
                problem = exc
            cuts += 1
            if cuts > RECONNECTS:
                raise NotReachable(self.api_url, str(problem) or type(problem).__name__) from problem
            time.sleep(0.25 * cuts)  # it is being started again

    def create_trigger(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Create a trigger: model_name, trigger_type, trigger_condition, enabled."""
        return self._object("POST", "/triggers", json=wanted)

    def triggers(self, **query: str | int | None) -> Iterator[dict[str, Any]]:
        """All triggers, newest first."""
        asked = {name: value for name, value in query.items() if value is not None}
        return self._pages("/triggers", asked)

    def trigger(self, trigger_id: str) -> dict[str, Any]:
        """One trigger."""
        return self._object("GET", f"/triggers/{trigger_id}")

    def change_trigger(self, trigger_id: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Change a trigger's enabled or trigger_condition."""
        return self._object("PATCH", f"/triggers/{trigger_id}", json=change)

    def delete_trigger(self, trigger_id: str) -> str:
        """Delete a trigger; says what was done."""
        return str(self._object("DELETE", f"/triggers/{trigger_id}")["message"])

    def check_trigger(self, trigger_id: str, as_of: str | None, report: bool) -> dict[str, Any]:
        """Check a trigger now: check_id, message, links."""
        return self._object("POST", f"/triggers/{trigger_id}/check", json={"as_of": as_of, "report": report})

    def evaluations(self, trigger_id: str, limit: int) -> list[dict[str, Any]]:
        """The newest checks of a trigger, newest first."""
        return self._list(f"/triggers/{trigger_id}/evaluations", {"limit": limit})

    def models(self) -> list[dict[str, Any]]:
        """The catalog, each model with its champion."""
        return self._list("/models")

    def versions(self, model_name: str) -> list[dict[str, Any]]:
        """A model's versions, newest first."""
        return self._list(f"/models/{model_name}/versions", {"limit": 500})

    def promotions(self, model_name: str) -> list[dict[str, Any]]:
        """Who was champion when, newest first."""
        return self._list(f"/models/{model_name}/promotions")

    def promote(self, model_name: str, version: str, reason: str | None) -> str:
        """Make a version champion; says what was done."""
        path = f"/models/{model_name}/versions/{version}/promote"
        return str(self._object("POST", path, json={"reason": reason})["message"])

    def roll_back(self, model_name: str, reason: str | None, from_version: str | None) -> str:
        """Make the previous champion champion again; says what was done."""
        wanted = {"reason": reason, "from_version": from_version}
        return str(self._object("POST", f"/models/{model_name}/rollback", json=wanted)["message"])

    def audit(self, **query: str | int | None) -> list[dict[str, Any]]:
        """The newest entries of the audit log, newest first."""
        return self._list("/audit", {name: value for name, value in query.items() if value is not None})

    def _object(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        return dict(self._ask(method, path, **request))

    def _list(self, path: str, query: Mapping[str, str | int] | None = None) -> list[dict[str, Any]]:
        return list(self._ask("GET", path, params=query))

    def _pages(self, path: str, query: Mapping[str, str | int] | None = None) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._list(path, {**(query or {}), "limit": PAGE, "offset": offset})
            yield from page
            offset += len(page)
            if len(page) < PAGE:
                return

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            problem: Refused | NotReachable
            try:
                answer = self._http.request(method, f"{self.api_url}{ROOT}{path}", **request)
                if not answer.is_error:
                    return answer.json()
                problem = _refusal(answer)
                if problem.status != httpx.codes.SERVICE_UNAVAILABLE:
                    raise problem
            except httpx.HTTPError as exc:
                asked = not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout)
                problem = NotReachable(self.api_url, str(exc) or type(exc).__name__, asked=asked)
            if time.monotonic() >= deadline:
                raise problem
            time.sleep(REPEAT_SECONDS)

    def _events(self, job_id: str, last_id: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        timeout = httpx.Timeout(ANSWER_SECONDS, read=SILENCE_SECONDS)
        with self._http.stream(
            "GET", f"{self.api_url}{ROOT}/{job_id}/events", headers=headers, timeout=timeout
        ) as answer:
            if answer.is_error:
                answer.read()
                raise _refusal(answer)
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                    continue
                if "data" in fields:
                    yield fields.get("id", ""), json.loads(fields["data"])
                fields = {}


def connect(home: Path | None) -> FacadeClient:
    """A client of the stack in `home`, or of RETRAINING_API_URL if no home is given.

    The key is RETRAINING_API_KEY if that is set, else the home's administrator's.

    Raises:
        StackNotRunning, Problem: there is no address or no key.
    """
    place = Home(home_of(home))
    address = os.environ.get("RETRAINING_API_URL") if home is None else None
    api_url = address or read_stack_file(place.path).addresses.api_url
    if key := os.environ.get("RETRAINING_API_KEY"):
        return FacadeClient(api_url, key)
    try:
        return FacadeClient(api_url, place.admin_key.read_text(encoding="utf-8").strip())
    except OSError as exc:
        raise Problem(
            f"no API key: set RETRAINING_API_KEY, or name the stack's home with --home "
            f"({place.admin_key}: {exc.strerror})"
        ) from exc


def _refusal(answer: httpx.Response) -> Refused:
    try:
        body = answer.json()
        return Refused(answer.status_code, body["error"], body["message"], body["correlation_id"])
    except (ValueError, KeyError, TypeError):  # not the facade: a proxy, or another server
        shown = f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}; is it the API?"
        return Refused(answer.status_code, "NotTheFacade", shown, "")
