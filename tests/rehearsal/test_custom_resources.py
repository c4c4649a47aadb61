"""The rehearsal's custom resources are made as AWS's are, above all by functions that fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.services import Services
from tests.rehearsal.aws import Aws
from tests.rehearsal.resources import Resource, ResourceFailed
from tests.resources import ROOT

ROLE = "arn:aws:iam::123456789012:role/role"
RESPONDS_THE_LAST_TIME = """
import cfnresponse
from pathlib import Path

def handler(event, context):
    invocations = Path(event["ResourceProperties"]["Invocations"])
    invocations.write_text(invocations.read_text() + event["RequestId"] + " ")
    if len(invocations.read_text().split()) < int(event["ResourceProperties"]["Until"]):
        raise RuntimeError
    cfnresponse.send(event, context, cfnresponse.SUCCESS, {"Made": "yes"}, "id")
"""


class Account:
    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def make(self, resource_type: str, name: str, **properties: Any) -> Resource:
        resource = Resource(name, resource_type, {}, properties, name)
        self._aws._kind_of(resource_type).create(resource)
        return resource

    def function(self, name: str, code: str) -> str:
        """Make one with more time than a test has; return its ARN."""
        properties = {"Handler": "index.handler", "Runtime": "python3.13", "Role": ROLE}
        code_in_template = {"ZipFile": code}
        made = self.make(
            "AWS::Lambda::Function", name, Code=code_in_template, Timeout=900, **properties
        )
        return str(made.attributes["Arn"])


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    aws = Aws(tmp_path, Services("", ""))
    with aws.running():
        yield Account(aws)


@pytest.fixture
def invocations(tmp_path: Path) -> Path:
    """A file to which a function adds its request's id."""
    file = tmp_path / "invocations"
    file.touch()
    return file


def test_a_function_that_fails_is_invoked_again_for_the_same_request(
    account: Account, invocations: Path
) -> None:
    token = account.function("function", RESPONDS_THE_LAST_TIME)
    made = account.make(
        "Custom::Any", "Any", ServiceToken=token, Invocations=str(invocations), Until=3
    )
    assert made.attributes == {"Made": "yes"}
    ids = invocations.read_text(encoding="utf-8").split()
    assert (len(ids), len(set(ids))) == (3, 1)


def test_a_function_that_fails_three_times_gives_no_response(
    account: Account, invocations: Path
) -> None:
    token = account.function("function", RESPONDS_THE_LAST_TIME)
    with pytest.raises(ResourceFailed, match=r"no response within ServiceTimeout: .*RuntimeError"):
        account.make(
            "Custom::Any", "Any", ServiceToken=token, Invocations=str(invocations), Until=4
        )
    assert len(invocations.read_text(encoding="utf-8").split()) == 3


def test_migrations_that_do_not_start_fail_the_schema_at_once(account: Account) -> None:
    """The schema's own function waits for the migrations as long as they may take."""
    invoking = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
    policy = {"PolicyName": "migrate", "PolicyDocument": {"Statement": [invoking]}}
    account.make("AWS::IAM::Role", "role", AssumeRolePolicyDocument={}, Policies=[policy])
    account.function("migrations", "raise RuntimeError('rehearsed')")
    version = account.make("AWS::Lambda::Version", "version", FunctionName="migrations")
    code = (ROOT / "infrastructure" / "schema" / "index.py").read_text(encoding="utf-8")
    token = account.function("schema", code)
    with pytest.raises(ResourceFailed, match="MigrationFailed: RuntimeError: rehearsed"):
        account.make("Custom::Schema", "Schema", ServiceToken=token, Migrations=version.physical_id)
