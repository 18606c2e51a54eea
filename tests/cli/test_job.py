"""What `retraining job` prints, from answers of the API."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from retraining.jobs.job import JOB_EXAMPLE
from tests.cli.command import retraining

LONG = "refused: " + "mae 22.86 is above the champion's 10.93 (tolerance 0.05); " * 20
JOB = {**JOB_EXAMPLE, "decision": LONG}


class Answers(BaseHTTPRequestHandler):
    """One job, for whatever is asked."""

    def do_GET(self) -> None:
        one = self.path.endswith(JOB["id"])
        body = json.dumps(JOB if one else [JOB]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Of a person far from Greenwich who talks to an API with one job."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield {
            **os.environ,
            "TZ": "Asia/Tokyo",
            "RETRAINING_API_URL": f"http://127.0.0.1:{server.server_port}",
            "RETRAINING_API_KEY": "rt_x",
        }
        server.shutdown()


def test_list_and_show_print_the_same_times_in_utc(environment: dict[str, str]) -> None:
    listed = retraining("job", "list", env=environment).stdout
    shown = retraining("job", "show", JOB["id"], env=environment).stdout
    assert "2026-05-04 08:00:00Z" in listed
    assert re.search(r"^created_at +2026-05-04 08:00:00Z *$", shown, re.MULTILINE)
    assert re.search(r"^as_of +1998-04-01 00:00:00Z *$", shown, re.MULTILINE)


def test_a_long_outcome_takes_one_line_of_the_list_and_is_shown_whole(environment: dict[str, str]) -> None:
    listed = retraining("job", "list", env=environment).stdout.rstrip().splitlines()
    shown = retraining("job", "show", JOB["id"], env=environment).stdout
    assert len(listed) == 2
    assert listed[1].startswith(JOB["id"])
    assert listed[1].rstrip().endswith("…")
    assert " ".join(LONG.split()) in " ".join(shown.split())


@pytest.mark.parametrize("columns", [100, 120, 200])
def test_on_a_terminal_a_job_takes_one_line_with_its_whole_id(
    environment: dict[str, str], columns: int
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "retraining.cli", "job", "list"]
    terminal = {**environment, "COLUMNS": str(columns), "TERM": "xterm"}
    subprocess.run(command, env=terminal, stdout=theirs, timeout=60, check=True)
    os.close(theirs)
    head, line = re.sub(r"\x1b\[[0-9;]*m", "", os.read(ours, 65536).decode()).splitlines()
    assert "OUTCOME" in head
    assert line.startswith(JOB["id"])
    assert "refused" in line
    assert len(line) <= columns
