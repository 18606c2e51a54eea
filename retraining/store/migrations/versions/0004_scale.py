"""Indexes with which lists of jobs, and what the sync keeps asking, read what they find and no more."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FILTERS = (
    ("model_name", "trigger_type"),
    ("status", "trigger_type"),
    ("model_name", "status", "trigger_type"),
)
IS_UNFINISHED = sa.text("status IN ('pending', 'running')")
IS_PROGRESS = sa.text("kind = 'progress'")


def upgrade() -> None:
    """Add them; with the one it replaces, every comparison with Prefect read the whole history of events."""
    for columns in FILTERS:
        ordered = [*columns, "created_at", "id"]
        op.create_index(op.f(f"ix_retraining_jobs_{'_'.join(ordered)}"), "retraining_jobs", ordered)
    op.create_index(
        "ix_retraining_jobs_unfinished",
        "retraining_jobs",
        ["model_name"],
        sqlite_where=IS_UNFINISHED,
        postgresql_where=IS_UNFINISHED,
    )
    op.drop_index(op.f("ix_retraining_job_events_at"), "retraining_job_events")
    op.create_index(
        "ix_retraining_job_events_progress_at",
        "retraining_job_events",
        ["at"],
        sqlite_where=IS_PROGRESS,
        postgresql_where=IS_PROGRESS,
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_retraining_job_events_progress_at", "retraining_job_events")
    op.create_index(op.f("ix_retraining_job_events_at"), "retraining_job_events", ["at"])
    op.drop_index("ix_retraining_jobs_unfinished", "retraining_jobs")
    for columns in FILTERS:
        name = "_".join([*columns, "created_at", "id"])
        op.drop_index(op.f(f"ix_retraining_jobs_{name}"), "retraining_jobs")
