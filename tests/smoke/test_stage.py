"""`make smoke` and `make failed-events` call AWS, which is moto here."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from threading import Lock, Thread
from time import sleep
from typing import Any, NamedTuple

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from local.identity.parsing import parse_token
from tests.http_handler import QuietHandler
from tests.smoke.stage import NoUserPool, Stage, failed_events, signed_in, stage
from tests.smoke.test_deployed_api import until_limited
from tests.template.stacks import REGION, Stack

STACK = Stage("users-and-posts-staging", REGION)
NEW_ACCOUNT_CONCURRENCY = 10
OTHERS = 3
"""Execution environments that other callers, a canary's and a schedule's requests take."""


class Pool(NamedTuple):
    id: str
    client: str


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


@pytest.fixture
def pool(account: None) -> Pool:
    """The template's user pool, client and groups, in a stack with the template's outputs."""
    cognito, stack = STACK.client("cognito-idp"), Stack()
    properties = stack.properties("UserPool")
    created = cognito.create_user_pool(
        PoolName="pool", Policies=properties["Policies"], MfaConfiguration="OFF"
    )
    pool_id = created["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName="client",
        ExplicitAuthFlows=stack.properties("SmokeTestClient")["ExplicitAuthFlows"],
    )
    cognito.create_group(UserPoolId=pool_id, GroupName=stack.properties("AdminGroup")["GroupName"])
    made = Pool(pool_id, client["UserPoolClient"]["ClientId"])
    deploy({"ApiUrl": "https://api", "UserPoolId": made.id, "SmokeTestClientId": made.client})
    return made


def deploy(outputs: dict[str, str]) -> None:
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    STACK.client("cloudformation").create_stack(
        StackName=STACK.stack_name, TemplateBody=json.dumps(template)
    )


def count_users(pool: Pool) -> int:
    described = STACK.client("cognito-idp").describe_user_pool(UserPoolId=pool.id)
    return int(described["UserPool"]["EstimatedNumberOfUsers"])


def test_the_template_has_the_outputs_that_are_read(pool: Pool) -> None:
    stack = Stack()
    assert {"ApiUrl", "UserPoolId", "SmokeTestClientId"} <= {
        name for name in stack.document["Outputs"] if stack.has(name)
    }


def test_a_smoke_test_has_users_of_its_own_which_are_gone_afterwards(pool: Pool) -> None:
    with signed_in(STACK) as deployed:
        assert deployed.base_url == "https://api"
        tokens = (deployed.admin_token, deployed.reader_token)
        claims = [parse_token(token).claims for token in tokens]
        assert [one.get("cognito:groups", []) for one in claims] == [["admin"], []]
        assert {one["client_id"] for one in claims} == {pool.client}
        assert count_users(pool) == 2
    assert count_users(pool) == 0


def test_no_user_is_left_if_one_cannot_sign_in(pool: Pool) -> None:
    cognito = STACK.client("cognito-idp")
    cognito.delete_user_pool_client(UserPoolId=pool.id, ClientId=pool.client)
    with pytest.raises(ClientError, match="ResourceNotFound"), signed_in(STACK):
        pass
    assert count_users(pool) == 0


def test_a_stage_with_another_issuer_has_no_users_to_make(account: None) -> None:
    deploy({"ApiUrl": "https://api"})
    with pytest.raises(NoUserPool, match="users-and-posts-staging"), signed_in(STACK):
        pass


def test_a_stage_is_a_section_of_samconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert stage("prod") == Stage("users-and-posts-prod", "eu-west-1")
    assert stage("dev").stack_name == "users-and-posts-dev"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert stage("prod").region == "eu-central-1"


def test_a_new_account_serves_the_smoke_test_beside_others() -> None:
    """Ten at once in all, as Lambda has it: one more is API Gateway's 503."""
    served, lock, busy = [0], Lock(), [OTHERS]

    class Account(QuietHandler):
        def do_GET(self) -> None:
            with lock:
                busy[0] += 1
                is_throttled = busy[0] > NEW_ACCOUNT_CONCURRENCY
                served[0] += 1
            sleep(0.01)
            with lock:
                busy[0] -= 1
            status = 503 if is_throttled else 200 if served[0] < 300 else 429
            self.respond(b"", status=status)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Account)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as reader:
            responses = until_limited(reader, "/", maximum=600)
    finally:
        server.shutdown()
        server.server_close()
    assert {one.status_code for one in responses} == {200, 429}


def test_only_the_last_deployments_failures_of_nested_stacks_are_printed() -> None:
    outer, inner = (f"arn:aws:cloudformation:{REGION}:1:stack/{name}/1" for name in ("a", "a-b"))

    def event(minute: int, stack: str, resource: str, physical: str, status: str, why: str) -> Any:
        return {
            "EventId": f"{stack}-{minute}",
            "StackId": stack,
            "StackName": stack.split("/")[1],
            "LogicalResourceId": resource,
            "PhysicalResourceId": physical,
            "ResourceType": "AWS::CloudFormation::Stack" if physical else "Custom::Schema",
            "Timestamp": datetime(2026, 11, 29, 10, minute, tzinfo=UTC),
            "ResourceStatus": status,
            "ResourceStatusReason": why,
        }

    outer_events = [
        event(9, outer, "a", outer, "UPDATE_ROLLBACK_COMPLETE", ""),
        event(5, outer, "Schema", inner, "UPDATE_FAILED", "Embedded stack was not updated"),
        event(2, outer, "a", outer, "UPDATE_IN_PROGRESS", "User Initiated"),
        event(1, outer, "Schema", inner, "UPDATE_FAILED", "an earlier one"),
    ]
    inner_events = [
        event(8, inner, "a-b", inner, "UPDATE_IN_PROGRESS", "the way back"),
        event(4, inner, "Schema", "", "UPDATE_FAILED", "MigrationFailed: no table"),
        event(1, inner, "Schema", "", "UPDATE_FAILED", "MigrationFailed: an earlier one"),
    ]
    cloudformation = boto3.client(
        "cloudformation", REGION, aws_access_key_id="key", aws_secret_access_key="secret"
    )
    with Stubber(cloudformation) as stubber:
        for name, events in (("a", outer_events), (inner, inner_events)):
            stubber.add_response(
                "describe_stack_events", {"StackEvents": events}, {"StackName": name}
            )
        reasons = [one["ResourceStatusReason"] for one in failed_events(cloudformation, "a")]
    assert reasons == ["MigrationFailed: no table", "Embedded stack was not updated"]
