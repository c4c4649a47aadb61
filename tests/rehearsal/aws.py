"""The AWS that `sam deploy` meets: moto's server with a CloudFormation that really deploys.

moto takes uploads and change sets. Stacks with SAM's transform are deployed by
`tests.rehearsal.cloudformation`, with functions that run, and custom resources that these make.
Other stacks, such as SAM's own bucket, are moto's.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Event, Stack
from moto.cloudformation.parsing import Output, OutputMap, ResourceMap
from moto.cloudformation.utils import get_stack_from_s3_url
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from samcli.yamlhelper import yaml_parse

from local.services import Services
from tests.http_handler import QuietHandler
from tests.rehearsal.cloudformation import (
    Deployment,
    Described,
    Kind,
    Resource,
    ResourceFailed,
    StackState,
)
from tests.rehearsal.lambdas import ACCOUNT, Lambda, payload_of
from tests.template.stacks import REGION, managed_policies, translated

PARTITION = "aws"


class Aws:
    """One account in one region; `stacks` are those that were deployed from SAM's templates."""

    def __init__(self, directory: Path, services: Services) -> None:
        self.stacks: dict[str, StackState] = {}
        self.events: list[tuple[str, str, str, str, str]] = []
        self.functions = Lambda(directory, services, _read_object)
        self.endpoint_url = ""
        self._responses: dict[str, dict[str, Any]] = {}
        self._kinds: dict[str, Kind] = self.functions.kinds()
        self._lambda_server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve AWS's APIs at `endpoint_url`, in this process."""
        with ExitStack() as stack:
            stack.callback(self.functions.close)
            managed_policies()  # looked up in another moto, which would empty this one
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            self._take_over_cloudformation(patch)
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            stack.callback(server.stop)
            _, port = server.get_host_and_port()
            # With 127.0.0.1 moto would take a template's URL for one of AWS.
            self.endpoint_url = f"http://localhost:{port}"
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
                body, headers = payload_of(aws.functions.invoke(arn, self.body()))
                self.respond(body, headers)

            def do_PUT(self) -> None:
                aws._responses[self.path] = json.loads(self.body())
                self.respond(b"")

        return Handler

    def request_custom(self, kind: str, resource: Resource) -> dict[str, Any]:
        """Send a custom resource's event to its function; return the response."""
        path = f"/{uuid.uuid4()}"
        event = {
            "RequestType": kind,
            "ResponseURL": self.functions.endpoint + path,
            "StackId": "stack",
            "RequestId": path,
            "LogicalResourceId": resource.physical_id,
            "ResourceProperties": resource.properties,
        }
        invocation = self.functions.invoke(
            resource.properties["ServiceToken"], json.dumps(event).encode()
        )
        response = self._responses.pop(path, None)
        if response is None:
            raise ResourceFailed(f"no response within ServiceTimeout: {invocation.payload!r}")
        if response["Status"] != "SUCCESS":
            raise ResourceFailed(f"Received response status [FAILED]: {response['Reason']}")
        return response

    def _kind_of(self, resource_type: str) -> Kind:
        if resource_type not in self._kinds:
            is_custom = resource_type.startswith("Custom::")
            self._kinds[resource_type] = CustomKind(self) if is_custom else Described(resource_type)
        return self._kinds[resource_type]

    def _take_over_cloudformation(self, patch: pytest.MonkeyPatch) -> None:
        aws = self
        diff, execute = ChangeSet.diff, CloudFormationBackend.execute_change_set

        def own_diff(change_set: ChangeSet) -> list[Change]:
            """As far as it is known before the template is translated."""
            if not _is_ours(change_set.template_dict):
                return diff(change_set)
            known = aws.stacks.get(change_set.stack_name, StackState(""))
            return [
                Change("Modify" if name in known.resources else "Add", name, resource["Type"])
                for name, resource in change_set.template_dict["Resources"].items()
            ]

        def own_execute(
            backend: CloudFormationBackend, change_set_name: str, stack_name: str | None = None
        ) -> None:
            change_set = backend.describe_change_set(change_set_name)
            assert change_set
            if not _is_ours(change_set.template_dict):
                execute(backend, change_set_name, stack_name)
                change_set.stack._parse_template()
                change_set.stack.output_map = change_set.stack._create_output_map()
                return
            kind = change_set.change_set_type
            change_set.stack.status = f"{kind}_IN_PROGRESS"
            change_set.stack._add_stack_event(change_set.stack.status)
            threading.Thread(target=aws._deploy, args=(change_set,), daemon=True).start()

        delete = CloudFormationBackend.delete_stack

        def own_delete(backend: CloudFormationBackend, name_or_stack_id: str) -> None:
            stack = backend.get_stack(name_or_stack_id)
            if stack.name not in aws.stacks:
                delete(backend, name_or_stack_id)
                return
            stack.status = "DELETE_IN_PROGRESS"
            if Deployment(aws._kind_of, _template_of, aws._record(stack)).remove(
                aws.stacks[stack.name]
            ):
                stack.status = "DELETE_COMPLETE"
                backend.deleted_stacks[stack.stack_id] = backend.stacks.pop(stack.stack_id)
            else:
                stack.status = "DELETE_FAILED"

        def own_template(backend: CloudFormationBackend, name_or_stack_id: str) -> str:
            """With S3's own host, as `sam delete` knows no other."""
            template = str(backend.get_stack(name_or_stack_id).template)
            return template.replace(aws.endpoint_url, f"https://s3.{REGION}.amazonaws.com")

        patch.setattr(CloudFormationBackend, "get_template", own_template)
        patch.setattr(CloudFormationBackend, "delete_stack", own_delete)
        patch.setattr(ChangeSet, "diff", own_diff)
        patch.setattr(CloudFormationBackend, "execute_change_set", own_execute)

    def _deploy(self, change_set: ChangeSet) -> None:
        stack, name = change_set.stack, change_set.stack_name
        state = self.stacks.setdefault(name, StackState(name))

        on_event = self._record(stack)
        document = translated(yaml_parse(change_set.template))
        deployment = Deployment(self._kind_of, _template_of, on_event)
        try:
            succeeded = deployment.run(state, document, change_set.parameters)
        except Exception as error:  # noqa: BLE001 - else sam would wait for ever
            on_event(name, name, "the rehearsal itself", "UPDATE_FAILED", repr(error))
            succeeded = False
        kind = change_set.change_set_type
        failed = {"CREATE": "ROLLBACK_COMPLETE", "UPDATE": "UPDATE_ROLLBACK_COMPLETE"}
        if succeeded:
            declared = change_set.template_dict["Parameters"]
            defaults = {key: str(declared[key].get("Default", "")) for key in declared}
            stack.template, stack.parameters = change_set.template, defaults | change_set.parameters
            stack.template_dict = change_set.template_dict
        stack.output_map = cast("OutputMap", _Outputs(state.outputs))
        stack.resource_map = cast("ResourceMap", _Parameters(stack.parameters))
        change_set.execution_status = "EXECUTE_COMPLETE"
        status = f"{kind}_COMPLETE" if succeeded else failed[kind]
        stack._add_stack_event(status)
        stack.status = status

    def _record(self, stack: Stack) -> Callable[[str, str, str, str, str], None]:
        """Return what makes an event of the stack."""

        def on_event(stack_name: str, logical_id: str, kind: str, status: str, reason: str) -> None:
            self.events.append((stack_name, logical_id, kind, status, reason))
            ids = (stack.stack_id, stack.name, logical_id, logical_id)
            stack.events.append(Event(*ids, kind, status, reason or None, None))

        return on_event


class CustomKind:
    """A custom resource: its function is invoked, and must respond."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def create(self, resource: Resource) -> None:
        self._request("Create", resource)

    def update(self, resource: Resource) -> None:
        self._request("Update", resource)

    restore = update

    def delete(self, resource: Resource) -> None:
        self._request("Delete", resource)

    def _request(self, kind: str, resource: Resource) -> None:
        response = self._aws.request_custom(kind, resource)
        resource.attributes = response.get("Data", {})


class _Outputs(dict[str, Any]):
    """A stack's outputs, as moto writes them."""

    exports: tuple[Any, ...] = ()

    def __init__(self, outputs: dict[str, Any]) -> None:
        super().__init__({name: Output(name, str(value), name) for name, value in outputs.items()})


class _Parameters(dict[str, Any]):
    """A stack's parameters, as moto looks them up."""

    no_echo_parameter_keys: tuple[str, ...] = ()

    def __init__(self, parameters: dict[str, str]) -> None:
        super().__init__()
        self.resolved_parameters = parameters


def _is_ours(document: dict[str, Any]) -> bool:
    types = (resource["Type"] for resource in document["Resources"].values())
    return any(one.startswith("AWS::Serverless::") for one in types)


def _template_of(url: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml_parse(get_stack_from_s3_url(url, ACCOUNT, PARTITION))
    return document


def _read_object(bucket: str, key: str) -> bytes:
    found = s3_backends[ACCOUNT][PARTITION].get_object(bucket, key)
    assert found
    return bytes(found.value)
