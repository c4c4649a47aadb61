"""Toy functions in a directory of their own, and a program that serves them."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from local.runtime.function import Function

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.13, Timeout: 3, MemorySize: 128}
Resources:
  Api: {Type: AWS::Serverless::HttpApi}
  Libraries:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: python3.13}
    Properties: {ContentUri: layers/shared}
  Dependencies:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile}
    Properties: {ContentUri: layers/dependencies}
  ToyFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/toy
      Handler: toy.handler.handler
      Layers: [!Ref Libraries, !Ref Dependencies]
      Environment:
        Variables:
          {DATABASE_URL: template, REDIS_URL: template, TLS_REQUIRED: true, GREETING: hello,
           AUTH: required, STAGE: dev}
      Events:
        Toy: {Type: HttpApi, Properties: {ApiId: !Ref Api, Path: /toy, Method: ANY}}
        Rest: {Type: HttpApi, Properties: {ApiId: !Ref Api}}
"""
MIGRATIONS = """
  MigrationsFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/migrations
      Handler: migrations.handler.handler
      Environment: {Variables: {DATABASE_URL: template}}
"""
HANDLER = """
import json, os, sys, time
from shared import VALUE

def handler(event, context):
    query = event.get("queryStringParameters", {})
    mode = query.get("mode", event.get("mode"))
    if mode == "raise":
        raise ValueError("boom")
    if mode == "exit":
        os._exit(3)
    if mode == "break":
        breakpoint()
    if mode == "sleep":
        print("asleep")
        time.sleep(float(query["seconds"]))
    if mode == "environment":
        return dict(os.environ)
    if mode == "respond":
        return json.loads(event["body"])
    if mode == "fill":  # a response of so many bytes
        empty = {"statusCode": 200, "body": ""}
        return empty | {"body": "x" * (int(query["bytes"]) - len(json.dumps(empty)))}
    if mode == "log":
        print(json.dumps({"level": "INFO", "message": "quiet words", "cache": "hit"}))
        print(json.dumps({"level": "WARNING", "message": "loud words", "user": 7}))
        print(json.dumps({"_aws": {}, "metric": 1, "level": "ERROR"}))
        print("printed words", file=sys.stderr)
    body = json.dumps({"event": event, "pid": os.getpid(), "value": VALUE})
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": body}
"""
# Variables of the machine that runs the tests, which a developer's shell does not have.
QUIET = frozenset(
    {
        *("DATABASE_URL", "REDIS_URL", "TLS_REQUIRED", "PORT", "NO_COLOR", "GREETING"),
        *("AUTH", "SIGN_IN", "TOKEN_ISSUER", "TOKEN_AUDIENCE", "ROLES_CLAIM", "ROLE_PREFIX"),
    }
)
START_SECONDS = 20.0
END_SECONDS = 4.0


def write_project(directory: Path, *, migrations: str | None = None) -> Path:
    """Write a template with ToyFunction; `migrations` is the code of a MigrationsFunction."""
    files = {
        "template.yaml": TEMPLATE + (MIGRATIONS if migrations else ""),
        "functions/toy/handler.py": HANDLER,
        "layers/shared/shared/__init__.py": "VALUE = 1\n",
        "layers/dependencies/json.py": "raise RuntimeError('built for another machine')\n",
    }
    if migrations:
        files["functions/migrations/handler.py"] = migrations
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def toy_function(project: Path, *, timeout_seconds: int = 3, name: str = "ToyFunction") -> Function:
    """ToyFunction as the template's reader would give it."""
    return Function(
        name=name,
        handler="toy.handler.handler",
        runtime="python3.13",
        timeout_seconds=timeout_seconds,
        environment={
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "fake",
            "AWS_SECRET_ACCESS_KEY": "fake",
        },
        import_roots=(project / "functions", project / "layers" / "shared"),
        code=(project / "functions" / "toy", project / "layers" / "shared"),
    )


def environment(**changes: str) -> dict[str, str]:
    """The shell of a developer: no URLs, unless given."""
    return {name: value for name, value in os.environ.items() if name not in QUIET} | changes


def lives(process: psutil.Process) -> bool:
    """Whether it runs; init may take seconds to collect a zombie."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Program:
    """A `python -m local …` that runs until it is stopped; its output by lines.

    `within` is a command that runs another one.
    """

    def __init__(
        self,
        *arguments: str,
        project: Path,
        shell: Mapping[str, str],
        within: Sequence[str] = (),
    ) -> None:
        command, *rest = arguments
        template = f"{project}/template.yaml"
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "local", command, "--template", template, *rest],
            cwd=REPOSITORY,
            env=environment(**shell),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def url(self) -> str:
        return self.wait_for("    API ").split()[-1]

    def wait_for(self, text: str, seconds: float = START_SECONDS) -> str:
        """The first line with this text, or a failure that shows everything."""
        deadline = time.monotonic() + seconds
        with self._more:
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                if not self._reader.is_alive() or time.monotonic() > deadline:
                    raise AssertionError(f"no {text!r} in:\n{self.output}")
                self._more.wait(0.1)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=15)

    def children(self) -> list[psutil.Process]:
        """The processes that it started itself: servers, emulators, reapers."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return children

    def family(self) -> list[psutil.Process]:
        """Every process that it started."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children

    def end(self, number: int) -> list[psutil.Process]:
        """Send the signal, wait for the end; return what is left of its family."""
        family = self.family()
        self.process.send_signal(number)
        self.process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        deadline = time.monotonic() + END_SECONDS
        while (alive := [process for process in family if lives(process)]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.02)
        return alive

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip())
                self._more.notify_all()
