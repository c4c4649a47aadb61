"""Reads template.yaml with SAM CLI's own code: functions, their environment, routes.

The only module that imports samcli (two seconds of imports: import it late, or on a thread). SAM's
InvokeContext is not used, since it asks AWS for the account with the developer's own credentials;
nor is its gateway, which queues telemetry for every request.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

os.environ["SAM_CLI_TELEMETRY"] = "0"  # before the imports, which read it

from click import ClickException
from samcli.commands.validate.lib.exceptions import InvalidSamDocumentException
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.provider import Function as SamFunction
from samcli.lib.providers.provider import Stack
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.local.lambdafn.env_vars import EnvironmentVariables

from local.errors import LocalError
from local.gateway.routing import Route
from local.runtime.function import Function

DEFAULT_MEMORY_MEGABYTES = 128
DEFAULT_TIMEOUT_SECONDS = 3


@dataclass(frozen=True)
class Template:
    """Functions by logical id, and the routes of the HTTP API.

    `notices` name what the template asks for and the local gateway does not do.
    """

    functions: dict[str, Function]
    routes: tuple[Route, ...]
    notices: tuple[str, ...]

    def with_environment(self, values: Mapping[str, str]) -> "Template":
        """Set these variables in every function that declares them, and in no other."""
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

    Raises LocalError when the file is missing, does not parse or has no functions.
    """
    if not path.is_file():
        raise LocalError(f"there is no template {path}")
    try:
        stacks, _ = SamLocalStackProvider.get_stacks(str(path), language_extensions_enabled=False)
        sam_functions = list(SamFunctionProvider(stacks).get_all())
        api = ApiProvider(stacks, cwd=str(path.parent), disable_authorizer=True).api
    except (ClickException, InvalidSamDocumentException, ValueError) as error:
        raise LocalError(f"{path.name} does not parse: {_one_line(error)}") from error
    if not sam_functions:
        raise LocalError(f"{path.name} has no functions")
    functions = {function.name: _function(function, path.parent) for function in sam_functions}
    routes = tuple(
        Route(route.path, frozenset(route.methods), route.function_name) for route in api.routes
    )
    return Template(functions, routes, _notices(stacks, api.cors is not None))


def _function(function: SamFunction, directory: Path) -> Function:
    if function.packagetype != "Zip" or function.inlinecode or not function.codeuri:
        raise LocalError(f"{function.name}: only functions with a CodeUri run locally")
    code = (directory / function.codeuri).resolve()
    # A layer without code of its own has third-party packages, which the virtualenv has too.
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
    """As SAM resolves it, with SAM's fake credentials instead of the developer's own."""
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


def _notices(stacks: list[Stack], has_cors: bool) -> tuple[str, ...]:
    notices = ["CorsConfiguration has no effect locally"] if has_cors else []
    for stack in stacks:
        for name, resource in stack.resources.items():
            if resource.get("Type") == "AWS::Serverless::HttpApi" and "Auth" in resource.get(
                "Properties", {}
            ):
                notices.append(f"{name}: authorizers have no effect locally")
    return tuple(notices)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).removeprefix("Failed to parse template: ").split())
