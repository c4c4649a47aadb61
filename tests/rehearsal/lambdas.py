"""Lambda's part in a deployment: functions, layers, versions and aliases, which really run.

A version runs from the zips that `sam deploy` uploaded, in workers of the local runtime.
Third-party packages are those of this machine: the uploaded ones are for Lambda's Python, and a
function with libraries for another machine than its own is rejected. Databases
and caches that a template makes are the ones of this machine too; the functions log in to them as
the users that the template names, without TLS and tokens.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.runtime.function import Function
from local.runtime.logs import LogLine
from local.runtime.pool import WorkerPool
from local.runtime.worker import Invocation
from local.services import Services
from tests.elf import HEADER_BYTES, machine_of
from tests.rehearsal.resources import ACCOUNT, Described, Properties, Resource, ResourceFailed
from tests.template.stacks import REGION

RUNTIME = Path(__file__).parent / "lambda_runtime"
CANARY_EVERY = 10
"""Of so many requests one goes to the new version, while a deployment is watched."""

UNVERSIONED = {"Code", "Tags"}
"""Properties that are not a version's: its code is compared by its hash."""

Configuration = dict[str, Any]
Watch = Callable[[Collection[str]], None]
"""Sends requests, and raises ResourceFailed if one of these alarms fires."""


@dataclass(frozen=True)
class Package:
    """The uploaded code of a function or layer: its files, and the machines of its libraries."""

    folder: Path = field(compare=False)
    sha256: str
    machines: frozenset[str] = frozenset()


@dataclass
class LambdaFunction:
    """A function: its present configuration, and by number those that were published."""

    configuration: Configuration
    versions: dict[int, Configuration] = field(default_factory=dict)
    published: int = 0

    @property
    def last(self) -> int | None:
        """The version that was published last, of those that are still there."""
        return max(self.versions, default=None)


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
        self.groups: dict[str, Properties] = {}
        self.lines: list[dict[str, Any]] = []
        self.endpoint = ""
        self.watch: Watch = lambda _alarms: None
        self.layers: dict[str, Package] = {}
        self._packages: dict[str, Package] = {}
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

    def package(self, code: Properties) -> Package:
        """Return the code of a function or layer."""
        key = code.get("S3Key") or hashlib.sha256(code["ZipFile"].encode()).hexdigest()
        if key not in self._packages:
            folder = self._directory / str(key).replace("/", "-")
            if "ZipFile" in code:
                folder.mkdir()
                (folder / "index.py").write_text(code["ZipFile"], encoding="utf-8")
                self._packages[key] = Package(folder, key)
            else:
                self._packages[key] = _extracted(self._read_object(code["S3Bucket"], key), folder)
        return self._packages[key]

    def _function(self, name: str, version: str, configuration: Configuration) -> Function:
        code: Path = configuration["code"].folder
        layers = [self.layers[arn].folder / "python" for arn in configuration.get("Layers", ())]
        # The layer with third-party packages is for Lambda's Python.
        layers = [path for path in layers if any(path.glob("*/settings.py"))]
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
                # By it `Aws` knows the role of who calls Lambda.
                "AWS_ACCESS_KEY_ID": configuration["Role"].rpartition("/")[2],
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
        package = self._account.package(resource.properties["Content"])
        self._account.layers[resource.physical_id] = package

    def update(self, resource: Resource, old: Resource) -> None:
        raise ResourceFailed(f"{resource.type} cannot be updated")

    def restore(self, resource: Resource, failed: Resource) -> None:
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

    def update(self, resource: Resource, old: Resource) -> None:
        function = self._account.functions[resource.physical_id]
        function.configuration = self._configuration(resource)
        self._account.pool.retire({f"{resource.physical_id}:$LATEST"})

    restore = update

    def delete(self, resource: Resource) -> None:
        del self._account.functions[resource.physical_id]

    def _configuration(self, resource: Resource) -> Configuration:
        properties = resource.properties
        code = self._account.package(properties["Code"])
        layers = {arn: self._account.layers[arn] for arn in properties.get("Layers", ())}
        [architecture] = properties.get("Architectures", ["x86_64"])
        for name, package in {"code": code, **layers}.items():
            if others := package.machines - {architecture}:
                raise ResourceFailed(
                    f"{resource.logical_id} is for {architecture}, its {name} for {sorted(others)}"
                )
        kept = {name: value for name, value in properties.items() if name not in UNVERSIONED}
        return {**kept, "code": code}


class _VersionKind:
    def __init__(self, account: Lambda) -> None:
        self._account = account

    def create(self, resource: Resource) -> None:
        name = resource.properties["FunctionName"]
        function = self._account.functions[name]
        if function.last and function.versions[function.last] == function.configuration:
            raise ResourceFailed(
                f"A version for this Lambda function exists ( {function.last} ). "
                "Modify the function to create a new version."
            )
        function.published += 1
        function.versions[function.published] = function.configuration
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}:{function.published}"
        resource.physical_id = arn
        resource.attributes["Version"] = str(function.published)

    def update(self, resource: Resource, old: Resource) -> None:
        raise ResourceFailed(f"{resource.type} cannot be updated")

    def restore(self, resource: Resource, failed: Resource) -> None:
        pass

    def delete(self, resource: Resource) -> None:
        name, number = resource.physical_id.split(":")[6:]
        if name in self._account.functions:
            del self._account.functions[name].versions[int(number)]
            self._account.pool.retire({f"{name}:{number}"})


class _GroupKind(Described):
    """CodeDeploy's group of a function: at what pace callers move, and which alarms stop that."""

    def __init__(self, account: Lambda) -> None:
        super().__init__("AWS::CodeDeploy::DeploymentGroup")
        self._account = account

    def create(self, resource: Resource) -> None:
        super().create(resource)
        self._account.groups[resource.physical_id] = resource.properties

    def restore(self, resource: Resource, failed: Resource) -> None:
        self.create(resource)


class _AliasKind:
    def __init__(self, account: Lambda) -> None:
        self._account = account

    def create(self, resource: Resource) -> None:
        properties = resource.properties
        name = f"{properties['FunctionName']}:{properties['Name']}"
        resource.physical_id = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self._account.aliases[resource.physical_id] = Alias(int(properties["FunctionVersion"]))

    def update(self, resource: Resource, old: Resource) -> None:
        """Move callers over, some of them first if CodeDeploy does it so."""
        alias = self._account.aliases[resource.physical_id]
        version = int(resource.properties["FunctionVersion"])
        by_codedeploy = resource.update_policy.get("CodeDeployLambdaAliasUpdate", {})
        group = self._account.groups.get(by_codedeploy.get("DeploymentGroupName", ""), {})
        if "AllAtOnce" not in group.get("DeploymentConfigName", "AllAtOnce"):
            alarms = group.get("AlarmConfiguration", {}).get("Alarms", ())
            alias.canary = version
            try:
                self._account.watch([alarm["Name"] for alarm in alarms])
            finally:
                alias.canary = None
        alias.version = version

    def restore(self, resource: Resource, failed: Resource) -> None:
        alias = self._account.aliases[resource.physical_id]
        alias.version = int(resource.properties["FunctionVersion"])

    def delete(self, resource: Resource) -> None:
        del self._account.aliases[resource.physical_id]


def _extracted(archive: bytes, folder: Path) -> Package:
    machines = set()
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
        for name in files.namelist():
            if ".so" in Path(name).suffixes:
                with files.open(name) as library:
                    machines.add(machine_of(library.read(HEADER_BYTES)))
    return Package(folder, hashlib.sha256(archive).hexdigest(), frozenset(machines))


def payload_of(invocation: Invocation) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of Lambda's response."""
    headers = {"X-Amz-Function-Error": "Unhandled"} if invocation.function_error else {}
    return invocation.payload or json.dumps(None).encode(), headers
