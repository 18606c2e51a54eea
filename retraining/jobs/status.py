"""The five statuses of a job, and what may follow what."""

from enum import StrEnum


class RetrainingStatus(StrEnum):
    """Where a job is. A cancel under way is `running` with `cancel_requested_at` set."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job is over; nothing leaves a final status."""
        return self in FINAL


FINAL = frozenset({RetrainingStatus.COMPLETED, RetrainingStatus.FAILED, RetrainingStatus.CANCELLED})
_ORDER = {RetrainingStatus.PENDING: 0, RetrainingStatus.RUNNING: 1}


def may_follow(current: RetrainingStatus, new: RetrainingStatus) -> bool:
    """Whether a job in `current` may move to `new`: forwards only, so that late news changes nothing."""
    if current.final:
        return False
    return new.final or _ORDER[new] >= _ORDER[current]
