"""`retraining deploy`: the deployments of all models in the catalog."""

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from retraining.cli.shell import HomeOption, console, settings_of_stack

if TYPE_CHECKING:
    from retraining.catalog.discovery import Catalog
    from retraining.orchestrator.values import Deployed
    from retraining.settings import Settings

POLL_SECONDS = 0.1


def deploy(
    *,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for Prefect to answer.")
    ] = 0,
    skip_broken: Annotated[
        bool,
        typer.Option("--skip-broken", help="Exit 0 although the catalog has entries that cannot be used."),
    ] = False,
    home: HomeOption = None,
) -> None:
    """Register a Prefect deployment for every model of the catalog, and the guard; again changes nothing."""
    from retraining.catalog.discovery import load_catalog

    settings = settings_of_stack(home)
    catalog = load_catalog(settings.models, settings.models_path)
    for problem in catalog.problems:
        print(f"retraining: {problem}", file=sys.stderr)
    out = console()
    for deployed in asyncio.run(_deploy(settings, catalog, wait)):
        out.print(f"{deployed.name} {deployed.change}")
    if catalog.problems and not skip_broken:
        raise typer.Exit(1)


async def _deploy(settings: "Settings", catalog: "Catalog", wait: float) -> "list[Deployed]":
    from retraining.errors import OrchestratorUnavailable
    from retraining.orchestrator.connection import PrefectConnection
    from retraining.orchestrator.deployments import deploy
    from retraining.orchestrator.guard_deployment import deploy_guard

    deadline = time.monotonic() + wait
    async with PrefectConnection(settings.prefect_api) as connection:
        while True:
            try:
                deployed = await deploy(
                    connection, catalog, work_pool=settings.work_pool, warm_start=settings.warm_start
                )
                return deployed + await deploy_guard(connection, settings.work_pool)
            except OrchestratorUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(POLL_SECONDS)
