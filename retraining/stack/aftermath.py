"""What a stack that was killed left behind in Prefect: `python -m retraining.stack.aftermath`.

Runs once at every start, before the workers. Whoever holds the home's lock knows that nothing of the stack
before is alive, so a run that Prefect believes to be running has no process any more.
"""

import asyncio

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.lost_runs import end_lost_runs
from retraining.settings import Settings
from retraining.stack.processes import alive


async def main() -> None:
    """End the lost runs of the settings' work pool, and say which."""
    settings = Settings()
    async with PrefectConnection(settings.prefect_api) as connection:
        for run_id in await end_lost_runs(connection, settings.work_pool, alive):
            print(f"job {run_id} had lost its process")


if __name__ == "__main__":
    asyncio.run(main())
