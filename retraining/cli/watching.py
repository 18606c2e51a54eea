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
    shown: tuple[object, ...] = ()
    for event in events:
        done = event["progress"]
        if event["kind"] == "progress":
            line = event["stage"] if done is None else f"{event['stage']} {done:.0%}"
            seen: tuple[object, ...] = (event["stage"], int(4 * (done or 0)))
        else:
            line = "cancel requested" if event["kind"] == "cancelling" else event["status"]
            seen = (line,)
        if seen != shown:
            yield f"  {line}"
        shown = seen


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
