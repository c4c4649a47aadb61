"""Changes that the tests make in a checkout, and the requests that show their effect."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from local.generate.sample_events import sample_events
from local.services import postgresql
from tests.rehearsal.operator import PATHS, Operator
from tests.resources import ROUTED

SERVING = {f"{name.title()}Function" for name in ROUTED}
ALL = SERVING | {"MigrationsFunction"}
VERSIONS = Path("functions/migrations/versions")
CREATED = {
    event["rawPath"]: json.loads(event["body"])
    for name, event in sample_events().items()
    if "-create_" in name
}
"""A body for each path of a resource."""


@contextmanager
def edited(operator: Operator, path: str | Path, text: str) -> Iterator[None]:
    """The checkout with this text added to a file; taken back in the end."""
    file = operator.checkout / path
    before = file.read_text(encoding="utf-8") if file.exists() else None
    file.write_text((before or "") + text, encoding="utf-8")
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before, encoding="utf-8")


@contextmanager
def replaced(operator: Operator, path: str, old: str, new: str) -> Iterator[None]:
    """The checkout with another text in a file, where it has the old one once."""
    file = operator.checkout / path
    before = file.read_text(encoding="utf-8")
    assert before.count(old) == 1
    file.write_text(before.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")


@contextmanager
def stopped_database(operator: Operator) -> Iterator[None]:
    """Without PostgreSQL, which starts again in the end."""
    directory = operator.checkout.parent.resolve()
    postgresql.stop(directory)
    try:
        yield
    finally:
        with warnings.catch_warnings():
            # Its process is let go: who runs the services stops it.
            warnings.simplefilter("ignore", ResourceWarning)
            postgresql.start(directory, ephemeral=True)


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def owner(operator: Operator) -> psycopg.Connection[Any]:
    url = f"{operator.aws.functions.services.database_url}&user=blog_owner"
    return psycopg.connect(url, autocommit=True)


def revision(operator: Operator) -> str:
    with owner(operator) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert row
    return str(row[0])


def is_well(operator: Operator) -> bool:
    with operator.client() as admin:
        read = [admin.get(path).status_code for path in PATHS]
        created = [admin.post(path, json=body).status_code for path, body in CREATED.items()]
    # The second time it exists already, or refers to a row that was deleted.
    return set(read) == {200} and {201, 400, 409} >= set(created)
