"""A gateway before a pool of real workers, without the command line around them."""

import time
from pathlib import Path
from typing import Any

import httpx

from local.gateway.authorizer import JwtAuthorizer
from local.gateway.routing import Route, RouteTable
from local.gateway.server import Api, Exchange, Gateway
from local.runtime.pool import WorkerPool
from tests.local.toys import toy_function


class Served:
    """A gateway before a pool, and its console output."""

    def __init__(self, project: Path, authorizer: JwtAuthorizer | None = None, **pool: Any) -> None:
        self.project = project
        self.lines: list[str] = []
        self.exchanges: list[Exchange] = []
        self.pool = WorkerPool(lambda _, line: self.lines.append(line.text), **pool)
        self.gateway = Gateway(0)
        protected = authorizer is not None
        routes = RouteTable(
            [
                Route("/toy", frozenset({"GET", "POST"}), "ToyFunction", protected),
                Route("/{proxy+}", frozenset({"GET", "TRACE", "HEAD"}), "ToyFunction"),
            ]
        )
        function = toy_function(project, timeout_seconds=1)
        functions = {"ToyFunction": function}
        api = Api(routes, functions, self.pool, self.exchanges.append, authorizer)
        self.gateway.serve(api)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.gateway.port}", timeout=15)

    def get(self, path: str = "/toy", **query: object) -> httpx.Response:
        return self.client.get(path, params=query)  # type: ignore[arg-type]

    def respond(self, result: object) -> httpx.Response:
        """Return what a client gets when the function returns this."""
        return self.client.post("/toy?mode=respond", json=result)

    def wait_for(self, line: str) -> None:
        deadline = time.monotonic() + 5
        while line not in self.lines:
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.01)

    def last(self) -> Exchange:
        """The latest request, which is reported after its response."""
        time.sleep(0.15)
        return self.exchanges[-1]

    def close(self) -> None:
        self.client.close()
        self.gateway.close()
        self.pool.close()
