"""Where triggers are between here and Prefect, their evaluations, and what caused each job."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; what is there stays as it was: jobs of unknown causes, triggers that are live."""
    op.create_table(
        "retraining_evaluations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("trigger_type", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evaluation", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_evaluations")),
    )
    op.create_index(op.f("ix_retraining_evaluations_told_at"), "retraining_evaluations", ["told", "at"])
    op.create_index(
        op.f("ix_retraining_evaluations_trigger_id_at_id"),
        "retraining_evaluations",
        ["trigger_id", "at", "id"],
    )

    op.create_table(
        "retraining_job_causes",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=True),
        sa.Column("evaluation_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_retraining_job_causes")),
    )
    for column in ("evaluation_id", "job_id", "trigger_id"):
        op.create_index(op.f(f"ix_retraining_job_causes_{column}"), "retraining_job_causes", [column])

    # Defaults of the database, for the rows that are there: neither database copies the table for them.
    causes = sa.Column(
        "causes",
        sa.JSON().with_variant(JSONB(), "postgresql"),
        nullable=False,
        server_default=sa.text("'[]'"),
    )
    op.add_column("retraining_jobs", causes)
    phase = sa.Column("phase", sa.String(16), nullable=False, server_default="live")
    op.add_column("retraining_triggers", phase)
    op.add_column("retraining_triggers", sa.Column("phase_since", sa.DateTime(timezone=True), nullable=True))
    origin = sa.Column("origin", sa.String(), nullable=False, server_default="api")
    op.add_column("retraining_triggers", origin)
    op.create_index(op.f("ix_retraining_triggers_phase"), "retraining_triggers", ["phase"])


def downgrade() -> None:
    """Drop them all."""
    op.drop_index(op.f("ix_retraining_triggers_phase"), "retraining_triggers")
    with op.batch_alter_table("retraining_triggers") as triggers:
        for column in ("origin", "phase_since", "phase"):
            triggers.drop_column(column)
    with op.batch_alter_table("retraining_jobs") as jobs:
        jobs.drop_column("causes")
    op.drop_table("retraining_job_causes")
    op.drop_table("retraining_evaluations")
