"""Lambda handler of the custom resource `Custom::Schema`: migrates the database in a deployment.

CloudFormation sends its event, and waits for the response, which is a PUT to the event's
`ResponseURL`. The functions in the VPC reach neither CloudFormation nor Lambda, so this one is
outside of it, and invokes MigrationsFunction there. It always responds: a migration that fails
fails the deployment, with its reason, before any function is changed.

A deployment that is rolled back leaves the schema unchanged, which the previous release supports.
So the event of a roll-back succeeds without the database, which may be why the deployment failed:
a `Delete`, or an `Update` to a version that is not a later one, as Lambda never reuses a number.
"""

import json
import time
import urllib.request
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

SETTLING_SECONDS = 60.0
"""How long rejected invocations are retried: IAM takes seconds to allow this function's, and Lambda
to connect the other function to the VPC. A rejected invocation has not run."""
RETRY_SECONDS = 3.0
MIGRATION_SECONDS = 790.0
"""More than the timeout of MigrationsFunction, so that its outcome is always known; with the time
to settle, to ask for the status and to respond, less than this function's own 900."""
STATUS_SECONDS = 10.0
RESPONSE_BYTES = 4096
"""CloudFormation's maximum."""
RESPONSE_ATTEMPTS = 3


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
        response |= {"Status": "FAILED", "Reason": reason}
    _respond(event["ResponseURL"], response)


def _execute(event: dict[str, Any]) -> dict[str, Any]:
    if event["RequestType"] == "Delete":
        return {}
    migrations = event["ResourceProperties"]["Migrations"]
    if _is_included(migrations, event.get("OldResourceProperties", {}).get("Migrations", "")):
        return {}
    return migrate(migrations)


def _is_included(version: str, in_version: str) -> bool:
    """Whether both are ARNs of versions of one function, and `version` is not the later one."""
    function, _, number = version.rpartition(":")
    other_function, _, other_number = in_version.rpartition(":")
    are_comparable = function == other_function and number.isdigit() and other_number.isdigit()
    return are_comparable and int(number) <= int(other_number)


def migrate(function: str) -> dict[str, Any]:
    """Invoke the migrations, by the ARN of their version; return the revision.

    Raises `MigrationFailed`, and boto3's errors.
    """
    client = _client(MIGRATION_SECONDS)
    deadline = time.monotonic() + SETTLING_SECONDS
    while True:
        try:
            return {"Revision": _invoke(client, function, {})["revision"]}
        except ReadTimeoutError:
            return {"Revision": _reached(function)}
        except (ClientError, EndpointConnectionError) as error:
            if time.monotonic() + RETRY_SECONDS > deadline:
                raise
            print(json.dumps({"level": "INFO", "message": "invoked again", "reason": str(error)}))
            time.sleep(RETRY_SECONDS)


def _reached(function: str) -> str:
    """Return the revision after a run whose response was lost. Raises `MigrationFailed`.

    A network may forget a connection on which nothing is sent for minutes (boto3, issue 2424).
    """
    status = _invoke(_client(STATUS_SECONDS), function, {"action": "status"})
    if status["state"] == "behind":
        raise MigrationFailed("the response was lost; the log of the migrations has the reason")
    return str(status["revision"])


def _client(seconds: float) -> Any:
    config = Config(read_timeout=seconds, retries={"total_max_attempts": 1})
    return boto3.client("lambda", config=config)


def _invoke(client: Any, function: str, event: dict[str, str]) -> dict[str, Any]:
    invocation = client.invoke(FunctionName=function, Payload=json.dumps(event))
    payload: dict[str, Any] = json.load(invocation["Payload"])
    if "FunctionError" in invocation:
        raise MigrationFailed(f"{payload.get('errorType')}: {payload.get('errorMessage')}")
    return payload


def _respond(url: str, response: dict[str, Any]) -> None:
    while len(body := json.dumps(response).encode()) > RESPONSE_BYTES:
        response["Reason"] = response["Reason"][: len(response["Reason"]) * 9 // 10]
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's URL
        url, body, {"Content-Type": ""}, method="PUT"
    )
    for attempt in range(1, RESPONSE_ATTEMPTS + 1):
        try:
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
            return
        except OSError:
            if attempt == RESPONSE_ATTEMPTS:
                raise
            time.sleep(1)
