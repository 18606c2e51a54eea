"""Jobs and what follows them, triggers, API keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table of the first release."""
    op.create_table(
        "retraining_api_keys",
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scopes", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_api_keys")),
    )
    op.create_table(
        "retraining_job_events",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(), nullable=True),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_job_events")),
        sa.UniqueConstraint("source", name=op.f("uq_retraining_job_events_source")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_retraining_job_events_job_id_id"), "retraining_job_events", ["job_id", "id"])
    op.create_index(op.f("ix_retraining_job_events_at"), "retraining_job_events", ["at"])

    op.create_table(
        "retraining_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("triggered_by", sa.String(), nullable=False),
        sa.Column("trigger_type", sa.String(16), nullable=False),
        sa.Column("parameters", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_by", sa.String(), nullable=True),
        sa.Column("stage", sa.String(), nullable=True),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("model_version_before", sa.String(), nullable=True),
        sa.Column("model_version_after", sa.String(), nullable=True),
        sa.Column("challenger_version", sa.String(), nullable=True),
        sa.Column("promoted", sa.Boolean(), nullable=True),
        sa.Column("decision", sa.String(), nullable=True),
        sa.Column("mlflow_run_url", sa.String(), nullable=True),
        sa.Column("progress_mark", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_jobs")),
    )
    op.create_index(op.f("ix_retraining_jobs_created_at_id"), "retraining_jobs", ["created_at", "id"])
    op.create_index(
        op.f("ix_retraining_jobs_model_name_created_at_id"),
        "retraining_jobs",
        ["model_name", "created_at", "id"],
    )
    op.create_index(
        op.f("ix_retraining_jobs_model_name_status_created_at_id"),
        "retraining_jobs",
        ["model_name", "status", "created_at", "id"],
    )
    op.create_index(
        op.f("ix_retraining_jobs_status_created_at_id"), "retraining_jobs", ["status", "created_at", "id"]
    )
    op.create_index(
        op.f("ix_retraining_jobs_trigger_type_created_at_id"),
        "retraining_jobs",
        ["trigger_type", "created_at", "id"],
    )

    op.create_table(
        "retraining_requests",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("run_key", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_retraining_requests")),
    )
    op.create_index(op.f("ix_retraining_requests_model_name"), "retraining_requests", ["model_name"])
    op.create_index(op.f("ix_retraining_requests_reserved_at"), "retraining_requests", ["reserved_at"])

    op.create_table(
        "retraining_sync_marks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_retraining_sync_marks")),
    )
    op.create_table(
        "retraining_triggers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("trigger_type", sa.String(16), nullable=False),
        sa.Column("trigger_condition", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_triggers")),
    )
    op.create_index(op.f("ix_retraining_triggers_created_at_id"), "retraining_triggers", ["created_at", "id"])
    op.create_index(
        op.f("ix_retraining_triggers_model_name_created_at_id"),
        "retraining_triggers",
        ["model_name", "created_at", "id"],
    )
    op.create_index(
        op.f("ix_retraining_triggers_trigger_type_created_at_id"),
        "retraining_triggers",
        ["trigger_type", "created_at", "id"],
    )


def downgrade() -> None:
    """Drop them all."""
    op.drop_table("retraining_triggers")
    op.drop_table("retraining_sync_marks")
    op.drop_table("retraining_requests")
    op.drop_table("retraining_jobs")
    op.drop_table("retraining_job_events")
    op.drop_table("retraining_api_keys")
