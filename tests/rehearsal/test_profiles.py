"""Deployments of each profile: the real template by the real `sam`, on an empty account."""

import os
import subprocess
import sys

import pytest

from shared.auth.permissions import ROLES
from tests.rehearsal.changes import changed, edited, is_well
from tests.rehearsal.operator import Operator
from tests.rehearsal.resources import NESTED
from tests.resources import ROOT

pytestmark = [pytest.mark.rehearsal, pytest.mark.slow]


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


def test_the_first_deployment_migrates_before_anything_needs_the_schema(
    any_profile: Operator,
) -> None:
    """Its rights are not in force at first, and its schedule begins before there are tables."""
    aws = any_profile.aws
    assert any(one.action == "lambda:InvokeFunction" for one in aws.iam.denied)
    assert [run.payload for run in aws.scheduler.invocations if run.function_error] == []


def test_without_a_change_no_resource_is_changed(any_profile: Operator) -> None:
    """CloudFormation takes each nested stack for a change, and finds nothing to do in it."""
    events = any_profile.aws.cloudformation.events
    before, first_event = any_profile.versions(), len(events)
    any_profile.deploy_built()
    assert any_profile.versions() == before
    assert {event.type for event in events[first_event:]} == {NESTED}


def test_a_change_of_code_moves_the_callers_of_that_function(any_profile: Operator) -> None:
    before = any_profile.versions()
    with edited(any_profile, "functions/meta/routes.py", "\nREHEARSED = True\n"):
        any_profile.deploy()
    assert changed(before, any_profile.versions()) == {"MetaFunction"}
    # The version before is deleted when it is not needed for a way back any more.
    assert any_profile.kept_versions("MetaFunction") == [any_profile.versions()["MetaFunction"]]
    assert is_well(any_profile)
