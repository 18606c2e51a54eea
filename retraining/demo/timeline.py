"""What the demo prints: one line for each thing that happens, with the seconds since its start."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table

WIDTH = 14
"""Columns for whom a line is about."""


class DemoFailed(Exception):
    """Something that the demo shows did not happen."""


class Timeline:
    """Lines by time; on a terminal also a bar for each job under way. Safe to use from several threads."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("          {task.description:<40}"),
            BarColumn(),
            TaskProgressColumn(),
            console=out,
            transient=True,
        )

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Bars are drawn inside this block, on a terminal."""
        if not self._out.is_terminal:
            yield
            return
        with self._bars:
            yield

    def say(self, who: str, text: str, style: str = "") -> None:
        """One line."""
        with self._lock:
            self._out.print(
                f"{self.seconds:6.1f} s  {who:<{WIDTH}} {text}", style=style or None, soft_wrap=True
            )

    def act(self, title: str) -> None:
        """A heading."""
        with self._lock:
            self._out.print(f"\n{self.seconds:6.1f} s  {title}", style="bold", soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table."""
        with self._lock:
            self._out.print(table)

    def follow(self, who: str, events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Show a job's events, and pass them on."""
        bar = self._bars.add_task(who, total=1.0) if self._out.is_terminal else None
        stage, quarter = "", 0
        for event in events:
            done = event["progress"]
            if event["kind"] == "progress":
                if event["stage"] != stage:
                    stage, quarter = event["stage"], 0
                    self.say(who, stage)
                elif bar is None and done is not None and quarter < int(4 * done) < 4:
                    quarter = int(4 * done)
                    self.say(who, f"{stage} {done:.0%}")
            if bar is not None:
                shown = f"{who}: {stage or event['status']}"
                self._bars.update(bar, description=shown, completed=done or 0.0)
            yield event
        if bar is not None:
            self._bars.remove_task(bar)
