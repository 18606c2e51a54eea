"""Following a job on a terminal, or in a log."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from retraining.cli.client import FacadeClient


def watch(facade: FacadeClient, job_id: str, out: Console) -> dict[str, Any]:
    """Show a job's stages and progress until it is over; the job as it then is."""
    events = facade.events(job_id)
    if out.is_terminal:
        _draw(events, out)
    else:
        for line in lines(events):
            out.print(line)
    return facade.job(job_id)


def lines(events: Iterator[dict[str, Any]]) -> Iterator[str]:
    """One line for each status and each stage, with the progress by quarters."""
    shown = ("", "", -1)
    for event in events:
        quarter = int(4 * (event["progress"] or 0))
        seen = (event["status"], event["stage"] or "", quarter)
        if seen == shown:
            continue
        shown = seen
        yield _line(event)


def _line(event: dict[str, Any]) -> str:
    if event["kind"] == "cancelling":
        return "  cancel requested"
    if event["kind"] == "state" or not event["stage"]:
        return f"  {event['status']}"
    done = "" if event["progress"] is None else f" {event['progress']:.0%}"
    return f"  {event['stage']}{done}"


def _draw(events: Iterator[dict[str, Any]], out: Console) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        bar = progress.add_task("pending", total=None)
        for event in events:
            done = event["progress"]
            progress.update(
                bar,
                description=event["stage"] or event["status"],
                total=None if done is None else 1.0,
                completed=done or 0.0,
            )
