"""`sam delete` removes a stack, but for what must not be lost by mistake."""

import pytest

from tests.rehearsal.conftest import deployed
from tests.rehearsal.operator import DeploymentFailed

pytestmark = pytest.mark.rehearsal


def test_a_stack_outside_dev_is_removed_only_when_its_protection_has_ended(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with deployed("prod", tmp_path_factory) as operator:
        with pytest.raises(DeploymentFailed, match="Cannot delete protected"):
            operator.remove()
        operator.end_protection()
        operator.remove()
        aws = operator.aws
        assert aws.functions.functions == {}
        assert aws.functions.aliases == {}
