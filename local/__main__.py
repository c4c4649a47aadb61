"""Runs the API on this machine, without Docker and without an AWS account.

python -m local run                     the API on 127.0.0.1:3000, with PostgreSQL and Valkey
python -m local invoke UsersFunction    one function, one event
python -m local migrate                 the database schema, to a revision
python -m local reset                   empties the built-in databases
python -m local demo-data               fake users and posts, up to millions
python -m local services                only PostgreSQL and Valkey
python -m local token --role author     a token of the local issuer
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from local.console import Console
from local.demo import data as demo_data
from local.errors import LocalError
from local.gateway.routing import RouteTable
from local.identity.settings import token_settings
from local.runtime.function import Function
from local.runtime.logs import LogLine, readable
from local.runtime.pool import WorkerPool
from local.services import Services, empty_services, running_services

if TYPE_CHECKING:
    from local.template import Template

MIGRATIONS = "MigrationsFunction"
DEFAULT_PORT = 3000
DEBUG_PORT = 5678
OVERRIDES = "an object that overrides the token's; null removes a member"
POLL_SECONDS = 0.1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asks the program to stop; unwinds every `with` block, as Ctrl-C does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 for an orderly end, 1 for an error, shown in one line."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed))
    except LocalError as error:
        Console(stream=sys.stderr).error(str(error))
        return 1
    except Stopped:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="DATABASE_URL and REDIS_URL, if set, are used instead of the built-in servers.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, text: str, run: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        template = Path("template.yaml")
        added.add_argument("--template", type=Path, default=template, help="default: ./%(default)s")
        added.set_defaults(command=run)
        return added

    run = command("run", "serve the API until Ctrl-C", _run)
    run.add_argument("--port", type=int, help="default: $PORT or 3000")
    run.add_argument("--verbose", action="store_true", help="show every log line unchanged")
    run.add_argument("--debug", metavar="FUNCTION", help="wait for a debugger in this function")
    run.add_argument("--debug-port", type=int, default=DEBUG_PORT, help="default: %(default)s")

    invoke = command("invoke", "run one function with one event", _invoke)
    invoke.add_argument("function", metavar="FUNCTION", help="logical id, such as UsersFunction")
    invoke.add_argument("--event", metavar="FILE", help="JSON file, - for stdin; default: {}")

    migrate = command("migrate", "migrate the database to a revision", _migrate)
    target = migrate.add_mutually_exclusive_group()
    target.add_argument("--revision", default="head", help="upgrade to it; default: head")
    target.add_argument("--down", metavar="REVISION", help="downgrade to it: base, -1, …")

    command("reset", "delete the data of the built-in databases", _reset)
    command("services", "run only PostgreSQL and Valkey", _services)
    demo_data.add_arguments(command("demo-data", "add fake users and posts", _demo_data))

    token = command("token", "print a token of the local issuer", _token)
    token.add_argument("--role", help="author or admin; default: a reader")
    token.add_argument("--subject", default="local-user", help="default: %(default)s")
    token.add_argument("--claims", type=_json_object, default={}, metavar="JSON", help=OVERRIDES)
    token.add_argument("--header", type=_json_object, default={}, metavar="JSON", help=OVERRIDES)
    token.add_argument("--port", type=int, help="the gateway's; default: $PORT or 3000")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from local.gateway.server import Api, Gateway
    from local.gateway.trust import trust
    from local.runtime.document import current_document

    console = Console(verbose=arguments.verbose)
    is_outdated = threading.Event()
    with contextlib.ExitStack() as stack:
        gateway = Gateway(_port(arguments.port))
        stack.callback(gateway.close)
        trusted = trust(_directory(arguments), gateway.port, os.environ)
        settings = token_settings(gateway.port, os.environ)
        template, _ = stack.enter_context(_project(arguments, settings, console))
        for notice in template.notices:
            console.notice(notice)
        pool = stack.enter_context(WorkerPool(console.log))
        _apply_migrations(template, pool, console)
        if name := arguments.debug:
            function = _function(template, name).debugged(arguments.debug_port)
            template = replace(template, functions=template.functions | {name: function})
            console.notice(f"{name} waits for a debugger on port {arguments.debug_port}")
        path = arguments.template.resolve()
        stack.enter_context(_watching(path, template, pool, console, is_outdated))
        api = Api(
            RouteTable(template.routes),
            template.functions,
            pool,
            console.exchange,
            trusted.authorizer,
            template.cors,
            trusted.documents,
            current_document(path.parent, template.functions.values(), console.notice),
        )
        gateway.serve(api)
        console.ready(
            f"http://127.0.0.1:{gateway.port}",
            has_docs="MetaFunction" in template.functions,
            notice=trusted.notice if api.routes.require_tokens else None,
        )
        try:
            _wait_for_signal(or_event=is_outdated)
        finally:
            console.step("Starting again" if is_outdated.is_set() else "Stopping")
    if is_outdated.is_set():
        sys.stdout.flush()
        os.execv(sys.executable, [*sys.orig_argv, "--port", str(gateway.port)])  # noqa: S606
    return 0


def _invoke(arguments: argparse.Namespace) -> int:
    def print_log(function: Function, line: LogLine) -> None:
        if not line.is_platform:
            print(readable(line.text), file=sys.stderr, flush=True)

    event = _read_event(arguments.event)
    # No gateway checks a token, as with `sam local invoke`.
    settings = {"AUTH": os.environ.get("AUTH") or "open"}
    with _project(arguments, settings) as (template, _), WorkerPool(print_log) as pool:
        function = _function(template, arguments.function)
        if MIGRATIONS in template.functions and arguments.function != MIGRATIONS:
            with WorkerPool(lambda *_: None) as migrating:
                _invoke_migrations(template, migrating, action="upgrade", revision="head")
        invocation = pool.invoke(function, event)
        invocation.wait_for_logs(0.5)
    print(invocation.payload.decode(), flush=True)
    if invocation.report:
        print(invocation.report, file=sys.stderr)
    return 1 if invocation.function_error else 0


def _migrate(arguments: argparse.Namespace) -> int:
    action = "downgrade" if arguments.down else "upgrade"
    revision = arguments.down or arguments.revision
    console = Console()
    with _project(arguments) as (template, _), WorkerPool(console.log) as pool:
        if MIGRATIONS not in template.functions:
            raise LocalError(f"{arguments.template} has no {MIGRATIONS}")
        result = _invoke_migrations(template, pool, action=action, revision=revision)
    console.step(f"{action} to {revision}: {json.dumps(result)}")
    return 0


def _reset(arguments: argparse.Namespace) -> int:
    if os.environ.get("DATABASE_URL"):
        raise LocalError("DATABASE_URL is set, and only the built-in database is emptied: unset it")
    empty_services(_directory(arguments))
    Console().step("The databases are empty; the next start creates the schema")
    return 0


def _services(arguments: argparse.Namespace) -> int:
    with _running_services(arguments) as services:
        print(f"DATABASE_URL={services.database_url}")
        print(f"REDIS_URL={services.redis_url}", flush=True)
        _wait_for_signal()
    return 0


def _demo_data(arguments: argparse.Namespace) -> int:
    console = Console()
    with _project(arguments) as (template, services):
        with WorkerPool(console.log) as pool:
            _apply_migrations(template, pool, console)
        return demo_data.run(arguments, services.database_url, services.redis_url)


def _token(arguments: argparse.Namespace) -> int:
    from local.gateway.trust import embedded_issuer

    port = _port(arguments.port)
    issuer = embedded_issuer(_directory(arguments), port, os.environ)
    header = issuer.header() | arguments.header
    claims = issuer.claims(arguments.role, arguments.subject) | arguments.claims
    print(issuer.sign(_without_nulls(header), _without_nulls(claims)))
    return 0


def _json_object(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    raise argparse.ArgumentTypeError(f"not a JSON object: {text}")


def _without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


@contextlib.contextmanager
def _project(
    arguments: argparse.Namespace,
    settings: Mapping[str, str] = MappingProxyType({}),
    console: Console | None = None,
) -> Iterator[tuple["Template", Services]]:
    """Run the services; yield the template and the services.

    Functions get the services' URLs and these settings, in the variables that they declare.
    """
    loading = _load_template(arguments.template.resolve())
    with _running_services(arguments, console) as services:
        if console:
            console.step(f"Reading {arguments.template}")
        environment = {
            "DATABASE_URL": services.database_url,
            "REDIS_URL": services.redis_url,
            "STAGE": "local",
            # Servers on a developer's machine have no certificates.
            "TLS_REQUIRED": os.environ.get("TLS_REQUIRED") or "false",
            # All requests come from one caller here, and the cache is not shared with deployments.
            **{
                name: os.environ.get(name, "")
                for name in ("READ_LIMIT", "WRITE_LIMIT", "CACHE_KEY_PREFIX")
            },
            **token_settings(DEFAULT_PORT, os.environ),
        }
        yield loading.result().with_environment({**environment, **settings}), services


def _load_template(path: Path) -> "Future[Template]":
    """Load it on a thread: SAM's imports take two seconds, in which the services start."""

    def load() -> "Template":
        from local.template import load_template

        return load_template(path)

    return ThreadPoolExecutor(1).submit(load)


@contextlib.contextmanager
def _running_services(
    arguments: argparse.Namespace, console: Console | None = None
) -> Iterator[Services]:
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if console:
        database = "DATABASE_URL" if database_url else "built in, data in .local"
        cache = "REDIS_URL" if redis_url else "built in"
        console.step(f"Starting PostgreSQL ({database}) and Valkey ({cache})")
    directory = _directory(arguments)
    with running_services(directory, database_url=database_url, redis_url=redis_url) as services:
        yield services


def _directory(arguments: argparse.Namespace) -> Path:
    """Return the folder with this checkout's databases and issuer's key."""
    path: Path = arguments.template
    return path.resolve().parent / ".local"


def _function(template: "Template", name: str) -> Function:
    if name not in template.functions:
        known = ", ".join(sorted(template.functions))
        raise LocalError(f"there is no function {name}; there are: {known}")
    return template.functions[name]


def _apply_migrations(template: "Template", pool: WorkerPool, console: Console) -> None:
    if MIGRATIONS not in template.functions:
        console.step(f"No {MIGRATIONS} in the template: the database stays unchanged")
        return
    console.step("Migrating the database")
    upgraded = _invoke_migrations(template, pool, action="upgrade", revision="head")
    for repaired in upgraded.get("repaired", ()):
        console.notice(f"{repaired} restored")
    _compare_schema(template, pool, console)


def _compare_schema(template: "Template", pool: WorkerPool, console: Console) -> None:
    """Print a notice if the database's revision is not the code's."""
    status = _invoke_migrations(template, pool, action="status")
    pool.retire([MIGRATIONS])
    revision, head = status.get("revision"), status.get("head")
    match status.get("state"):
        case "behind":
            console.notice(f"a migration is pending, from {revision} to {head}: make migrate")
        case "later":
            console.notice(
                f"the database is at revision {revision}, later than this code's {head}: check out "
                "the code that migrated it, or empty it: make reset"
            )


def _invoke_migrations(template: "Template", pool: WorkerPool, **event: str) -> dict[str, Any]:
    """Invoke the migrations, as a deployment does. Raises LocalError if the function fails."""
    invocation = pool.invoke(template.functions[MIGRATIONS], json.dumps(event).encode())
    try:
        result = json.loads(invocation.payload)
    except ValueError:
        result = {"errorMessage": invocation.payload.decode(errors="replace")}
    if invocation.function_error or not isinstance(result, dict):
        reason = result.get("errorMessage") if isinstance(result, dict) else result
        raise LocalError(f"the migrations failed: {invocation.function_error}: {reason}")
    return result


@contextlib.contextmanager
def _watching(
    path: Path,
    template: "Template",
    pool: WorkerPool,
    console: Console,
    is_outdated: threading.Event,
) -> Iterator[None]:
    """Print notices of changed files and pending migrations; set the event for a new template."""
    from local.runtime.watch import watching

    migrations = template.functions.get(MIGRATIONS)

    def on_change(changed: list[Path]) -> None:
        if path in changed:
            changed.remove(path)
            try:
                _load_template(path).result()
            except LocalError as error:
                console.notice(str(error))
            else:
                console.notice(f"{path.name} changed")
                is_outdated.set()
                return
        if not changed:
            return
        first = os.path.relpath(changed[0], path.parent)
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        console.notice(f"{first}{more} changed: the next request runs the new code")
        if migrations and any(file.is_relative_to(migrations.code[0]) for file in changed):
            try:
                _compare_schema(template, pool, console)
            except LocalError as error:
                console.notice(str(error))

    with watching(template.functions.values(), path, on_change):
        yield


def _port(argument: int | None) -> int:
    if argument is not None:
        return argument
    value = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not value.isdigit():
        raise LocalError(f"PORT must be a number, not {value!r}; try: PORT=3001 make run")
    return int(value)


def _read_event(name: str | None) -> bytes:
    if name is None:
        return b"{}"
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        json.loads(data)
    except OSError as error:
        raise LocalError(f"the event cannot be read: {name}: {error.strerror}") from None
    except ValueError as error:
        raise LocalError(f"the event {name} is not JSON: {error}") from None
    return data


def _wait_for_signal(or_event: threading.Event | None = None) -> None:
    """Wait until the program is to stop, or the event is set.

    Python drops an exception that a signal handler raises within a destructor or a callback of the
    garbage collector, so this also checks whether the handlers were replaced.
    """
    while signal.getsignal(SIGNALS[0]) is not signal.SIG_IGN:
        if or_event is not None and or_event.is_set():
            return
        time.sleep(POLL_SECONDS)


def _stop_on_signals() -> None:
    """Unwind the program at the first signal; ignore further signals while it stops."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped

    for each in SIGNALS:
        signal.signal(each, stop)


if __name__ == "__main__":
    _stop_on_signals()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a closed terminal
            stream.flush()
    os._exit(code)  # everything is closed; freeing SAM's modules would take half a second
