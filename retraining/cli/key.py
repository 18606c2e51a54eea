"""`retraining key`: API keys, straight in the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retraining.auth.caller import Scope
from retraining.cli.shell import HomeOption, Problem, console, plain_table, read_settings, shown_time

if TYPE_CHECKING:
    from retraining.auth.key import ApiKey
    from retraining.auth.keys import KeyStore

app = typer.Typer(
    help="Create, list and revoke API keys, straight in the database: the facade need not run.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for; `triggered_by` shows it.")],
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", "-s", help="What it may do; several times for several.")
    ] = None,
    expires_in_days: Annotated[
        float | None, typer.Option("--expires-in-days", min=0, help="Never expires unless given.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Create a key and print it, this once. Without --scope it may only read."""
    expires_at = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)

    async def run() -> str:
        async with _keys(home) as keys:
            return (await keys.create(name=name, scopes=scope or [Scope.READ], expires_at=expires_at)).secret

    try:
        console().print(asyncio.run(run()), soft_wrap=True)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


@app.command("list")
def list_keys(home: HomeOption = None) -> None:
    """List all keys, newest first. The secrets are stored nowhere."""

    async def run() -> "list[ApiKey]":
        async with _keys(home) as keys:
            return await keys.list()

    table = plain_table("KEY", "NAME", "SCOPES", "CREATED", "LAST USED", "STATE")
    for key in asyncio.run(run()):
        table.add_row(
            *(key.id, key.name, ", ".join(key.scopes), _time(key.created_at), _time(key.last_used_at)),
            _state(key),
        )
    console().print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id from `key list`, or the key.")],
    home: HomeOption = None,
) -> None:
    """Revoke a key; a running facade refuses it within two seconds."""

    async def run() -> "ApiKey":
        async with _keys(home) as keys:
            return await keys.revoke(key_id)

    key = asyncio.run(run())
    console().print(f"key {key.id} ({key.name}) is revoked")


@asynccontextmanager
async def _keys(home: Path | None) -> "AsyncIterator[KeyStore]":
    from retraining.auth.keys import KeyStore
    from retraining.store.database import Database

    settings = read_settings(home)
    if settings.database_url is None and not settings.home.is_dir():
        raise Problem(f"there is no home {settings.home}; name it with --home, or start a stack first")
    database = Database(settings.database, settings.database_busy_seconds)
    try:
        await database.migrate()
        yield KeyStore(database)
    finally:
        await database.close()


def _time(at: datetime | None) -> str:
    return "-" if at is None else shown_time(at)


def _state(key: "ApiKey") -> str:
    if key.revoked_at is not None:
        return f"revoked {_time(key.revoked_at)}"
    if key.expires_at is not None:
        return ("expires " if key.usable(datetime.now(UTC)) else "expired ") + _time(key.expires_at)
    return "valid"
