"""A cold start that was meant to be warm: `python -m retraining.warm.cold MODULE [ARGUMENT...]`.

Says why in the job's log, which is Prefect's (workers throw output away), then runs the module.
"""

import os
import runpy
import sys
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from retraining.warm.launcher import REASON


def main() -> None:
    """Tell the reason and become the module."""
    reason = os.environ.pop(REASON, "for no known reason")
    message = f"started cold: {reason}"
    print(f"retraining: {message}", file=sys.stderr, flush=True)
    if (run_id := os.environ.get("PREFECT__FLOW_RUN_ID")) is not None:
        with suppress(Exception):  # whatever the client raises: the job itself is what matters
            _log(UUID(run_id), message)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _log(run_id: UUID, message: str) -> None:
    import logging

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import LogCreate

    entry = LogCreate(
        name="retraining.warm",
        level=logging.WARNING,
        message=message,
        timestamp=datetime.now(UTC),
        flow_run_id=run_id,
    )
    with get_client(sync_client=True) as client:
        client.create_logs([entry])


if __name__ == "__main__":
    main()
