"""A replacement of AWS's Python runtime client, for machines on which it does not run.

    python -m lambda_loop HANDLER DESCRIPTOR

The descriptor is a socket. An event is a line `REQUEST_ID DEADLINE_MILLISECONDS SIZE` and SIZE
bytes; a reply is a line `KIND SIZE` and SIZE bytes: an empty `init` before the first response,
`response` or `error` to each event, and `init_error` at the end.

Functions and their logs are the same as with awslambdaric; `tests/local/test_workers.py` compares
the two. This folder is last on the function's PYTHONPATH: keep everything else out of it.
"""

import decimal
import importlib
import logging
import math
import os
import sys
import time
import traceback
from types import SimpleNamespace
from typing import Any, NoReturn

import simplejson as json
from lambda_development import install
from simplejson.raw_json import RawJSON

ARN = "arn:aws:lambda:us-east-1:012345678912:function:"  # the emulator's
TIME = "%Y-%m-%dT%H:%M:%S"
LOGS_JSON = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
RECORD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime"}


class Fault(Exception):
    """An error of the runtime, with its type in Lambda."""

    def __init__(self, kind: str, message: str, stack: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = f"Runtime.{kind}"
        self.stack = stack or []


class Context:
    """The second argument of a handler."""

    client_context = None
    tenant_id = None

    def __init__(self, request_id: str, deadline_milliseconds: int) -> None:
        self.aws_request_id = request_id
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.invoked_function_arn = ARN + self.function_name
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self._deadline_milliseconds = deadline_milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_milliseconds - int(time.time() * 1000))

    def log(self, message: object) -> None:
        sys.stdout.write(str(message))


class Platform:
    """The worker at the other end of the socket."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._events = os.fdopen(descriptor, "rb")
        self._replies = os.fdopen(os.dup(descriptor), "wb")

    def receive(self) -> tuple[str, int, bytes]:
        """Return the id, the deadline and the event. Exits if the socket is closed."""
        head = self._events.readline().decode()
        if not head:
            sys.exit()
        request_id, deadline_milliseconds, size = head.split()
        return request_id, int(deadline_milliseconds), self._events.read(int(size))

    def send(self, kind: str, payload: bytes = b"") -> None:
        self._replies.write(b"%b %d\n%b" % (kind.encode(), len(payload), payload))
        self._replies.flush()


class LogFormatter(logging.Formatter):
    """Formats a record as Lambda does, in JSON or as text."""

    request_id = ""

    def __init__(self) -> None:
        super().__init__(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", TIME
        )

    def format(self, record: logging.LogRecord) -> str:
        if not LOGS_JSON:
            record.aws_request_id = self.request_id
            return super().format(record)
        is_object = isinstance(record.msg, dict) and not record.args
        fields: dict[str, Any] = {
            "timestamp": self.formatTime(record, TIME + "Z"),
            "level": record.levelname,
            "message": record.msg if is_object else record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0]:
            fields["stackTrace"] = traceback.format_tb(record.exc_info[2])
            fields["errorType"] = record.exc_info[0].__name__
            fields["errorMessage"] = str(record.exc_info[1])
        fields["requestId"] = self.request_id
        if record.exc_info:
            fields["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        extra = {key: value for key, value in vars(record).items() if key not in RECORD_ATTRIBUTES}
        present = {key: value for key, value in (extra | fields).items() if value is not None}
        return str(json.dumps(present, ensure_ascii=False, default=str))


def main(handler_name: str, descriptor: int) -> NoReturn:
    """Initialize with the first event, and respond to one event after another."""
    os.environ.pop("PYTHONUNBUFFERED", None)
    platform = Platform(descriptor)
    logging.Formatter.converter = time.gmtime
    formatter = LogFormatter()
    logs = logging.StreamHandler(sys.stdout)
    logs.setFormatter(formatter)
    logging.getLogger().addHandler(logs)
    request = platform.receive()
    try:
        handler = _handler(handler_name)
    except Exception as error:  # noqa: BLE001 - whatever the function raises
        platform.send("init_error", _logged(error))
        sys.exit(1)
    platform.send("init")
    while True:
        formatter.request_id, deadline_milliseconds, event = request
        context = Context(formatter.request_id, deadline_milliseconds)
        try:
            kind, payload = "response", _payload(handler(_parsed(event), context))
        except Exception as error:  # noqa: BLE001
            kind, payload = "error", _logged(error, context.aws_request_id)
        platform.send(kind, payload if isinstance(payload, bytes) else payload.encode())
        request = platform.receive()


def _handler(name: str) -> Any:
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise Fault("ImportModuleError", message) from error
    except SyntaxError as error:
        stack = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        message = f"Syntax error in module '{module_name}': {error}"
        raise Fault("UserCodeSyntaxError", message, stack) from error
    try:
        return getattr(module, function_name)
    except AttributeError as error:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault("HandlerNotFound", message) from error


def _parsed(event: bytes) -> Any:
    try:
        return json.loads(event)
    except Exception as error:
        raise Fault("UnmarshalError", f"Unable to unmarshal input: {error}") from error


def _payload(response: Any) -> str | bytes:
    if isinstance(response, bytes):
        return response
    try:
        return _json(response)
    except Exception as error:
        raise Fault("MarshalError", f"Unable to marshal response: {error}") from error


def _json(value: Any) -> str:
    text: str = json.dumps(
        value, use_decimal=False, ensure_ascii=False, allow_nan=True, default=_raw
    )
    return text


def _raw(value: Any) -> Any:
    if not isinstance(value, decimal.Decimal):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return math.nan if value.is_nan() else RawJSON(str(value))


def _logged(error: Exception, request_id: str = "") -> bytes:
    """Write the error into the log; return Lambda's description of it."""
    if isinstance(error, Fault):
        kind, stack = error.kind, error.stack
    else:
        frames = traceback.extract_tb(error.__traceback__)
        while frames and frames[0].filename == __file__:
            del frames[0]
        kind, stack = type(error).__name__, traceback.format_list(map(tuple, frames))
    described = {
        "errorMessage": str(error),
        "errorType": kind,
        "requestId": request_id,
        "stackTrace": stack,
    }
    if LOGS_JSON:
        timestamp = time.strftime(TIME + "Z", time.gmtime())
        print(_json({"timestamp": timestamp, "level": "ERROR", **described}))
    else:
        head = f"[ERROR] {kind}: {error}" if str(error) else f"[ERROR] {kind}"
        lines = [line for part in stack for line in part.splitlines()]
        print("\r".join([head, "Traceback (most recent call last):", *lines]))
    return _json(described).encode()


if __name__ == "__main__":
    install()
    main(sys.argv[1], int(sys.argv[2]))
