"""Tables that a test makes, beside those of the models and of tests/example."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, Table, create_engine

from local.generate.resource import OF_TESTS
from shared.database.server import database_url


@contextmanager
def made(*tables: Table) -> Iterator[Engine]:
    """Create the tables, and drop them after the block; returns an engine of their database."""
    assert all(one.name.startswith(OF_TESTS) for one in tables), "a resource may have this name"
    engine = create_engine(database_url())
    for one in tables:
        one.create(engine)
    try:
        yield engine
    finally:
        for one in reversed(tables):
            one.drop(engine)
        engine.dispose()
