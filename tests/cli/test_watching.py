"""Following a job where there is no terminal."""

from typing import Any

from retraining.cli.watching import lines


def event(kind: str, status: str, stage: str | None = None, progress: float | None = None) -> dict[str, Any]:
    return {"kind": kind, "status": status, "stage": stage, "progress": progress}


def test_each_status_and_stage_is_one_line() -> None:
    """Progress is told by quarters, not by every tree."""
    events = [
        event("state", "pending"),
        event("state", "running"),
        event("progress", "running", "loading"),
        event("progress", "running", "training", 0.01),
        event("progress", "running", "training", 0.02),
        event("progress", "running", "training", 0.26),
        event("progress", "running", "training", 0.3),
        event("cancelling", "running", "training", 0.3),
        event("state", "cancelled", "training", 0.3),
    ]
    assert list(lines(iter(events))) == [
        "  pending",
        "  running",
        "  loading",
        "  training 1%",
        "  training 26%",
        "  cancel requested",
        "  cancelled",
    ]
