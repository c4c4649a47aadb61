"""Later deployments: what they change, what callers notice, and what a failure leaves behind.

Each test finds a stack that is well, and leaves one.
"""

import uuid
from pathlib import Path

import pytest

from tests.rehearsal.changes import (
    ALL,
    SERVING,
    VERSIONS,
    changed,
    edited,
    is_well,
    owner,
    revision,
)
from tests.rehearsal.operator import DeploymentFailed, Operator

pytestmark = pytest.mark.rehearsal


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
