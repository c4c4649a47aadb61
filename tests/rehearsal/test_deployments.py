"""Later deployments: what they change, what callers notice, and what a failure leaves behind.

Each test finds a stack that is well, and leaves one.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.rehearsal.operator import DeploymentFailed, Operator

pytestmark = pytest.mark.rehearsal

SERVING = {"UsersFunction", "PostsFunction", "MetaFunction"}
ALL = SERVING | {"MigrationsFunction"}
VERSIONS = Path("functions/migrations/versions")


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
        user = admin.post("/users", json={"name": "A", "email": f"{uuid.uuid4().hex}@example.org"})
        listed = admin.get("/users")
        return (user.status_code, listed.status_code) == (201, 200)


def migration(operator: Operator, statement: str) -> tuple[Path, str, str]:
    """The path, text and revision of a migration that runs this statement after all others."""
    last = revision(operator)
    number = f"{int(last) + 1:04d}"
    text = f'''"""Rehearsed."""

from alembic import op

revision = "{number}"
down_revision = "{last}"


def upgrade() -> None:
    op.execute("{statement}")


def downgrade() -> None:
    pass
'''
    return VERSIONS / f"{number}_rehearsed.py", text, number


def test_without_a_change_nothing_is_deployed(operator: Operator) -> None:
    before, events = operator.versions(), len(operator.aws.events)
    assert "No changes to deploy" in operator.deploy()
    assert operator.versions() == before
    assert operator.aws.events[events:] == []


def test_a_change_of_code_moves_the_callers_of_that_function(operator: Operator) -> None:
    before = operator.versions()
    with edited(operator, "functions/users/routes.py", "\nREHEARSED = True\n"):
        operator.deploy()
    assert changed(before, operator.versions()) == {"UsersFunction"}
    # The version before is deleted when it is not needed for a way back any more.
    assert operator.kept_versions("UsersFunction") == [operator.versions()["UsersFunction"]]
    assert is_well(operator)


def test_a_change_of_a_layer_alone_moves_the_callers_of_all_functions(operator: Operator) -> None:
    before = operator.versions()
    with edited(operator, "layers/blog/blog/errors.py", f"\nREHEARSED = '{uuid.uuid4()}'\n"):
        operator.deploy()
    assert changed(before, operator.versions()) == ALL
    assert is_well(operator)


def test_a_change_of_a_parameter_reaches_the_callers(operator: Operator) -> None:
    """The limit is in force: on the deployed functions, not just in their configuration."""
    before = operator.versions()
    operator.deploy(ReadLimit="300", WriteLimit="120")
    assert changed(before, operator.versions()) == ALL
    smoke = operator.make("smoke")
    assert "8 passed" in smoke
    operator.deploy(ReadLimit="0", WriteLimit="0")
    assert is_well(operator)


def test_a_migration_comes_before_the_functions_that_need_it(operator: Operator) -> None:
    path, text, number = migration(operator, "ALTER TABLE users ADD COLUMN rehearsed integer")
    before, first_event = revision(operator), len(operator.aws.events)
    with edited(operator, path, text):
        operator.deploy()
    assert revision(operator) == number
    events = [(name, status) for _, name, _, status, _ in operator.aws.events[first_event:]]
    migrated = events.index(("Schema", "UPDATE_COMPLETE"))
    moved = [position for position, (name, _) in enumerate(events) if name in SERVING]
    assert all(position > migrated for position in moved)
    assert is_well(operator)

    # The release before, deployed again, leaves the later schema alone.
    operator.deploy()
    assert revision(operator) == number
    assert is_well(operator)
    with owner(operator) as connection:
        connection.execute("ALTER TABLE users DROP COLUMN rehearsed")
        connection.execute("UPDATE alembic_version SET version_num = %s", [before])


def test_a_migration_that_fails_fails_the_deployment_with_its_reason(operator: Operator) -> None:
    path, text, number = migration(operator, "ALTER TABLE nowhere ADD COLUMN rehearsed integer")
    before, revision_before = operator.versions(), revision(operator)
    with (
        edited(operator, path, text),
        edited(operator, "functions/users/routes.py", "\nREHEARSED = 2\n"),
        pytest.raises(DeploymentFailed, match='relation "nowhere" does not exist') as failed,
    ):
        operator.deploy()
    assert "MigrationFailed" in failed.value.printed
    assert revision(operator) == revision_before != number
    assert operator.versions() == before
    assert is_well(operator)


def test_a_version_that_fails_is_taken_back(operator: Operator) -> None:
    """10 % of the callers see it for a moment; then all get the version before."""
    before = operator.versions()
    with (
        edited(operator, "functions/users/routes.py", "\nUSERS = None\n"),
        pytest.raises(DeploymentFailed, match="the alarm Faults is at"),
    ):
        operator.deploy()
    assert operator.versions() == before
    assert is_well(operator)


def test_a_version_that_does_not_start_is_taken_back(operator: Operator) -> None:
    before = operator.versions()
    with (
        edited(operator, "functions/posts/handler.py", "\nraise RuntimeError\n"),
        pytest.raises(DeploymentFailed, match="the alarm ServerErrors is at"),
    ):
        operator.deploy()
    assert operator.versions() == before
    assert is_well(operator)
