"""Schema migrations, from the scripts that ship in `migrations/`."""

from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlmodel import AutoString

from retraining.errors import SchemaIsNewer
from retraining.store.schema import metadata
from retraining.store.table import JsonObject, UtcDateTime, Word

VERSION_TABLE = "retraining_schema_version"
"""A name of our own: the database may be a host application's, with an Alembic history of its own."""


def upgrade(connection: Connection) -> None:
    """Run every migration that is missing, inside the connection's transaction.

    Raises:
        SchemaIsNewer: the database is at a version that this release does not know.
    """
    config = _config(connection)
    current = MigrationContext.configure(connection, opts=OPTIONS).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaIsNewer(current)
    command.upgrade(config, "head")


def downgrade(connection: Connection, revision: str) -> None:
    """Undo every migration after `revision` (`base`: all), inside the connection's transaction."""
    command.downgrade(_config(connection), revision)


def differences(connection: Connection) -> list[Any]:
    """What the tables' classes have and the migrated schema has not, or the reverse; empty if they agree."""
    context = MigrationContext.configure(connection, opts={**OPTIONS, "compare_type": True})
    found: list[Any] = compare_metadata(context, metadata())
    return found


def draft(connection: Connection, message: str, revision: str) -> None:
    """Write a migration for the differences into `migrations/versions/`, for a person to review."""
    command.revision(_config(connection), message, autogenerate=True, rev_id=revision)


def is_ours(name: str | None, kind: str, parents: object) -> bool:  # noqa: ARG001 - Alembic's signature
    """Whether a table is the product's, so that a host application's tables are never touched."""
    return kind != "table" or (name or "").startswith("retraining_")


def plain_type(kind: str, column_type: object, _: AutogenContext) -> str | Literal[False]:
    """How a drafted migration writes our column types: as SQL has them, for classes change after it."""
    if kind != "type":
        return False
    match column_type:
        case UtcDateTime():
            return "sa.DateTime(timezone=True)"
        case JsonObject():
            return 'sa.JSON().with_variant(JSONB(), "postgresql")'
        case Word() | AutoString(length=int()):
            return f"sa.String({column_type.length})"
        case AutoString():
            return "sa.String()"
        case _:
            return False


OPTIONS: dict[str, Any] = {"version_table": VERSION_TABLE, "include_name": is_ours}


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
