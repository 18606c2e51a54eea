"""The whole schema: every module that defines a table is named here, so that migrations see all of them."""

from importlib import import_module

from sqlalchemy import MetaData

from retraining.store.table import Table

MODULES = (
    "retraining.audit.entry",
    "retraining.auth.key",
    "retraining.jobs.job",
    "retraining.jobs.records",
    "retraining.triggers.records",
    "retraining.triggers.trigger",
)
"""Add the module of a new table here, and its migration to `migrations/versions/`."""


def metadata() -> MetaData:
    """The metadata of all tables of the product."""
    for module in MODULES:
        import_module(module)
    return Table.metadata
