"""The rehearsal's Lambda, IAM and Scheduler reject, delay and begin as AWS's do."""

import io
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.services import Services
from tests.elf import HEADER_BYTES, MACHINES
from tests.rehearsal.iam import Iam
from tests.rehearsal.lambdas import Lambda
from tests.rehearsal.resources import Resource, ResourceFailed
from tests.rehearsal.scheduler import Scheduler

INVOKE = "lambda:InvokeFunction"
HANDLER = b"def handler(event, context):\n    return event\n"


def library(architecture: str) -> bytes:
    (number,) = (number for number, name in MACHINES.items() if name == architecture)
    return b"\x7fELF".ljust(18, b"\0") + struct.pack("<H", number).ljust(HEADER_BYTES, b"\0")


class Account:
    """An AWS to which objects are put; makes resources of the types that it knows."""

    def __init__(self, directory: Path) -> None:
        self.objects: dict[str, bytes] = {}
        self.iam = Iam(settling_seconds=0.1)
        self.functions = Lambda(directory, Services("", ""), lambda _bucket, key: self.objects[key])
        self.scheduler = Scheduler(self.functions, self.iam)
        self.kinds = self.functions.kinds() | self.iam.kinds() | self.scheduler.kinds()

    def put(self, key: str, **files: bytes) -> dict[str, str]:
        """Upload a zip with these modules and libraries; return where it is."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as written:
            for name, content in files.items():
                is_library = content.startswith(b"\x7fELF")
                written.writestr(f"{name}.{'so' if is_library else 'py'}", content)
        self.objects[key] = archive.getvalue()
        return {"S3Bucket": "bucket", "S3Key": key}

    def make(self, resource_type: str, name: str, **properties: Any) -> Resource:
        resource = Resource(name, resource_type, {}, properties, name.lower())
        self.kinds[resource_type].create(resource)
        return resource

    def change(self, old: Resource, **properties: Any) -> None:
        new = Resource(old.logical_id, old.type, {}, old.properties | properties, old.physical_id)
        self.kinds[old.type].update(new, old)

    def function(self, code: dict[str, str], **properties: Any) -> Resource:
        given: dict[str, Any] = {
            "Handler": "index.handler",
            "Runtime": "python3.13",
            "Role": "arn:aws:iam::123456789012:role/role",
            "Architectures": ["arm64"],
            "Code": code,
        }
        return self.make("AWS::Lambda::Function", "Function", **given | properties)

    def layer(self, content: dict[str, str]) -> str:
        return self.make("AWS::Lambda::LayerVersion", "Layer", Content=content).physical_id

    def publish(self) -> Resource:
        return self.make("AWS::Lambda::Version", "Version", FunctionName="function")


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made = Account(tmp_path)
    yield made
    made.functions.close()


def test_a_function_with_a_library_for_another_machine_is_rejected(account: Account) -> None:
    right = account.put("right", index=HANDLER, library=library("arm64"))
    wrong = account.put("wrong", index=HANDLER, library=library("x86_64"))
    function = account.function(right, Layers=[account.layer(right)])
    message = r"Function is for arm64, its .+ for \['x86_64'\]"
    with pytest.raises(ResourceFailed, match=message):
        account.function(wrong)
    with pytest.raises(ResourceFailed, match=message):
        account.function(right, Layers=[account.layer(right), account.layer(wrong)])
    with pytest.raises(ResourceFailed, match=message):
        account.change(function, Code=wrong)
    with pytest.raises(ResourceFailed, match=r"Function is for x86_64, .+ for \['arm64'\]"):
        account.change(function, Architectures=["x86_64"])


def test_a_version_that_equals_the_last_one_is_rejected(account: Account) -> None:
    content = account.put("layer", module=b"")
    code = account.put("code", index=HANDLER)
    function = account.function(code, Layers=[account.layer(content)], MemorySize=128)
    account.publish()
    account.objects["copy"] = account.objects["code"]
    same: list[dict[str, Any]] = [
        {},
        {"Tags": [{"Key": "a", "Value": "b"}]},
        {"Code": {"S3Bucket": "bucket", "S3Key": "copy"}},
    ]
    for properties in same:
        account.change(function, **properties)
        with pytest.raises(ResourceFailed, match=r"this Lambda function exists \( 1 \)\. Modify"):
            account.publish()
    others: list[dict[str, Any]] = [
        {"Code": account.put("other", index=HANDLER + b"\n")},
        {"Layers": [account.layer(content)]},  # the same content, as another version of the layer
        {"MemorySize": 256},
    ]
    for number, properties in enumerate(others, start=2):
        account.change(function, **properties)
        assert account.publish().attributes["Version"] == str(number)


def invoking(*resources: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": INVOKE, "Resource": list(resources)}
    return {"PolicyName": "invoke", "PolicyDocument": {"Statement": [statement]}}


def role(account: Account, *resources: str, **properties: Any) -> Resource:
    properties |= {"AssumeRolePolicyDocument": {}, "Policies": [invoking(*resources)]}
    return account.make("AWS::IAM::Role", "Role", **properties)


def may(account: Account, resource: str) -> bool:
    return account.iam.denies("role", INVOKE, resource) is None


def test_a_right_has_its_effect_after_a_while(account: Account) -> None:
    role(account, "function:1")
    assert not may(account, "function:1")
    time.sleep(0.1)
    assert may(account, "function:1")


def test_a_changed_right_too_and_the_former_as_long(account: Account) -> None:
    made = role(account, "function:1")
    account.iam.settle("role")
    account.change(made, Policies=[invoking("function:2")])
    assert (may(account, "function:1"), may(account, "function:2")) == (True, False)
    time.sleep(0.1)
    assert (may(account, "function:1"), may(account, "function:2")) == (False, True)


def test_a_right_to_a_function_is_none_to_its_versions(account: Account) -> None:
    role(account, "one", "two:*")
    account.iam.settle("role")
    allowed = {name for name in ("one", "one:1", "two", "two:1", "two:9") if may(account, name)}
    assert allowed == {"one", "two:1", "two:9"}


def test_a_managed_policy_gives_rights_too(account: Account) -> None:
    document = {"Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}]}
    policy = account.make("AWS::IAM::ManagedPolicy", "Policy", PolicyDocument=document)
    role(account, "nothing", ManagedPolicyArns=[policy.physical_id, "arn:aws:iam::aws:policy/Any"])
    account.iam.settle("role")
    assert may(account, "function:1")


def test_a_rate_begins_at_once_and_a_time_does_not(account: Account) -> None:
    account.function(account.put("code", index=HANDLER), Architectures=["x86_64"])
    account.publish()
    alias = account.make(
        "AWS::Lambda::Alias", "Alias", FunctionName="function", Name="live", FunctionVersion="1"
    ).physical_id
    role(account, alias)
    schedule = {
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": alias, "RoleArn": "arn:aws:iam::123456789012:role/role", "Input": "[1]"},
    }

    def begin(**properties: str) -> None:
        account.make("AWS::Scheduler::Schedule", "Schedule", **schedule, **properties)

    begin(ScheduleExpression="cron(0 3 * * ? *)")
    begin(ScheduleExpression="rate(1 hour)", StartDate="2030-01-01T00:00:00Z")
    assert account.scheduler.invocations == []
    begin(ScheduleExpression="rate(1 hour)")
    (invocation,) = account.scheduler.invocations
    assert (invocation.payload, invocation.function_error) == (b"[1]", None)
