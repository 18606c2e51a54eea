"""Schemathesis attacks the facade by its own OpenAPI document, with a key of every role.

It sends what the document allows and what it forbids, route by route, and then chains of requests in which
the answer of one feeds the next. Whatever it does, the answers keep to the document: no 500, no undocumented
status or header, no body of another shape, nothing accepted that the document forbids.
"""

import asyncio
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from retraining.auth.caller import Role
from tests.api.conftest import Api
from tests.registry.factories import challenger

EXAMPLES = 8
"""Requests of a kind for each route; `--max-examples` of a run by hand may be higher."""
ENDLESS = "/events$"
"""Streams of events: `test_events.py`."""
NOT_OURS = {
    # What no schema can say is refused too: a cron expression with a 32nd of the month, a key used twice.
    "positive_data_acceptance",
    # DELETE of a job cancels it, of a key revokes it: both stay to be read.
    "use_after_free",
}


@pytest.mark.parametrize("role", Role)
async def test_answers_keep_to_the_document_whatever_is_asked(api: Api, role: Role, tmp_path: Path) -> None:
    for name in ("churn", "profitability"):
        api.registry.register(name, challenger())
    key = await api.keys.create(name=role, scopes=[role])
    attack = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {key.secret}"),
        *("--exclude-path-regex", ENDLESS, "--exclude-checks", ",".join(sorted(NOT_OURS))),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--generation-database", "none"),
        *("--suppress-health-check", "all", "--request-timeout", "30", "--no-color"),
        cwd=tmp_path,  # where it notes what it did
        stdout=PIPE,
        stderr=STDOUT,
    )
    said, _ = await attack.communicate()
    assert attack.returncode == 0, said.decode()
    assert "Stateful" in said.decode()
