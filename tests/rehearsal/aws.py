"""The AWS that `sam deploy` meets: moto's server with a CloudFormation that really deploys.

Functions run and create custom resources, policies of roles are enforced, and schedules fire.
"""

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from local.services import Services
from tests.http_handler import QuietHandler
from tests.rehearsal.api import PARTITION, CloudFormation
from tests.rehearsal.iam import Iam
from tests.rehearsal.lambdas import Lambda, payload_of
from tests.rehearsal.resources import ACCOUNT, CUSTOM, Described, Kind, Resource, ResourceFailed
from tests.rehearsal.scheduler import Scheduler
from tests.template.stacks import managed_policies

ASYNCHRONOUS_ATTEMPTS = 3
"""How often a custom resource's function is invoked that raises, or does not start. Lambda waits
for a minute before the second one and for two before the third, which are left out here."""


class Aws:
    """One account in one region."""

    def __init__(self, directory: Path, services: Services) -> None:
        self.cloudformation = CloudFormation(self._kind_of)
        self.iam = Iam()
        self.functions = Lambda(directory, services, _read_object)
        self.scheduler = Scheduler(self.functions, self.iam)
        self.endpoint_url = ""
        self._responses: dict[str, dict[str, Any]] = {}
        self._kinds: dict[str, Kind] = {
            **self.functions.kinds(),
            **self.iam.kinds(),
            **self.scheduler.kinds(),
        }
        self._lambda_server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve AWS's APIs at `endpoint_url`, in this process."""
        with ExitStack() as stack:
            stack.callback(self.functions.close)
            managed_policies()  # looked up in another moto, which would empty this one
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            self.cloudformation.take_over(patch)
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            stack.callback(server.stop)
            _, port = server.get_host_and_port()
            # With 127.0.0.1 moto would take a template's URL for one of AWS.
            self.endpoint_url = f"http://localhost:{port}"
            # Moto keeps one state in a process, in which another account may have run before.
            httpx.post(f"{self.endpoint_url}/moto-api/reset").raise_for_status()
            self.functions.endpoint = f"http://127.0.0.1:{self._lambda_server.server_port}"
            stack.callback(self._lambda_server.server_close)
            stack.callback(self._lambda_server.shutdown)
            threading.Thread(target=self._lambda_server.serve_forever, daemon=True).start()
            yield

    def _handler(self) -> type[QuietHandler]:
        """Lambda's API for the custom resources' functions, and CloudFormation's for responses."""
        aws = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                arn = unquote(self.path.split("/")[3])
                [role] = re.findall("Credential=([^/]+)/", self.headers["Authorization"])
                event = self.body()
                if denied := aws.iam.denies(role, "lambda:InvokeFunction", arn):
                    body = json.dumps({"Message": str(denied)}).encode()
                    self.respond(body, {"X-Amzn-ErrorType": "AccessDeniedException"}, status=403)
                    return
                self.respond(*payload_of(aws.functions.invoke(arn, event)))

            def do_PUT(self) -> None:
                aws._responses.setdefault(self.path, json.loads(self.body()))
                self.respond(b"")

        return Handler

    def request_custom(self, kind: str, resource: Resource, **more: Any) -> None:
        """Send a custom resource's event to its function, and take the first response."""
        path = f"/{uuid.uuid4()}"
        event = {
            "RequestType": kind,
            "ResponseURL": self.functions.endpoint + path,
            "StackId": "stack",
            "RequestId": path,
            "ResourceType": resource.type,
            "LogicalResourceId": resource.logical_id,
            "ResourceProperties": _as_texts(resource.properties),
            **more,
        }
        for _ in range(ASYNCHRONOUS_ATTEMPTS):
            invocation = self.functions.invoke(
                resource.properties["ServiceToken"], json.dumps(event).encode()
            )
            if not invocation.function_error:
                break
        response = self._responses.pop(path, None)
        if response is None:
            raise ResourceFailed(f"no response within ServiceTimeout: {invocation.payload!r}")
        resource.physical_id = response["PhysicalResourceId"]
        if response["Status"] != "SUCCESS":
            raise ResourceFailed(
                "Received response status [FAILED] from custom resource. "
                f"Message returned: {response['Reason']}"
            )
        resource.attributes = response.get("Data", {})

    def _kind_of(self, resource_type: str) -> Kind:
        if resource_type not in self._kinds:
            is_custom = resource_type.startswith(CUSTOM)
            self._kinds[resource_type] = CustomKind(self) if is_custom else Described(resource_type)
        return self._kinds[resource_type]


class CustomKind:
    """A custom resource: its function is invoked, and must respond."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def create(self, resource: Resource) -> None:
        self._aws.request_custom("Create", resource)

    def update(self, resource: Resource, old: Resource) -> None:
        self._aws.request_custom(
            "Update",
            resource,
            PhysicalResourceId=old.physical_id,
            OldResourceProperties=_as_texts(old.properties),
        )

    restore = update

    def delete(self, resource: Resource) -> None:
        self._aws.request_custom("Delete", resource, PhysicalResourceId=resource.physical_id)


def _as_texts(value: Any) -> Any:
    """Return properties as CloudFormation sends them: without numbers and booleans."""
    if isinstance(value, dict):
        return {name: _as_texts(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_texts(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_object(bucket: str, key: str) -> bytes:
    found = s3_backends[ACCOUNT][PARTITION].get_object(bucket, key)
    assert found
    return bytes(found.value)
