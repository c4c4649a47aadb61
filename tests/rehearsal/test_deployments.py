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
    replaced,
    revision,
    stopped_database,
)
from tests.rehearsal.operator import DeploymentFailed, Operator

pytestmark = [pytest.mark.rehearsal, pytest.mark.slow]


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


@pytest.mark.quick
def test_a_change_of_only_a_layer_moves_the_callers_of_all_functions(operator: Operator) -> None:
    before = operator.versions()
    with edited(operator, "layers/shared/shared/errors.py", f"\nREHEARSED = '{uuid.uuid4()}'\n"):
        operator.deploy()
    assert changed(before, operator.versions()) == ALL
    assert is_well(operator)


def test_a_change_of_a_parameter_reaches_the_callers(operator: Operator) -> None:
    """The limit is in force: on the deployed functions, not just in their configuration."""
    before = operator.versions()
    operator.deploy(ReadLimit="300", WriteLimit="120", AlarmsStopDeployments="false")
    assert changed(before, operator.versions()) == ALL
    smoke = operator.make("smoke")
    assert "8 passed" in smoke

    # What is given once stays, but for what samconfig.toml names.
    operator.deploy_built(ReadLimit="0")
    given = {"ReadLimit": "0", "WriteLimit": "120", "AlarmsStopDeployments": "true"}
    assert given.items() <= operator.parameters().items()
    assert is_well(operator)


def test_a_change_of_only_the_template_is_deployed(operator: Operator) -> None:
    """SAM publishes a version for it, which Lambda refuses if nothing else changes."""
    with replaced(
        operator, "template.yaml", "MemorySize: 1769", "MemorySize: !If [Hobby, 1769, 1769]"
    ):
        operator.deploy()
    assert is_well(operator)


def test_packages_for_another_machine_are_rejected(operator: Operator) -> None:
    before = operator.versions()
    with pytest.raises(DeploymentFailed, match=r"is for x86_64, its .+ for \['arm64'\]"):
        operator.deploy_built(Architecture="x86_64")
    assert operator.versions() == before
    assert operator.state.status == "UPDATE_ROLLBACK_COMPLETE"


def test_a_migration_runs_before_the_functions_change(operator: Operator) -> None:
    path, text, number = migration(operator, "ALTER TABLE identities ADD COLUMN rehearsed integer")
    events = operator.aws.cloudformation.events
    before, first_event = revision(operator), len(events)
    with edited(operator, path, text):
        operator.deploy()
    assert revision(operator) == number
    statuses = [(event.logical_id, event.status) for event in events[first_event:]]
    migrated = statuses.index(("Schema", "UPDATE_COMPLETE"))
    moved = [position for position, (name, _) in enumerate(statuses) if name in SERVING]
    assert all(position > migrated for position in moved)
    assert is_well(operator)

    # The previous release, deployed again, leaves the later schema unchanged.
    operator.deploy()
    assert revision(operator) == number
    assert is_well(operator)
    with owner(operator) as connection:
        connection.execute("ALTER TABLE identities DROP COLUMN rehearsed")
        connection.execute("UPDATE alembic_version SET version_num = %s", [before])


@pytest.mark.quick
def test_a_migration_that_fails_fails_the_deployment_with_its_reason(
    operator: Operator,
) -> None:
    path, text, number = migration(operator, "ALTER TABLE nowhere ADD COLUMN rehearsed integer")
    before, revision_before = operator.versions(), revision(operator)
    with (
        edited(operator, path, text),
        edited(operator, "functions/meta/routes.py", "\nREHEARSED = 2\n"),
        pytest.raises(DeploymentFailed) as failed,
    ):
        operator.deploy()
    # `sam` prints what the stack tells, which is that its stack Schema failed.
    assert "MigrationFailed" not in failed.value.printed
    assert "UPDATE_ROLLBACK_COMPLETE" in failed.value.printed
    printed = operator.make("failed-events")
    assert "MigrationFailed" in printed
    assert 'relation "nowhere" does not exist' in printed
    assert revision(operator) == revision_before != number
    assert operator.versions() == before
    assert is_well(operator)


def test_a_deployment_without_the_database_fails_and_is_rolled_back_without_it(
    operator: Operator,
) -> None:
    before = operator.versions()
    with (
        edited(operator, "layers/shared/shared/errors.py", f"\nREHEARSED = '{uuid.uuid4()}'\n"),
        stopped_database(operator),
        pytest.raises(DeploymentFailed, match="MigrationFailed"),
    ):
        operator.deploy()
    assert operator.state.status == "UPDATE_ROLLBACK_COMPLETE"
    assert operator.versions() == before
    assert is_well(operator)


def test_a_version_that_fails_is_rolled_back(operator: Operator) -> None:
    """10 % of the callers see it for a moment; then all get the version before."""
    before = operator.versions()
    with (
        edited(operator, "functions/meta/routes.py", "\ncheck_health = None\n"),
        pytest.raises(DeploymentFailed, match="the alarm Faults is at"),
    ):
        operator.deploy()
    assert operator.versions() == before
    assert is_well(operator)


def test_a_version_that_does_not_start_is_rolled_back(operator: Operator) -> None:
    before = operator.versions()
    with (
        edited(operator, "functions/meta/handler.py", "\nraise RuntimeError\n"),
        pytest.raises(DeploymentFailed, match="the alarm ServerErrors is at"),
    ):
        operator.deploy()
    assert operator.versions() == before
    assert is_well(operator)
