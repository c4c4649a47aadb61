"""A first deployment that fails, the next one, and the removal, as docs/deployment.md has them."""

import pytest

from tests.rehearsal.changes import edited, is_well
from tests.rehearsal.conftest import UNLIMITED, empty_account
from tests.rehearsal.operator import DeploymentFailed, Operator

pytestmark = [pytest.mark.rehearsal, pytest.mark.slow]


def left_behind(operator: Operator) -> list[str]:
    return [resource.logical_id for resource in operator.aws.cloudformation.kept]


def test_a_first_deployment_that_fails_is_repeated_and_a_stack_removed_without_protection(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with empty_account("staging", tmp_path_factory) as operator:
        aws = operator.aws
        with (
            edited(
                operator, "functions/migrations/handler.py", "\nraise RuntimeError('rehearsed')\n"
            ),
            pytest.raises(DeploymentFailed, match="RuntimeError"),
        ):
            operator.deploy(**UNLIMITED)
        assert operator.state.status == "ROLLBACK_FAILED"
        with pytest.raises(DeploymentFailed) as failed:
            operator.deploy_built()
        assert "is in ROLLBACK_FAILED state and can not be updated" in failed.value.printed
        operator.end_protection()
        operator.remove()
        assert left_behind(operator) == ["UserPool"]

        operator.deploy(**UNLIMITED)
        with operator.serving():
            assert is_well(operator)
        with pytest.raises(DeploymentFailed, match="Cannot delete protected"):
            operator.remove()
        operator.end_protection()
        operator.remove()
        assert aws.functions.functions == {}
        assert aws.functions.aliases == {}
        assert left_behind(operator) == ["UserPool"] * 2
