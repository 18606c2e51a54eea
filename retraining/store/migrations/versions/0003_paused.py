"""Whether a trigger is paused with its whole deployment."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; of the triggers that are there, the next comparison with Prefect tells."""
    paused: sa.Column[bool] = sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("retraining_triggers", paused)


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table("retraining_triggers") as triggers:
        triggers.drop_column("paused")
