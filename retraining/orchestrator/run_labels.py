"""A run's own labels: facts that stay with it for good, and that the facade reads."""

from collections.abc import Mapping
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client

from retraining.orchestrator.labels import LABEL_PREFIX

SOON = (0.05, 0.1, 0.2, 0.4)
"""Seconds to wait before a busy server is asked again, at first. Prefect's client would wait 2, 4, 8, ..."""


def label_run(run_id: UUID, labels: Mapping[str, str]) -> None:
    """Add labels of ours (without the prefix) to a run, on the server that the calling flow belongs to.

    Raises whatever Prefect's client raises once it gives up.
    """
    delays = iter(SOON)

    def ask_again_soon(response: httpx.Response) -> None:
        # Prefect on SQLite answers 503 when two transactions meet, and has undone its own.
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and (delay := next(delays, None)):
            response.headers.setdefault("Retry-After", str(delay))

    with get_client(
        httpx_settings={"event_hooks": {"response": [ask_again_soon]}}, sync_client=True
    ) as client:
        client.update_flow_run_labels(
            run_id, {f"{LABEL_PREFIX}{name}": value for name, value in labels.items()}
        )
