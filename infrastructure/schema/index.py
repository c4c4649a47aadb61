"""Lambda handler of the custom resource `Custom::Schema`: migrates the database in a deployment.

CloudFormation sends its event, and waits for the response, which is a PUT to the event's
`ResponseURL`. The functions in the VPC reach neither CloudFormation nor Lambda, so this one is
outside of it, and invokes MigrationsFunction there. It always responds: a migration that fails
fails the deployment, with its reason, before any function is changed. Deleting the resource changes
nothing.
"""

import json
import urllib.request
from typing import Any

import boto3
from botocore.config import Config

MIGRATION_SECONDS = 870
"""Less than this function's own 900, to have time to respond."""
REASON_CHARACTERS = 1000
"""CloudFormation takes a response of at most 4096 bytes."""


class MigrationFailed(Exception):
    """The migrations raised an error, which is the message."""


def handler(event: dict[str, Any], _context: object) -> None:
    """Execute the event: `Create`, `Update` or `Delete` of the resource."""
    response = {
        "PhysicalResourceId": "schema",
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    try:
        response |= {"Status": "SUCCESS", "Data": _execute(event)}
    except Exception as error:  # noqa: BLE001 - without a response the deployment would hang
        reason = f"{type(error).__name__}: {error}"
        print(json.dumps({"level": "ERROR", "message": "the migrations failed", "reason": reason}))
        response |= {"Status": "FAILED", "Reason": reason[:REASON_CHARACTERS]}
    _respond(event["ResponseURL"], response)


def _execute(event: dict[str, Any]) -> dict[str, Any]:
    properties = event["ResourceProperties"]
    if event["RequestType"] == "Delete" or properties["Migrate"] != "true":
        return {}
    return migrate(properties["Migrations"])


def migrate(function: str) -> dict[str, Any]:
    """Invoke the migrations, by the ARN of their version; return the revision.

    Raises `MigrationFailed`, and boto3's errors.
    """
    config = Config(read_timeout=MIGRATION_SECONDS, retries={"total_max_attempts": 1})
    invocation = boto3.client("lambda", config=config).invoke(FunctionName=function, Payload=b"{}")
    payload = json.load(invocation["Payload"])
    if "FunctionError" in invocation:
        raise MigrationFailed(f"{payload.get('errorType')}: {payload.get('errorMessage')}")
    return {"Revision": payload["revision"]}


def _respond(url: str, response: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's URL
        url, json.dumps(response).encode(), {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
