"""`retraining key`: API keys, straight in the database."""

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retraining.auth.caller import Role, Scope
from retraining.cli.shell import HomeOption, Problem, console, plain_table, read_settings, shown_time

if TYPE_CHECKING:
    from retraining.audit.entry import Actor
    from retraining.auth.key import ApiKey
    from retraining.auth.keys import KeyStore

app = typer.Typer(
    help="Create, list and revoke API keys, straight in the database: the facade need not run.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for; `triggered_by` shows it.")],
    role: Annotated[
        Role | None, typer.Option("--role", "-r", help="What it may do: a name for scopes.")
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option("--scope", "-s", help="What it may do, beside the role; several times for several."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="The only model that it opens; several times for several."),
    ] = None,
    expires_in_days: Annotated[
        float | None, typer.Option("--expires-in-days", min=0, help="Never expires unless given.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Create a key and print it, this once. Without --role and --scope it may only read."""
    expires_at = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)

    async def run() -> str:
        async with _keys(home) as keys:
            new = await keys.create(
                name=name,
                scopes=[*([role] if role else []), *(scope or [])] or [Role.VIEWER],
                models=model or None,
                expires_at=expires_at,
                by=_local_user(),
            )
            return new.secret

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

    table = plain_table("KEY", "NAME", "SCOPES", "MODELS", "CREATED", "LAST USED", "STATE")
    for key in asyncio.run(run()):
        models = "all" if key.models is None else ", ".join(key.models)
        table.add_row(
            *(key.id, key.name, ", ".join(key.scopes), models),
            *(_time(key.created_at), _time(key.last_used_at), _state(key)),
        )
    console().print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id from `key list`, or the key.")],
    home: HomeOption = None,
) -> None:
    """Revoke a key; a running facade refuses it within two seconds."""

    async def run() -> "tuple[ApiKey, bool]":
        async with _keys(home) as keys:
            return await keys.revoke(key_id, by=_local_user()), await keys.has_administrator()

    key, administered = asyncio.run(run())
    console().print(f"key {key.id} ({key.name}) is revoked")
    if not administered:
        print(
            "retraining: no administrator's key can be used any more; make one with "
            "`retraining key create NAME --role admin`",
            file=sys.stderr,
        )


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


def _local_user() -> "Actor":
    """Who sits at this shell, for the audit log."""
    from retraining.audit.entry import Actor

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in many containers
        name = str(os.getuid())
    return Actor(f"local user {name}", credential="local")


def _time(at: datetime | None) -> str:
    return "-" if at is None else shown_time(at)


def _state(key: "ApiKey") -> str:
    if key.revoked_at is not None:
        return f"revoked {_time(key.revoked_at)}"
    if key.expires_at is not None:
        return ("expires " if key.usable(datetime.now(UTC)) else "expired ") + _time(key.expires_at)
    return "valid"
