"""Runs the API on this machine, without Docker and without an AWS account.

python -m local run                     the API on 127.0.0.1:3000, with PostgreSQL and Valkey
python -m local invoke UsersFunction    one function, one event
python -m local migrate                 the database schema, to a revision
python -m local demo-data               fake users and posts, up to millions
python -m local services                PostgreSQL and Valkey alone
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from local.console import Console
from local.demo import data as demo_data
from local.errors import LocalError
from local.gateway.routing import RouteTable
from local.runtime.function import Function
from local.runtime.logs import LogLine
from local.runtime.pool import WorkerPool
from local.runtime.worker import emulator_path
from local.services import Services, running_services

if TYPE_CHECKING:
    from local.template import Template

MIGRATIONS = "MigrationsFunction"
DEFAULT_PORT = 3000
DEBUG_PORT = 5678


class Ended(KeyboardInterrupt):
    """A signal asks the program to end; unwinds every `with` block, as Ctrl-C would."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 for an orderly end, 1 for an error, shown in one line."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed))
    except LocalError as error:
        Console(stream=sys.stderr).error(str(error))
        return 1
    except Ended:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="DATABASE_URL and REDIS_URL, if set, are used instead of the built-in servers.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", "serve the API until Ctrl-C", _run)
    run.add_argument("--port", type=int, help="default: $PORT or 3000")
    run.add_argument("--verbose", action="store_true", help="every log line, as it is")

    run.add_argument("--debug", metavar="FUNCTION", help="wait for a debugger in this function")
    run.add_argument("--debug-port", type=int, default=DEBUG_PORT, help="default: %(default)s")

    invoke = _command(commands, "invoke", "run one function with one event", _invoke)
    invoke.add_argument("function", metavar="FUNCTION", help="logical id, such as UsersFunction")
    invoke.add_argument("--event", metavar="FILE", help="JSON file, - for stdin; default: {}")

    migrate = _command(commands, "migrate", "bring the database schema to a revision", _migrate)
    target = migrate.add_mutually_exclusive_group()
    target.add_argument("--revision", default="head", help="upgrade to it; default: head")
    target.add_argument("--down", metavar="REVISION", help="downgrade to it: base, -1, …")

    _command(commands, "services", "run PostgreSQL and Valkey alone", _services)

    demo = _command(commands, "demo-data", "fill the database with users and posts", _demo_data)
    demo_data.add_arguments(demo)
    return parser


def _command(
    commands: Any, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--template", type=Path, default=Path("template.yaml"), help="default: ./template.yaml"
    )
    parser.set_defaults(command=function)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from local.gateway.server import Api, Gateway

    console = Console(verbose=arguments.verbose)
    emulator_path()
    with contextlib.ExitStack() as stack:
        gateway = Gateway(_port(arguments.port))
        stack.callback(gateway.close)
        loading = _LoadingTemplate(arguments.template)
        services = stack.enter_context(_own_or_given_services(arguments, console))
        console.step(f"Reading {arguments.template}")
        template = _with_services(loading.result(), services)
        for notice in template.notices:
            console.notice(notice)
        pool = stack.enter_context(WorkerPool(console.log))
        _apply_migrations(template, pool, console)
        if arguments.debug:
            template = _with_debugger(template, arguments.debug, arguments.debug_port)
            console.notice(f"{arguments.debug} waits for a debugger on port {arguments.debug_port}")
        stack.enter_context(_watching(arguments.template, template, pool, console))
        gateway.serve(Api(RouteTable(template.routes), template.functions, pool, console.exchange))
        console.ready(f"http://127.0.0.1:{gateway.port}", "MetaFunction" in template.functions)
        try:
            threading.Event().wait()
        finally:
            console.step("Ending")
    return 0


def _invoke(arguments: argparse.Namespace) -> int:
    emulator_path()
    event = _read_event(arguments.event)
    template = _LoadingTemplate(arguments.template).result()
    _function(template, arguments.function)
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(_own_or_given_services(arguments))
        function = _function(_with_services(template, services), arguments.function)
        pool = stack.enter_context(WorkerPool(_print_log))
        invocation = pool.invoke(function, event)
        invocation.wait_for_logs(0.5)
    print(invocation.payload.decode(), flush=True)
    if invocation.report:
        print(invocation.report, file=sys.stderr)
    return 1 if invocation.function_error else 0


def _migrate(arguments: argparse.Namespace) -> int:
    emulator_path()
    action = "downgrade" if arguments.down else "upgrade"
    revision = arguments.down or arguments.revision
    loading = _LoadingTemplate(arguments.template)
    console = Console()
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(_own_or_given_services(arguments))
        template = _with_services(loading.result(), services)
        if MIGRATIONS not in template.functions:
            raise LocalError(f"{arguments.template} has no {MIGRATIONS}")
        pool = stack.enter_context(WorkerPool(console.log))
        result = _invoke_migrations(template, pool, action, revision)
    console.step(f"{action} to {revision}: {json.dumps(result)}")
    return 0


def _services(arguments: argparse.Namespace) -> int:
    with _own_or_given_services(arguments) as services:
        print(f"DATABASE_URL={services.database_url}")
        print(f"REDIS_URL={services.redis_url}", flush=True)
        threading.Event().wait()
    return 0


def _demo_data(arguments: argparse.Namespace) -> int:
    loading = _LoadingTemplate(arguments.template)
    console = Console()
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(_own_or_given_services(arguments))
        template = _with_services(loading.result(), services)
        with WorkerPool(console.log) as pool:
            _apply_migrations(template, pool, console)
        return demo_data.run(arguments, services.database_url, services.redis_url)


class _LoadingTemplate:
    """Reads the template on a thread: SAM's imports take two seconds, the services start then."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._outcome: Template | Exception | None = None
        self._thread = threading.Thread(target=self._load, daemon=True)
        self._thread.start()

    def result(self) -> "Template":
        """Waits for it. Raises what reading it raised."""
        self._thread.join()
        assert self._outcome is not None
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def _load(self) -> None:
        try:
            from local.template import load_template

            self._outcome = load_template(self._path)
        except Exception as error:  # noqa: BLE001 - raised again by result()
            self._outcome = error


@contextlib.contextmanager
def _own_or_given_services(
    arguments: argparse.Namespace, console: Console | None = None
) -> Iterator[Services]:
    given = {name: os.environ.get(name) or None for name in ("DATABASE_URL", "REDIS_URL")}
    if console:
        database = "DATABASE_URL" if given["DATABASE_URL"] else "built in, data in .local"
        cache = "REDIS_URL" if given["REDIS_URL"] else "built in"
        console.step(f"Starting PostgreSQL ({database}) and Valkey ({cache})")
    directory = arguments.template.resolve().parent / ".local"
    with running_services(
        directory, database_url=given["DATABASE_URL"], redis_url=given["REDIS_URL"]
    ) as services:
        yield services


def _with_services(template: "Template", services: Services) -> "Template":
    return template.with_environment(
        {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
    )


def _with_debugger(template: "Template", name: str, port: int) -> "Template":
    function = _function(template, name).debugged(port)
    return replace(template, functions=template.functions | {name: function})


def _function(template: "Template", name: str) -> Function:
    if name not in template.functions:
        known = ", ".join(sorted(template.functions))
        raise LocalError(f"there is no function {name}; there are: {known}")
    return template.functions[name]


def _apply_migrations(template: "Template", pool: WorkerPool, console: Console) -> None:
    if MIGRATIONS not in template.functions:
        console.step(f"No {MIGRATIONS} in the template: the database stays as it is")
        return
    console.step("Bringing the database schema up to date")
    for repaired in _invoke_migrations(template, pool, "upgrade", "head").get("repaired", ()):
        console.notice(f"{repaired} restored")


def _invoke_migrations(
    template: "Template", pool: WorkerPool, action: str, revision: str
) -> dict[str, Any]:
    """As a deployment does it. Raises LocalError when the function fails."""
    event = json.dumps({"action": action, "revision": revision}).encode()
    invocation = pool.invoke(template.functions[MIGRATIONS], event)
    pool.retire([MIGRATIONS])
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
    path: Path, template: "Template", pool: WorkerPool, console: Console
) -> Iterator[None]:
    from local.runtime.watch import Watcher

    directory = path.resolve().parent

    def on_code(changed: set[Path]) -> None:
        names = [f.name for f in template.functions.values() if _concerns(f, changed)]
        if not names:
            return
        pool.retire(names)
        first = min(changed)
        shown = first.relative_to(directory) if first.is_relative_to(directory) else first
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        console.notice(f"{shown}{more} changed: new code from the next request on")

    def on_template() -> None:
        console.notice(f"{path.name} changed: end and start again to use it")

    roots = {root for function in template.functions.values() for root in function.import_roots}
    watcher = Watcher(roots, path.resolve(), on_code, on_template)
    watcher.start()
    try:
        yield
    finally:
        watcher.close()


def _concerns(function: Function, changed: set[Path]) -> bool:
    return any(path.is_relative_to(code) for path in changed for code in function.code)


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
        raise LocalError(f"the event {name} is no JSON: {error}") from None
    return data


def _print_log(function: Function, line: LogLine) -> None:
    if not line.is_platform:
        print(line.text, file=sys.stderr, flush=True)


def _end_on_signals() -> None:
    """SIGINT, SIGTERM and SIGHUP unwind the program once; more of them while it ends do nothing."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Ended

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)


if __name__ == "__main__":
    _end_on_signals()
    sys.exit(main())
