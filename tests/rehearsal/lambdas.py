"""Lambda's part in a deployment: functions, layers, versions and aliases, which really run.

A version runs from the zips that `sam deploy` uploaded, in workers of the local runtime.
Third-party packages are those of this machine: the uploaded ones are for Lambda's Python. Databases
and caches that a template makes are the ones of this machine too; the functions log in to them as
the users that the template names, without TLS and tokens.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.runtime.function import Function
from local.runtime.logs import LogLine
from local.runtime.pool import WorkerPool
from local.runtime.worker import Invocation
from local.services import Services
from tests.rehearsal.cloudformation import Described, Properties, Resource, ResourceFailed
from tests.template.stacks import PSEUDO_PARAMETERS, REGION

RUNTIME = Path(__file__).parent / "lambda_runtime"
ACCOUNT = PSEUDO_PARAMETERS["AWS::AccountId"]
CANARY_EVERY = 10
"""Of so many requests one goes to the new version, while a deployment is watched."""

Configuration = dict[str, Any]
Watch = Callable[[], None]
"""Sends requests, and raises ResourceFailed if an alarm fires."""


@dataclass
class LambdaFunction:
    """A function: its present configuration, and by number those that were published."""

    configuration: Configuration
    versions: dict[int, Configuration] = field(default_factory=dict)
    published: int = 0


@dataclass
class Alias:
    """The version that callers get, and a new one that a share of them gets."""

    version: int
    canary: int | None = None
    requests: int = 0

    def next_version(self) -> int:
        self.requests += 1
        return self.canary if self.canary and self.requests % CANARY_EVERY == 0 else self.version


class Lambda(Mapping[str, Function]):
    """Lambda of one account. As a mapping: the function that takes a request, by an alias's ARN."""

    def __init__(
        self, directory: Path, services: Services, read_object: Callable[[str, str], bytes]
    ) -> None:
        """`read_object` returns what is in S3, by bucket and key."""
        self.functions: dict[str, LambdaFunction] = {}
        self.aliases: dict[str, Alias] = {}
        self.paces: dict[str, str] = {}
        self.lines: list[dict[str, Any]] = []
        self.endpoint = ""
        self.watch: Watch = lambda: None
        self.layers: dict[str, Path] = {}
        self._directory = directory
        self.services = services
        self._read_object = read_object
        self.pool = WorkerPool(self._on_log)

    def _on_log(self, _function: Function, line: LogLine) -> None:
        if line.fields:
            self.lines.append(line.fields)

    def kinds(self) -> dict[str, Any]:
        return {
            "AWS::Lambda::Function": _FunctionKind(self),
            "AWS::Lambda::LayerVersion": _LayerKind(self),
            "AWS::Lambda::Version": _VersionKind(self),
            "AWS::Lambda::Alias": _AliasKind(self),
            "AWS::CodeDeploy::DeploymentGroup": _GroupKind(self),
        }

    def invoke(self, arn: str, event: bytes) -> Invocation:
        """Run a function by its ARN, that of a version or that of an alias."""
        return self.pool.invoke(self[arn], event)

    def __getitem__(self, arn: str) -> Function:
        parts = arn.split(":")
        name, qualifier = parts[6], parts[7] if len(parts) > 7 else ""
        function = self.functions[name]
        if not qualifier:
            return self._function(name, "$LATEST", function.configuration)
        number = int(qualifier) if qualifier.isdigit() else self.aliases[arn].next_version()
        return self._function(name, str(number), function.versions[number])

    def __iter__(self) -> Iterator[str]:
        return iter(self.aliases)

    def __len__(self) -> int:
        return len(self.aliases)

    def extracted(self, code: Properties) -> Path:
        """Return the folder with the code of a function or layer."""
        if "ZipFile" in code:
            folder = self._directory / f"inline-{abs(hash(code['ZipFile']))}"
            folder.mkdir(exist_ok=True)
            (folder / "index.py").write_text(code["ZipFile"], encoding="utf-8")
            return folder
        folder = self._directory / str(code["S3Key"]).replace("/", "-")
        if not folder.exists():
            archive = self._read_object(code["S3Bucket"], code["S3Key"])
            zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
        return folder

    def _function(self, name: str, version: str, configuration: Configuration) -> Function:
        code: Path = configuration["code"]
        # The layer with third-party packages is for Lambda's Python.
        layers = [path for path in configuration["layers"] if any(path.glob("*/settings.py"))]
        timeout_seconds = int(configuration.get("Timeout", 3))
        return Function(
            name=f"{name}:{version}",
            handler=configuration["Handler"],
            runtime=configuration["Runtime"],
            timeout_seconds=timeout_seconds,
            environment=self._environment(configuration)
            | {
                "AWS_LAMBDA_FUNCTION_NAME": name,
                "AWS_LAMBDA_FUNCTION_VERSION": version,
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_ENDPOINT_URL_LAMBDA": self.endpoint,
            },
            import_roots=(code, *layers, RUNTIME),
            code=(code,),
        )

    def _environment(self, configuration: Configuration) -> dict[str, str]:
        variables: dict[str, str] = configuration.get("Environment", {}).get("Variables", {})
        environment = {name: str(value) for name, value in variables.items()}
        if "DATABASE_URL" in environment:
            user = urlsplit(environment["DATABASE_URL"]).username
            environment["DATABASE_URL"] = f"{self.services.database_url}&user={user}"
            environment |= {"DATABASE_AUTH": "password", "TLS_REQUIRED": "false"}
        if environment.get("REDIS_URL"):
            environment |= {"REDIS_URL": self.services.redis_url, "REDIS_IAM_CACHE": ""}
        return environment

    def close(self) -> None:
        self.pool.close()


class _LayerKind:
    def __init__(self, account: Lambda) -> None:
        self._account = account
        self._made = 0

    def create(self, resource: Resource) -> None:
        self._made += 1
        name = resource.physical_id
        resource.physical_id = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}:{self._made}"
        folder = self._account.extracted(resource.properties["Content"]) / "python"
        self._account.layers[resource.physical_id] = folder

    def update(self, resource: Resource) -> None:
        raise ResourceFailed(f"{resource.type} cannot be updated")

    def restore(self, resource: Resource) -> None:
        pass

    def delete(self, resource: Resource) -> None:
        pass  # versions that have it keep it


class _FunctionKind:
    def __init__(self, account: Lambda) -> None:
        self._account = account

    def create(self, resource: Resource) -> None:
        name = resource.physical_id
        resource.attributes["Arn"] = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self._account.functions[name] = LambdaFunction(self._configuration(resource))

    def update(self, resource: Resource) -> None:
        function = self._account.functions[resource.physical_id]
        function.configuration = self._configuration(resource)
        self._account.pool.retire({f"{resource.physical_id}:$LATEST"})

    restore = update

    def delete(self, resource: Resource) -> None:
        del self._account.functions[resource.physical_id]

    def _configuration(self, resource: Resource) -> Configuration:
        properties = resource.properties
        layers = [self._account.layers[arn] for arn in properties.get("Layers", ())]
        unversioned = {"Tags", "Code", "Layers"}
        return {
            **{name: value for name, value in properties.items() if name not in unversioned},
            "code": self._account.extracted(properties["Code"]),
            "layers": layers,
        }


class _VersionKind:
    def __init__(self, account: Lambda) -> None:
        self._account = account

    def create(self, resource: Resource) -> None:
        name = resource.properties["FunctionName"]
        function = self._account.functions[name]
        if function.versions.get(function.published) == function.configuration:
            raise ResourceFailed(f"A version for this Lambda function exists ( {name} )")
        function.published += 1
        function.versions[function.published] = function.configuration
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}:{function.published}"
        resource.physical_id = arn
        resource.attributes["Version"] = str(function.published)

    def update(self, resource: Resource) -> None:
        raise ResourceFailed(f"{resource.type} cannot be updated")

    def restore(self, resource: Resource) -> None:
        pass

    def delete(self, resource: Resource) -> None:
        name, number = resource.physical_id.split(":")[6:]
        if name in self._account.functions:
            del self._account.functions[name].versions[int(number)]
            self._account.pool.retire({f"{name}:{number}"})


class _GroupKind(Described):
    """CodeDeploy's group of a function: at what pace callers move."""

    def __init__(self, account: Lambda) -> None:
        super().__init__("AWS::CodeDeploy::DeploymentGroup")
        self._account = account

    def create(self, resource: Resource) -> None:
        super().create(resource)
        self._account.paces[resource.physical_id] = resource.properties["DeploymentConfigName"]

    update = restore = create


class _AliasKind:
    def __init__(self, account: Lambda) -> None:
        self._account = account

    def create(self, resource: Resource) -> None:
        properties = resource.properties
        name = f"{properties['FunctionName']}:{properties['Name']}"
        resource.physical_id = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self._account.aliases[resource.physical_id] = Alias(int(properties["FunctionVersion"]))

    def update(self, resource: Resource) -> None:
        """Move callers over, some of them first if CodeDeploy does it so."""
        alias = self._account.aliases[resource.physical_id]
        version = int(resource.properties["FunctionVersion"])
        by_codedeploy = resource.update_policy.get("CodeDeployLambdaAliasUpdate", {})
        pace = self._account.paces.get(by_codedeploy.get("DeploymentGroupName", ""), "AllAtOnce")
        if "AllAtOnce" not in pace:
            alias.canary = version
            try:
                self._account.watch()
            finally:
                alias.canary = None
        alias.version = version

    def restore(self, resource: Resource) -> None:
        alias = self._account.aliases[resource.physical_id]
        alias.version = int(resource.properties["FunctionVersion"])

    def delete(self, resource: Resource) -> None:
        del self._account.aliases[resource.physical_id]


def payload_of(invocation: Invocation) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of Lambda's response."""
    headers = {"X-Amz-Function-Error": "Unhandled"} if invocation.function_error else {}
    return invocation.payload or json.dumps(None).encode(), headers
