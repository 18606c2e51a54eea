"""Keys limited to models, `cancel-any`, and the audit log, which the database keeps from being changed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

AUDIT = "retraining_audit"
INDEXED = (["actor", "id"], ["action", "id"], ["model_name", "id"], ["target", "id"], ["at"])
KEYS = sa.table(
    "retraining_api_keys",
    sa.column("id", sa.String()),
    sa.column("scopes", sa.JSON().with_variant(JSONB(), "postgresql")),
)


def upgrade() -> None:
    """A key that could cancel jobs can still cancel all of them. Migrating the log by copying it would take
    its guards away: SQLite's belong to the table.
    """
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("retraining_api_keys", sa.Column("models", json, nullable=True))
    _rename_scope("cancel", "cancel-any")
    op.create_table(
        AUDIT,
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("correlation_id", sa.String(), nullable=True),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("model_name", sa.String(), nullable=True),
        sa.Column("target", sa.String(), nullable=True),
        sa.Column("asked_id", sa.BigInteger(), nullable=True),
        sa.Column("details", json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_audit")),
        sqlite_autoincrement=True,
    )
    for columns in INDEXED:
        op.create_index(op.f(f"ix_{AUDIT}_{'_'.join(columns)}"), AUDIT, columns)
    _guard()


def downgrade() -> None:
    """Drop the log with its guards, and take `cancel-any` and the limits away.

    A key that was limited to models is revoked: without the limit it would open all of them.
    """
    op.drop_table(AUDIT)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION retraining_audit_refuse()")
    _rename_scope("cancel-any", "cancel")
    op.execute(
        "UPDATE retraining_api_keys SET revoked_at = CURRENT_TIMESTAMP "
        "WHERE revoked_at IS NULL AND CAST(models AS TEXT) <> 'null'"
    )
    with op.batch_alter_table("retraining_api_keys") as keys:
        keys.drop_column("models")


def _rename_scope(old: str, new: str) -> None:
    connection = op.get_bind()
    for key_id, scopes in connection.execute(sa.select(KEYS.c.id, KEYS.c.scopes)).all():
        if old in scopes:
            renamed = sorted({new if scope == old else scope for scope in scopes})
            connection.execute(sa.update(KEYS).where(KEYS.c.id == key_id).values(scopes=renamed))


def _guard() -> None:
    """Refuse to change or delete what is in the log. Who owns the database can take the guards away."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER retraining_audit_no_{change.lower()} BEFORE {change} ON {AUDIT} "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION retraining_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER retraining_audit_no_change BEFORE UPDATE OR DELETE ON {AUDIT} "
        "FOR EACH ROW EXECUTE FUNCTION retraining_audit_refuse()"
    )
    op.execute(
        f"CREATE TRIGGER retraining_audit_no_truncate BEFORE TRUNCATE ON {AUDIT} "
        "FOR EACH STATEMENT EXECUTE FUNCTION retraining_audit_refuse()"
    )
