"""What all commands share: where they print, the home, and the settings."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from retraining.errors import RetrainingError, StackNotRunning
from retraining.stack.home import Home
from retraining.stack.password import credentials_of
from retraining.stack.stack_file import read_stack_file

if TYPE_CHECKING:
    from retraining.settings import Settings

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Home of the stack (RETRAINING_HOME, .retraining unless given).", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for scripts.")]
PIPE_WIDTH = 500
"""Columns when the output is not a terminal: nothing is cut or wrapped on its way to grep."""


class Problem(RetrainingError):
    """Something that the person at the shell can mend; the message says how."""


class WrongSettings(Problem):
    """A setting that cannot be used."""


def console() -> Console:
    """Standard output: rich on a terminal, plain lines elsewhere."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)


def print_json(answer: Any) -> None:
    """Print an answer of the facade for a program to read."""
    print(json.dumps(answer, indent=2, ensure_ascii=False))


def plain_table(*columns: str) -> Table:
    """A table without frames, which reads the same on a terminal and in a file."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def as_moment(text: str, option: str = "--as-of") -> str:
    """The value of an option that is a time, UTC unless it says otherwise. Raises typer.BadParameter."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a time like 1998-04-01 or 1998-04-01T12:00:00Z", param_hint=option
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def shown_time(at: str | datetime, timespec: str = "seconds") -> str:
    """A time as every command prints it: UTC, as the API and --as-of have it."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(' ', timespec)}Z"


def cut_to_fit(text: str) -> Text:
    """A table's cell of one line, cut where the terminal ends."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def read_settings(home: Path | None) -> "Settings":
    """The settings, for this home if one is given. Raises WrongSettings naming what is wrong."""
    from pydantic import ValidationError

    from retraining.settings import Settings

    try:
        return Settings() if home is None else Settings(home=home)
    except ValidationError as exc:
        wrong = "; ".join(
            f"RETRAINING_{'_'.join(map(str, error['loc'])).upper()}: {error['msg']}" for error in exc.errors()
        )
        raise WrongSettings(f"the settings are wrong: {wrong}") from exc
    except (ValueError, OSError) as exc:  # the home's config.toml
        raise WrongSettings(f"the home's config.toml cannot be read: {exc}") from exc


def home_of(home: Path | None) -> Path:
    """The home that was asked for, else the one of the environment, else `.retraining`."""
    return (home or Path(os.environ.get("RETRAINING_HOME", ".retraining"))).absolute()


def settings_of_stack(home: Path | None) -> "Settings":
    """The settings, with the addresses of the stack that runs in the home.

    Without an explicit home, addresses that are set win over the stack's.
    """
    settings = read_settings(home)
    try:
        where = read_stack_file(home_of(home)).addresses
    except StackNotRunning:
        return settings
    credentials, changes = credentials_of(Home(home_of(home))), {}
    if home or not (settings.prefect_api_url or os.environ.get("PREFECT_API_URL")):
        changes["prefect_api_url"] = where.prefect_api_url
        os.environ.update(credentials.for_prefect)
    if home or not (settings.mlflow_url or os.environ.get("MLFLOW_TRACKING_URI")):
        changes["mlflow_url"] = where.mlflow_url
        os.environ.update(credentials.for_mlflow)
    return settings.model_copy(update=changes)
