"""Read template.yaml with SAM CLI's own code: functions, their environment, routes.

The only module that imports samcli, which takes two seconds: import it late, or on a thread. SAM's
InvokeContext is not used, as it queries the account from AWS with the developer's own credentials,
nor is its gateway, which queues telemetry for every request.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ["SAM_CLI_TELEMETRY"] = "0"  # before the imports, which read it

from click import ClickException
from samcli.commands.validate.lib.exceptions import InvalidSamDocumentException
from samcli.lib.providers.provider import Function as SamFunction
from samcli.lib.providers.provider import Stack
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.local.lambdafn.env_vars import EnvironmentVariables

from local.errors import LocalError
from local.gateway.cors import Cors
from local.gateway.routing import ANY_METHODS, Route
from local.runtime.function import Function

HTTP_API = "AWS::Serverless::HttpApi"
IMPLICIT_API = "ServerlessHttpApi"
NO_AUTHORIZER = "NONE"
ANY_METHOD = "x-amazon-apigateway-any-method"
DEFAULT_MEMORY_MEGABYTES = 128
DEFAULT_TIMEOUT_SECONDS = 3


@dataclass(frozen=True)
class Template:
    """Functions by logical id, and the routes of the HTTP API.

    `cors` is None without CORS. `notices` name properties that have no effect locally.
    """

    functions: dict[str, Function]
    routes: tuple[Route, ...]
    notices: tuple[str, ...]
    cors: Cors | None = None

    def with_environment(self, values: Mapping[str, str]) -> "Template":
        """Set these variables in the functions that declare them."""
        functions = {
            name: replace(
                function,
                environment=function.environment
                | {key: value for key, value in values.items() if key in function.environment},
            )
            for name, function in self.functions.items()
        }
        return replace(self, functions=functions)


def load_template(path: Path) -> Template:
    """Read and resolve the template; variables of the developer's shell override declared ones.

    Raises LocalError if the file is missing, does not parse or has no functions.
    """
    if not path.is_file():
        raise LocalError(f"there is no template {path}")
    cors_origins = os.environ.get("CORS_ORIGINS", "")
    try:
        stacks, _ = SamLocalStackProvider.get_stacks(
            str(path),
            # With a given database, the conditions of the stack's own, such as IAM, are not met.
            parameter_overrides={
                "DatabaseUrl": "postgresql://localhost",
                "CorsOrigins": cors_origins,
            },
            language_extensions_enabled=False,
        )
        provided = SamFunctionProvider(stacks).get_all()
        # Functions of nested stacks are for the deployment only.
        sam_functions = [function for function in provided if not function.stack_path]
    except (ClickException, InvalidSamDocumentException, ValueError) as error:
        raise LocalError(f"{path.name} does not parse: {_one_line(error)}") from error
    if not sam_functions:
        raise LocalError(f"{path.name} has no functions")
    functions = {function.name: _function(function, path.parent) for function in sam_functions}
    apis = {name: api for stack in stacks for name, api in _resources(stack, HTTP_API)}
    routes = [route for stack in stacks for route in _routes(stack, apis)]
    return Template(
        functions,
        tuple(routes),
        tuple(_notices(apis)),
        _cors(apis, cors_origins),
    )


def _function(function: SamFunction, directory: Path) -> Function:
    if function.packagetype != "Zip" or function.inlinecode or not function.codeuri:
        raise LocalError(f"{function.name}: only functions with a CodeUri run locally")
    code = (directory / function.codeuri).resolve()
    # A layer without code has third-party packages, which the virtualenv has too.
    folders = [(directory / layer.codeuri).resolve() for layer in function.layers if layer.codeuri]
    layers = [folder for folder in folders if any(folder.glob("*/*.py"))]
    return Function(
        name=function.name,
        handler=function.handler,
        runtime=function.runtime or "python3.13",
        timeout_seconds=int(function.timeout or DEFAULT_TIMEOUT_SECONDS),
        environment=_environment(function),
        import_roots=(_import_root(code, function.handler), *layers),
        code=(code, *layers),
    )


def _import_root(code: Path, handler: str) -> Path:
    """`users.handler.handler` in functions/users is imported from functions."""
    return code.parent if handler.partition(".")[0] == code.name else code


def _environment(function: SamFunction) -> dict[str, str]:
    """Return the environment that SAM resolves, with its fake credentials."""
    variables = (function.environment or {}).get("Variables", {})
    resolved: dict[str, str] = EnvironmentVariables(
        function.name,
        function.memory or DEFAULT_MEMORY_MEGABYTES,
        function.timeout or DEFAULT_TIMEOUT_SECONDS,
        function.handler,
        function.logging_config,
        variables=variables,
        shell_env_values=os.environ,
    ).resolve()
    return resolved


def _routes(stack: Stack, apis: dict[str, Any]) -> Iterator[Route]:
    """Yield routes from the functions' events: SAM's reader merges them without authorizers."""
    for name, function in _resources(stack, "AWS::Serverless::Function"):
        for event in (function.get("Events") or {}).values():
            if event["Type"] == "HttpApi":
                properties = event.get("Properties") or {}
                path = properties.get("Path") or "$default"
                method = str(properties.get("Method") or ANY_METHOD).lower()
                is_any = method in ("any", ANY_METHOD)
                yield Route(
                    path,
                    ANY_METHODS if is_any else frozenset({method.upper()}),
                    name,
                    _requires_token(properties, apis, method),
                )


def _requires_token(event: dict[str, Any], apis: dict[str, Any], method: str) -> bool:
    """Whether the event's route has a JWT authorizer: its own or, except OPTIONS, the default."""
    auth = apis.get(event.get("ApiId") or IMPLICIT_API, {}).get("Auth") or {}
    default = None if method == "options" else auth.get("DefaultAuthorizer")
    authorizer = _member(event, "Auth").get("Authorizer") or default
    return "JwtConfiguration" in _member(auth, "Authorizers", authorizer or NO_AUTHORIZER)


def _member(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an object within objects, an empty one if there is none."""
    for name in names:
        value = value.get(name) or {}
    return value


def _cors(apis: dict[str, Any], origins: str) -> Cors | None:
    """Return an API's CORS; under a condition, for these origins, separated by commas.

    SAM's reader does not resolve an `Fn::If` with AWS::NoValue.
    """
    for api in apis.values():
        match api.get("CorsConfiguration"):
            case {"Fn::If": [_, dict(configuration), _]} if origins:
                given = {**configuration, "AllowOrigins": origins.split(",")}
                return Cors.from_configuration(given)
            case {"AllowOrigins": list()} as configuration:
                return Cors.from_configuration(configuration)
    return None


def _notices(apis: dict[str, Any]) -> Iterator[str]:
    for name, api in apis.items():
        for authorizer, properties in (api.get("Auth", {}).get("Authorizers") or {}).items():
            if "JwtConfiguration" not in properties:
                yield f"{name}: the authorizer {authorizer} has no effect locally"
            elif "AuthorizationScopes" in properties:
                yield f"{name}: the scopes of {authorizer} have no effect locally"


def _resources(stack: Stack, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in stack.resources.items():
        if resource.get("Type") == kind:
            yield name, resource.get("Properties") or {}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).removeprefix("Failed to parse template: ").split())
