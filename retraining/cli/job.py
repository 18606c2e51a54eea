"""`retraining job`: start, follow and cancel retraining jobs."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from retraining.cli.client import FacadeClient, connect
from retraining.cli.shell import (
    HomeOption,
    JsonOption,
    as_moment,
    console,
    cut_to_fit,
    plain_table,
    print_json,
    shown_time,
)
from retraining.cli.watching import watch

app = typer.Typer(help="Start, follow and cancel retraining jobs.", no_args_is_help=True)
Job = dict[str, Any]
JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="The job, which is the Prefect flow run.")]


class IfRunning(StrEnum):
    """What to do while a job of the model is waiting or running."""

    QUEUE = "queue"
    REJECT = "reject"


@app.command()
def start(
    model_name: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the catalog.")],
    *,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A training parameter.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="Train as if it were this moment, UTC: 1998-04-01.")
    ] = None,
    if_running: Annotated[
        IfRunning, typer.Option(help="Queue behind the model's job, or refuse.")
    ] = IfRunning.QUEUE,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Follow the job; exit 1 unless it completes.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Start a retraining job."""
    parameters = dict(map(_parameter, param or []))
    moment = None if as_of is None else as_moment(as_of)
    with connect(home) as facade:
        started = facade.start_job(model_name, parameters, moment, if_running)
        if not wait:
            console().print(f"job {started['job_id']} {started['status']}, {started['links']['prefect']}")
            return
        _follow(facade, started["job_id"])


@app.command("list")
def list_jobs(
    *,
    model_name: Annotated[str | None, typer.Option("--model", help="Only jobs of this model.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only pending, running, completed, failed or cancelled ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List jobs, newest first."""
    with connect(home) as facade:
        jobs = facade.jobs(model_name=model_name, status=status, limit=limit)
    if as_json:
        print_json(jobs)
        return
    out = console()
    shown = [name for name in COLUMNS if out.width >= WIDE or name not in ONLY_IF_WIDE]
    table = plain_table()
    for name in shown:
        # Only the outcome gives way on a narrow terminal: half an id is none.
        table.add_column(name, no_wrap=name != "OUTCOME", min_width=36 if name == "JOB" else None)
    for job in jobs:
        table.add_row(*(cut_to_fit(COLUMNS[name](job)) for name in shown))
    out.print(table)


@app.command()
def show(job_id: JobId, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show everything about a job."""
    with connect(home) as facade:
        job = facade.job(job_id)
    if as_json:
        print_json(job)
        return
    table = plain_table("", "")
    table.show_header = False
    for name, value in job.items():
        if value is not None:
            table.add_row(name, _text(name, value))
    console().print(table)


@app.command("watch")
def watch_job(job_id: JobId, home: HomeOption = None) -> None:
    """Follow a job to its end; exit 1 unless it completes."""
    with connect(home) as facade:
        _follow(facade, job_id)


@app.command()
def cancel(
    job_id: JobId,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has stopped.")] = False,
    home: HomeOption = None,
) -> None:
    """Cancel a job: waiting, at once; running, it stops itself or is stopped."""
    out = console()
    with connect(home) as facade:
        out.print(facade.cancel_job(job_id))
        if wait:
            out.print(f"job {job_id} is {watch(facade, job_id, out)['status']}")


@app.command()
def logs(job_id: JobId, home: HomeOption = None) -> None:
    """Print a job's log."""
    out = console()
    with connect(home) as facade:
        for line in facade.logs(job_id):
            out.print(
                f"{shown_time(line['at'], 'milliseconds')} {line['level']:<8} {line['logger']}: "
                f"{line['message']}",
                soft_wrap=True,
            )


def status_of(job: Job) -> str:
    """The job's status, and whether a cancel is under way."""
    return "cancelling" if job["status"] == "running" and job["cancel_requested_at"] else str(job["status"])


def _follow(facade: FacadeClient, job_id: str) -> None:
    out = console()
    out.print(f"job {job_id}")
    try:
        job = watch(facade, job_id, out)
    except KeyboardInterrupt:
        out.print(f"the job goes on; `retraining job watch {job_id}` follows it again")
        raise
    outcome = _outcome(job)
    out.print(f"{job['status']} in {_took(job)}{': ' if outcome else ''}{outcome}", soft_wrap=True)
    if job["status"] != "completed":
        raise typer.Exit(1)


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--param")
    try:
        return name, json.loads(value)  # 200, 0.1, true, null, ["a"]
    except ValueError:
        return name, value


def _text(name: str, value: Any) -> str:
    if name == "as_of" or name.endswith("_at"):
        return shown_time(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _champion(job: Job) -> str:
    return f"{job['model_version_before'] or '-'} → {job['model_version_after'] or '-'}"


def _took(job: Job) -> str:
    if job["started_at"] is None:
        return "-"
    end = datetime.fromisoformat(job["completed_at"]) if job["completed_at"] else datetime.now(UTC)
    took = max(end - datetime.fromisoformat(job["started_at"]), timedelta(0))
    return f"{took.total_seconds():.1f} s"


def _outcome(job: Job) -> str:
    return str(job["error_message"] or job["decision"] or job["stage"] or "")


COLUMNS: Mapping[str, Callable[[Job], str]] = {
    "JOB": lambda job: job["id"],
    "MODEL": lambda job: job["model_name"],
    "STATUS": status_of,
    "CAUSE": lambda job: job["trigger_type"],
    "BY": lambda job: job["triggered_by"],
    "CREATED": lambda job: shown_time(job["created_at"]),
    "TOOK": _took,
    "CHAMPION": _champion,
    "OUTCOME": _outcome,
}
"""What `job list` shows of a job."""
ONLY_IF_WIDE = frozenset({"CAUSE", "BY", "CHAMPION"})
WIDE = 150
