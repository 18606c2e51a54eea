"""`retraining up`: the whole stack, until Ctrl-C."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retraining.cli.shell import HomeOption, console, home_of, read_settings

if TYPE_CHECKING:
    from retraining.stack.home import Home
    from retraining.stack.stack_file import Addresses

Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


def up(
    *,
    home: HomeOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback opens it.")
    ] = "127.0.0.1",
    api_port: Port = 8000,
    prefect_port: Port = 4200,
    mlflow_port: Port = 5000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that run jobs.")] = 1,
) -> None:
    """Run Prefect server, MLflow server, workers and the API as one supervised stack, until Ctrl-C."""
    from retraining.stack.up import StackOptions, run_stack

    out = console()
    started = time.monotonic()

    def say(text: str) -> None:
        with suppress(OSError, SystemExit):  # rich exits if nobody reads any more; the stack goes on
            out.print(f"{time.monotonic() - started:7.1f} s  {text}", soft_wrap=True)

    def ready(place: "Home", where: "Addresses") -> None:
        say("ready")
        lines = {
            "API": where.api_url,
            "Prefect": where.prefect_ui_url,
            "MLflow": where.mlflow_url,
            "key": place.admin_key,
            "password": f"{_short(place.servers_password)} (of Prefect and MLflow)",
            "shell": f"set -a; . {_short(place.cli_env)}; set +a",
        }
        with suppress(OSError, SystemExit):
            for name, value in lines.items():
                out.print(f"           {name:<9} {value}", soft_wrap=True)

    settings = read_settings(home)
    options = StackOptions(
        home=home_of(home),
        host=host,
        api_port=api_port,
        prefect_port=prefect_port,
        mlflow_port=mlflow_port,
        workers=workers,
        work_pool=settings.work_pool,
        warm_start=settings.warm_start,
    )
    asyncio.run(run_stack(options, say=say, ready=ready))


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
