"""The administrator's first API key, in the home: `python -m retraining.stack.first_key`."""

import asyncio

from retraining.auth.caller import Scope
from retraining.auth.key import key_id_of
from retraining.auth.keys import KeyStore
from retraining.settings import Settings
from retraining.stack.home import Home, write_private
from retraining.store.database import Database

NAME = "admin"


async def ensure_admin_key(home: Home, database: Database) -> None:
    """Bring the database up to date, and make the key in the home's `admin.key` unless it is there.

    A key that somebody revoked stays revoked. One whose file was deleted is replaced.
    """
    await database.migrate()
    keys = KeyStore(database)
    written = home.admin_key.read_text(encoding="utf-8").strip() if home.admin_key.exists() else ""
    known = await keys.list()
    if key_id_of(written) not in {key.id for key in known}:
        for lost in (key for key in known if key.name == NAME and key.revoked_at is None):
            await keys.revoke(lost.id)  # its file is gone: whoever has it, it is not the home's owner
        new = await keys.create(name=NAME, scopes=[Scope.ADMIN])
        write_private(home.admin_key, f"{new.secret}\n")


async def main() -> None:
    """Do so for the home and the database of the settings."""
    settings = Settings()
    database = Database(settings.database, settings.database_busy_seconds)
    try:
        await ensure_admin_key(Home(settings.home.absolute()), database)
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
