"""The end of a run that somebody else has to report."""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed


def fail_run(run_id: UUID, reason: str) -> None:
    """Set the run failed, for good; one that is being cancelled is cancelled, and one that has ended stays.

    Its process may be killed then: Prefect lets no run leave a final state to be crashed. Raises what
    Prefect's client raises.
    """
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_final():
            return
        cancelling = state is not None and state.is_cancelling()
        ended: State[Any] = Cancelled(message=reason) if cancelling else Failed(message=reason)
        client.set_flow_run_state(run_id, ended, force=True)
