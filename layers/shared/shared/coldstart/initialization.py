"""Initialization ahead of requests, by provisioned concurrency or for a snapshot (SnapStart).

No client waits for it, so nothing is deferred, and requests are made in advance. They connect to
PostgreSQL and Redis; if these do not respond, initialization succeeds nevertheless.

A snapshot contains no connections, credentials or settings: `shared.process.reset` is called before
it. Each environment that is restored from it seeds its random generators: Python's and, for the
keys of TLS, OpenSSL's, of which there are two, as psycopg's wheel has its own.

Source: "Improving startup performance with Lambda SnapStart" in AWS Lambda's developer guide.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.process import reset
from shared.settings import settings

SNAPSHOT = "snap-start"
TYPES = ("provisioned-concurrency", SNAPSHOT)
"""Values of `AWS_LAMBDA_INITIALIZATION_TYPE`; it is `on-demand` if a request is waiting."""
REQUEST_MILLISECONDS = 3000
TIMES = 2
"""The first request misses the cache, and the second one hits it."""
SEED_BYTES = 48
EXPIRY_SECONDS = 60

Handler = Callable[[dict[str, Any], Any], Any]


def is_ahead_of_requests() -> bool:
    """Return whether this process is initialized before it has a request."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") in TYPES


def prepare(handler: Handler, *targets: str) -> None:
    """Have the handler respond to GET requests of these paths and queries, if there is time for it.

    The caller is one without a role, of the function's own issuer. The responses are discarded: the
    function may have no database now, but later.
    """
    if not is_ahead_of_requests():
        return
    for target in targets:
        for _ in range(TIMES):
            handler(_event(target), _Context())
    if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == SNAPSHOT:
        # Part of Lambda's Python runtime, since 3.12.
        from snapshot_restore_py import (  # type: ignore[import-untyped]
            register_after_restore,
            register_before_snapshot,
        )

        register_before_snapshot(_forget)
        register_after_restore(_seed)


class _Context:
    """Stands in for `LambdaContext` at the start of a request."""

    aws_request_id = "initialization"

    def get_remaining_time_in_millis(self) -> int:
        return REQUEST_MILLISECONDS


def _event(target: str) -> dict[str, Any]:
    """Return an event of an HTTP API, format 2.0, with what `shared.gateway` needs."""
    path, _, query = target.partition("?")
    context = {
        "http": {"method": "GET", "sourceIp": "127.0.0.1"},
        "requestId": "initialization",
        "stage": "$default",
        "authorizer": {"jwt": {"claims": _claims()}},
    }
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "requestContext": context,
    }


def _claims() -> dict[str, str]:
    """Return what the authorizer passes on of a token, without which a read is a 401."""
    return {
        "iss": settings().token_issuer,
        "aud": settings().token_audience.partition(" ")[0],
        "sub": "initialization",
        "exp": str(int(time.time()) + EXPIRY_SECONDS),
    }


def _forget() -> None:
    # The event loop of Mangum's requests, to which the connections belong.
    asyncio.get_event_loop().run_until_complete(reset())


def _seed() -> None:
    import ctypes
    import ssl

    random.seed()
    ssl.RAND_add(os.urandom(SEED_BYTES), SEED_BYTES)
    for library in _loaded("libcrypto"):
        entropy_bytes = ctypes.c_double(SEED_BYTES)
        ctypes.CDLL(library).RAND_add(os.urandom(SEED_BYTES), SEED_BYTES, entropy_bytes)


def _loaded(name: str) -> set[str]:
    """Return the paths of the shared libraries of that name in this process (on Linux)."""
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = {line.partition("/")[2] for line in mapped}
    return {f"/{path}" for path in paths if Path(path).name.startswith(name)}
