"""A first deployment of each profile: the real template by the real `sam`, on an empty account."""

import os
import subprocess
import sys

import pytest

from blog.auth.policy import ROLES
from tests.rehearsal.operator import Operator
from tests.resources import ROOT

pytestmark = pytest.mark.rehearsal


def test_the_deployed_functions_pass_the_end_to_end_suite_for_each_role(
    any_profile: Operator,
) -> None:
    tokens = {f"{role.upper()}_TOKEN": any_profile.token(role) for role in ROLES}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/e2e/test_api.py", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=os.environ | tokens | {"BASE_URL": any_profile.base_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
