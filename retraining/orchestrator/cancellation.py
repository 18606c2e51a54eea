"""A job's own side of its cancellation, and of its end while its process goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.states import Cancelled, Crashed

from retraining.errors import JobCancelled, JobEnded, OrchestratorUnavailable


@contextmanager
def prompt_cancellation(run_id: UUID) -> Iterator[None]:
    """Report the run as cancelled as soon as the cancellation reaches its process.

    The worker sends SIGTERM at once, but looks after the process only every three seconds and starts an
    interpreter for cancellation hooks before it sets the state: five to eight seconds in which people wait
    for what has happened already. For use around the body of a flow, in the main thread of its process.
    """
    try:
        yield
    except TerminationSignal:
        # The signal also comes when the worker itself is stopped; that is for Prefect to report.
        if was_cancelled(run_id):
            try:
                with get_client(sync_client=True) as client:
                    client.set_flow_run_state(run_id, Cancelled(message="cancelled on request"))
            except (httpx.HTTPError, PrefectException):
                pass  # the worker reports it, later
        raise


def find_cancellation(run_id: UUID) -> State[Any] | None:
    """The state in which a run is to end that was cancelled, or given up, while this process was starting.

    None if it was not, or if the server does not answer. Prefect lets a cancelled run start all the same. Ask
    first of all, and end as cancelled.
    """
    try:
        with get_client(sync_client=True) as client:
            states = client.read_flow_run_states(run_id)
    except (httpx.HTTPError, PrefectException):
        return None
    for state in sorted(states, key=lambda state: state.timestamp, reverse=True):
        if state.is_cancelled() and state.name != "Cancelled":
            return Cancelled(name=state.name, message=state.message)  # it joined a job, or was superseded
        if state.is_cancelled() or state.is_cancelling():
            return Cancelled(message="cancelled before it started")
        if state.is_crashed():  # nobody had heard of its process for too long
            return Crashed(message=state.message)
        if state.is_scheduled():  # somebody let a cancelled run start again
            return None
    return None


def was_cancelled(run_id: UUID) -> bool:
    """Whether the run is cancelled or to be cancelled; False if the server does not answer.

    A process may outlive its run: a cancellation that was forced because no worker answered leaves it going.
    Ask before anything that cannot be undone.
    """
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
    except (httpx.HTTPError, PrefectException):
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def find_end(run_id: UUID) -> State[Any] | None:
    """The final state that the run was given while its process went on: the state in which it is to end.

    None if there is none, or if the server does not answer. A run that was not heard of is ended as crashed,
    and Prefect lets such a run complete all the same.
    """
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
    except (httpx.HTTPError, PrefectException):
        return None
    if state is None or not state.is_final():
        return None
    return State(type=state.type, name=state.name, message=state.message)


def stop_if_over(run_id: UUID) -> None:
    """Raise unless the run is still to have an effect. Ask before anything that cannot be undone.

    A process may outlive its run: a cancellation that was forced because no worker answered leaves it going,
    and so does the end of a run that was not heard of for too long.

    Raises:
        JobCancelled: it is cancelled, or to be cancelled.
        JobEnded: it has another final state.
        OrchestratorUnavailable: the server does not answer, and nobody can say.
    """
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
    except (httpx.HTTPError, PrefectException) as exc:
        raise OrchestratorUnavailable("ask whether the job may still promote") from exc
    if state is None:
        return
    if state.is_cancelling() or state.is_cancelled():
        raise JobCancelled(run_id)
    if state.is_final():
        raise JobEnded(run_id, state.name, state.message)
