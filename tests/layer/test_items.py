"""The rows that the statements of an `Item` find, by its condition."""

from typing import Any

import psycopg
import pytest

from shared.database import Item, read
from shared.errors import NotFound
from tests.conftest import Worker
from tests.example.models import writers
from tests.transactions import REQUEST, write

NAMED = Item(writers, where=writers.c.name != "")


def test_a_row_that_does_not_meet_the_condition_is_not_found(
    worker: Worker, database: psycopg.Connection[Any]
) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('', 'a'), ('Ada', 'b')")
    for one in (
        lambda: read(REQUEST, lambda reader: NAMED.find(reader, 1)),
        lambda: write(lambda block: NAMED.update(block, 1, {"email": "c"})),
        lambda: write(lambda block: NAMED.update(block, 1, {})),
        lambda: write(lambda block: NAMED.delete(block, 1)),
    ):
        with pytest.raises(NotFound):
            worker.run(one())
    assert worker.run(read(REQUEST, lambda reader: NAMED.find(reader, 2))).name == "Ada"
    unnamed = worker.run(write(lambda block: NAMED.update(block, 2, {"name": ""})))
    assert (unnamed.id, unnamed.name) == (2, "")
    rows = database.execute("SELECT id, email FROM writers ORDER BY id").fetchall()
    assert rows == [(1, "a"), (2, "b")]
