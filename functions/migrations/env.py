"""Alembic's environment: the whole run is one transaction on the handler's connection."""

from alembic import context

from migrations.comparison import is_compared
from shared.database.models import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    include_object=is_compared,
)
with context.begin_transaction():
    context.run_migrations()
