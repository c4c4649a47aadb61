"""An operator, who builds and deploys a checkout, and calls its API.

The API is served by the local gateway by the routes and authorizers that were deployed. Tokens are
signed by a key of this machine in the name of the deployed user pool.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
from joserfc.jwk import RSAKey
from samcli.lib.config.samconfig import SamConfig

from local.gateway.authorizer import JwtAuthorizer
from local.gateway.routing import ANY_METHODS, Route, RouteTable
from local.gateway.server import Api, Exchange, Gateway
from local.identity.issuer import Issuer, checkout_key
from tests.rehearsal.aws import Aws
from tests.rehearsal.resources import Resource, ResourceFailed, StackState
from tests.resources import RESOURCES, ROOT
from tests.template.stacks import REGION, requires_token

PATHS = ["/health", *(f"/{name}" for name in RESOURCES)]
WATCHED_REQUESTS = 120
"""Requests that are sent while a deployment is watched."""
SHARED = (".venv", ".tools")
DEPLOYED = ("template.yaml", "samconfig.toml", "pyproject.toml", "uv.lock")
FOLDERS = ("functions", "layers", "infrastructure")


class DeploymentFailed(Exception):
    """`sam` ended with an error; the message is the reason, `printed` is what it printed."""

    def __init__(self, reason: str, printed: str) -> None:
        super().__init__(reason or printed)
        self.printed = printed


class Operator:
    """A checkout, and one stage of samconfig.toml to which it is deployed."""

    def __init__(self, aws: Aws, directory: Path, stage: str) -> None:
        self.aws = aws
        self.stage = stage
        self.checkout = directory / "checkout"
        self.stack_name = f"users-and-posts-{stage}"
        self.base_url = ""
        self._key = checkout_key(directory)
        self._statuses: list[int] = []
        self.checkout.mkdir()
        for name in SHARED:
            (self.checkout / name).symlink_to(ROOT / name)
        for name in DEPLOYED:
            shutil.copy(ROOT / name, self.checkout)
        for name in FOLDERS:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.checkout / name, ignore=ignored)

    @property
    def state(self) -> StackState:
        return self.aws.cloudformation.stacks[self.stack_name]

    def deploy(self, **parameters: str) -> str:
        """Run the commands of docs/deployment.md; return what they print.

        Parameters that neither are given nor stand in samconfig.toml stay as they were. Raises
        DeploymentFailed.
        """
        # Cached by the template too, as SAM's cache does not see that the layer depends on it.
        template = (self.checkout / "template.yaml").read_bytes()
        cache = f".aws-sam/cache-{hashlib.sha256(template).hexdigest()[:16]}"
        build = documented("sam build", self.stage)
        self._sam(*build, "--cached", "--cache-dir", cache, "--parallel")
        return self.deploy_built(**parameters)

    def deploy_built(self, **parameters: str) -> str:
        """Deploy what was built last."""
        given = [f"{name}={value}" for name, value in parameters.items()]
        overrides = ["--parameter-overrides", *self._own_parameters(), *given] if given else []
        return self._sam(*documented("sam deploy", self.stage), *overrides)

    def _own_parameters(self) -> list[str]:
        """Return those of samconfig.toml, which others on the command line would replace."""
        section = SamConfig(self.checkout).get_all(["deploy"], "parameters", config_env(self.stage))
        return str(section["parameter_overrides"]).split()

    def _sam(self, *arguments: str) -> str:
        """Run a command of SAM's, and say yes to what it asks; return what it prints."""
        events = len(self.aws.cloudformation.events)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.2",
            **self._credentials(),
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("sam")), *arguments],
            cwd=self.checkout,
            env=environment,
            input="y\n" * 8,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        if done.returncode:
            happened = self.aws.cloudformation.events[events:]
            reasons = (event.reason for event in happened if event.reason)
            raise DeploymentFailed("\n".join(reasons), printed)
        return printed

    def _credentials(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

    def parameters(self) -> dict[str, str]:
        """Return those of the stack as it is."""
        client = boto3.client(
            "cloudformation",
            endpoint_url=self.aws.endpoint_url,
            region_name=REGION,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        [stack] = client.describe_stacks(StackName=self.stack_name)["Stacks"]
        return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}

    def make(self, target: str) -> str:
        """Run a target of the Makefile against the stack or its API; return what it prints."""
        done = subprocess.run(
            ["make", target],
            cwd=ROOT,
            env=os.environ
            | self._credentials()
            | {
                "STAGE": self.stage,
                "BASE_URL": self.base_url,
                "ADMIN_TOKEN": self.token("admin"),
                "READER_TOKEN": self.token("reader"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DeploymentFailed("", done.stdout + done.stderr)
        return done.stdout

    def remove(self) -> str:
        """Run the `sam delete` of docs/deployment.md. Raises DeploymentFailed."""
        return self._sam(*documented("sam delete", self.stage))

    def end_protection(self) -> None:
        """Do what the command of docs/deployment.md does before that."""
        for _, resource in self.state.all():
            if resource.type == "AWS::RDS::DBCluster":
                resource.is_protected = False

    def versions(self) -> dict[str, int]:
        """Return the version that callers get, by function."""
        aliases = self.aws.functions.aliases
        return {
            name.removesuffix("Aliaslive"): aliases[resource.physical_id].version
            for name, resource in self.state.resources.items()
            if resource.type == "AWS::Lambda::Alias"
        }

    def kept_versions(self, function: str) -> list[int]:
        """Return the numbers of the published versions that are still there."""
        name = self.state.resources[function].physical_id
        return list(self.aws.functions.functions[name].versions)

    def environment(self, function: str) -> dict[str, str]:
        """Return the variables of the version that callers get, as the template sets them."""
        name = self.state.resources[function].physical_id
        configuration = self.aws.functions.functions[name].versions[self.versions()[function]]
        variables: dict[str, str] = configuration["Environment"]["Variables"]
        return variables

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the deployed API at `base_url`, and watch later deployments by it."""
        functions = self.aws.functions
        with ExitStack() as stack:
            gateway = Gateway(0)
            stack.callback(gateway.close)
            body = self._one("AWS::ApiGatewayV2::Api").properties["Body"]
            issuer = self._issuer(self._key)
            authorizer = JwtAuthorizer(issuer.url, [issuer.audience], issuer)
            api = Api(
                RouteTable(routes_of(body)), functions, functions.pool, self._seen, authorizer
            )
            gateway.serve(api)
            self.base_url = f"http://127.0.0.1:{gateway.port}"
            functions.watch = self._watch
            yield

    def _seen(self, exchange: Exchange) -> None:
        self._statuses.append(exchange.status)

    def _one(self, resource_type: str) -> Resource:
        [found] = [r for r in self.state.resources.values() if r.type == resource_type]
        return found

    def _issuer(self, key: RSAKey) -> Issuer:
        """Return the deployed user pool, with a key of this machine."""
        variables = self.environment("MetaFunction")
        return Issuer(
            variables["TOKEN_ISSUER"],
            key,
            audience=variables["TOKEN_AUDIENCE"].split()[0],
            roles_claim=variables["ROLES_CLAIM"],
            role_prefix=variables["ROLE_PREFIX"],
        )

    def token(self, role: str, subject: str | None = None) -> str:
        """Return a token as Cognito makes them: with a client instead of an audience."""
        issuer = self._issuer(self._key)
        claims = issuer.claims(role, subject=subject or uuid.uuid4().hex)
        claims["client_id"] = claims.pop("aud")
        return issuer.sign(issuer.header(), claims)

    def client(self, role: str = "admin") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(role)}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60)

    def _watch(self, watched: Collection[str]) -> None:
        """Send what callers send; raise ResourceFailed if one of these alarms fires."""
        self.aws.functions.lines.clear()
        self._statuses.clear()
        with self.client("reader") as callers:
            for number in range(WATCHED_REQUESTS):
                callers.get(PATHS[number % len(PATHS)])
        for alarm, value in {"Faults": self._faults(), "ServerErrors": self._errors()}.items():
            made = self._alarm(alarm)
            threshold = made.properties["Threshold"]
            if made.physical_id in watched and value > threshold:
                raise ResourceFailed(
                    f"The deployment was stopped: the alarm {alarm} is at {value:.3f}, "
                    f"above {threshold}"
                )

    def _alarm(self, name: str) -> Resource:
        nested = self.state.resources["Alarms"].nested
        assert nested
        return nested.resources[name]

    def _faults(self) -> float:
        """The average of the metric Fault, as the alarm's query has it."""
        values = [line["Fault"] for line in self.aws.functions.lines if "Fault" in line]
        return sum(values) / len(values) if values else 0.0

    def _errors(self) -> float:
        """The alarm's expression over the access log."""
        errors = sum(status >= 500 for status in self._statuses)
        return errors / len(self._statuses) if errors >= 3 else 0.0


def config_env(stage: str) -> str:
    """Return the name that samconfig.toml has for a stage."""
    return "default" if stage == "dev" else stage


def documented(command: str, stage: str) -> list[str]:
    """Return the arguments with which docs/deployment.md runs a command for the stage staging, for
    another stage.
    """
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    found = re.search(rf"\.venv/bin/({command} .*?)( && |\n)", text)
    assert found
    words = found[1].replace("--config-env staging", f"--config-env {config_env(stage)}")
    return shlex.split(words.replace("-staging", f"-{stage}"))[1:]


def routes_of(body: dict[str, Any]) -> Iterator[Route]:
    """Read the routes of an API from its OpenAPI document."""
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            uri: str = operation["x-amazon-apigateway-integration"]["uri"]
            is_any = method == "x-amazon-apigateway-any-method"
            yield Route(
                path.removeprefix("/") if path == "/$default" else path,
                ANY_METHODS if is_any else frozenset({method.upper()}),
                uri.partition("/functions/")[2].removesuffix("/invocations"),
                requires_token(body, operation),
            )
