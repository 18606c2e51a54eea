"""`retraining audit`: who did what."""

import asyncio
import json
import os
from pathlib import Path

from tests.api.conftest import served
from tests.cli.command import retraining


async def test_the_log_is_shown_to_administrators(tmp_path: Path) -> None:
    """As a table and as JSON; others are told which scope they lack."""
    async with served(tmp_path / "home") as api:
        keys = {name: await api.keys.create(name=name, scopes=[name]) for name in ("admin", "viewer")}
        env = {**os.environ, "RETRAINING_API_URL": api.url}

        async def run(*arguments: str, key: str = "admin") -> tuple[int, str]:
            told = {**env, "RETRAINING_API_KEY": keys[key].secret}
            done = await asyncio.to_thread(retraining, "audit", *arguments, env=told)
            return done.returncode, done.stdout + done.stderr

        shown, listed, refused = await asyncio.gather(
            run("--action", "key.create"),
            run("--json", "--action", "key.create", "--limit", "1"),
            run(key="viewer"),
        )
    assert shown[0] == 0, shown[1]
    assert f"key {keys['viewer'].key.id}" in shown[1]
    assert "name: viewer, scopes: ['read']" in shown[1]
    [newest] = json.loads(listed[1])
    assert newest["target"] == f"key {keys['viewer'].key.id}"
    assert refused[0] == 1
    assert "lacks the scope 'admin'" in refused[1]
