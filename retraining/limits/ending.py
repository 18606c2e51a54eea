"""The end of a run whose process cannot report it: `python -m retraining.limits.ending RUN_ID REASON`."""

import sys
from uuid import UUID


def report_failure(run_id: UUID) -> list[str]:
    """The command that tells Prefect that the run has failed; it takes the reason as one more argument."""
    return [sys.executable, "-m", "retraining.limits.ending", str(run_id)]


def main() -> None:
    """Tell Prefect that the run has failed."""
    from retraining.orchestrator.failing import fail_run

    run_id, reason = sys.argv[1:]
    fail_run(UUID(run_id), reason)


if __name__ == "__main__":
    main()
