"""Alembic's entry: runs migrations on the connection that `retraining.store.migration` hands over."""

from alembic import context

from retraining.store.migration import OPTIONS, plain_type
from retraining.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata(),
    compare_type=True,
    render_item=plain_type,
    render_as_batch=True,  # SQLite changes a table by copying it
    **OPTIONS,
)
with context.begin_transaction():
    context.run_migrations()
