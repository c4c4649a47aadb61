"""A stage of samconfig.toml as AWS has it: its URL, tokens for a test, why a deployment failed.

    python -m tests.smoke.stage staging            # `make failed-events STAGE=staging`
    python -m tests.smoke.stage staging sign-in    # variables for `make smoke`, without credentials

It needs no package but boto3, as it runs where GitHub deploys.

Credentials come from the environment, as for `sam`. AWS_REGION replaces the stage's region.
"""

import os
import secrets
import sys
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import boto3

ROOT = Path(__file__).parents[2]
VARIABLES = ("BASE_URL", "ADMIN_TOKEN", "READER_TOKEN")
"""The environment variables for the fields of `Deployed`."""
NESTED = "AWS::CloudFormation::Stack"
STARTED = {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"}
REASON_OF_START = "User Initiated"
Event = dict[str, Any]


class Stage(NamedTuple):
    """The stack of a stage, and its region."""

    stack_name: str
    region: str

    def client(self, service: str) -> Any:
        session: Any = boto3.Session(region_name=self.region)
        return session.client(service)


class Deployed(NamedTuple):
    """An API and tokens for it: an administrator's, and one of a caller without a role."""

    base_url: str
    admin_token: str
    reader_token: str


class NoUserPool(Exception):
    """Another issuer makes the stage's tokens."""


def stage(name: str) -> Stage:
    """Return the stage of this name. Raises `KeyError` if samconfig.toml has none."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    parameters = config["default" if name == "dev" else name]["global"]["parameters"]
    return Stage(parameters["stack_name"], os.environ.get("AWS_REGION") or parameters["region"])


@contextmanager
def signed_in(one: Stage) -> Iterator[Deployed]:
    """Make two users in the stage's user pool; yield their tokens; delete the users.

    The tokens live for 15 minutes, also when the users are gone. Raises `NoUserPool`, and
    botocore's errors.
    """
    [stack] = one.client("cloudformation").describe_stacks(StackName=one.stack_name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    if "UserPoolId" not in outputs:
        raise NoUserPool(f"{one.stack_name} has no user pool")
    pool, client = outputs["UserPoolId"], outputs["SmokeTestClientId"]
    cognito = one.client("cognito-idp")
    with ExitStack() as users:
        admin, reader = (
            users.enter_context(_user(cognito, pool, client, group)) for group in ("admin", None)
        )
        yield Deployed(outputs["ApiUrl"], admin, reader)


@contextmanager
def _user(cognito: Any, pool: str, client: str, group: str | None) -> Iterator[str]:
    """Make a user, of the group if it is not None; yield its token; delete the user."""
    password = f"{secrets.token_urlsafe(32)}aA1!"  # what a pool's policy can ask for
    user = {"UserPoolId": pool, "Username": f"smoke-{uuid.uuid4()}"}
    cognito.admin_create_user(**user, MessageAction="SUPPRESS")
    try:
        cognito.admin_set_user_password(**user, Password=password, Permanent=True)
        if group:
            cognito.admin_add_user_to_group(**user, GroupName=group)
        response = cognito.admin_initiate_auth(
            UserPoolId=pool,
            ClientId=client,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": user["Username"], "PASSWORD": password},
        )
        yield response["AuthenticationResult"]["AccessToken"]
    finally:
        cognito.admin_delete_user(**user)


def failed_events(cloudformation: Any, stack_name: str) -> list[Event]:
    """Return what failed in the stack's latest deployment, nested stacks included, oldest first.

    `sam deploy` prints the events of the outer stack only.
    """
    events = _events_since(cloudformation, stack_name, None)
    since = events[-1]["Timestamp"]
    seen, unseen = {events[-1]["StackId"]}, _nested(events)
    while unseen:
        stack_id = unseen.pop()
        seen.add(stack_id)
        found = _events_since(cloudformation, stack_id, since)
        events += found
        unseen |= _nested(found) - seen
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return sorted(failed, key=lambda event: event["Timestamp"])


def _nested(events: list[Event]) -> set[str]:
    """The ids of the stacks that the events' stack made or changed."""
    return {
        event["PhysicalResourceId"]
        for event in events
        if event["ResourceType"] == NESTED
        and event["PhysicalResourceId"] not in {"", event["StackId"]}
    }


def _events_since(cloudformation: Any, stack: str, since: datetime | None) -> list[Event]:
    """Return the stack's events, newest first, since this time or, with None, the last start."""
    events: list[Event] = []
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
    for event in (event for page in pages for event in page["StackEvents"]):
        if since is not None and event["Timestamp"] < since:
            break
        events.append(event)
        if since is None and _is_start(event):
            break
    return events


def _is_start(event: Event) -> bool:
    return (
        event["PhysicalResourceId"] == event["StackId"]
        and event["ResourceStatus"] in STARTED
        and event.get("ResourceStatusReason") == REASON_OF_START
    )


def main() -> None:
    one = stage(sys.argv[1])
    if sys.argv[2:] == ["sign-in"]:
        with signed_in(one) as deployed:
            for name, value in zip(VARIABLES, deployed, strict=True):
                print(f"{name}={value}")
        return
    for event in failed_events(one.client("cloudformation"), one.stack_name):
        reason = event.get("ResourceStatusReason", "no reason")
        print(f"{event['StackName']} {event['LogicalResourceId']}: {reason}")


if __name__ == "__main__":
    main()
