"""A worker of the posts that says of each request what the cache did, for `benchmarks.hits`.

    python -m benchmarks.hits_worker

Reads a line of JSON for each order, and writes a line with the requests that it made, a list:

    {"seed": …, "start_at": …, "requests": …, "users": …, "writes": 0.05,
     "methods": {"POST": 0.8, …}, "posts": [[id, user_id], …]}
    [{"method": "GET", "user_id": 7, "started": …, "ended": …, "cache": "hit"}, …]

Times are of the machine's monotonic clock. A write is of a user at random, a read of
one that a Zipf distribution chooses. Only posts of the order, which no other worker is given, and
those that it has created since are changed and deleted.
"""

import io
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from random import Random
from typing import Any

from benchmarks.system_process import Context, Request, event_of
from tests.in_process import handler_of

Observed = dict[str, Any]


class Worker:
    """Makes the requests of one order."""

    def __init__(self, order: Mapping[str, Any], log: io.StringIO) -> None:
        self._handler, self._log = handler_of("/posts"), log
        self._random = Random(order["seed"])  # noqa: S311
        self._order = order
        self._users = range(1, order["users"] + 1)
        self._weights = [1 / rank for rank in self._users]
        self._posts: dict[int, list[int]] = defaultdict(list)
        for post_id, user_id in order["posts"]:
            self._posts[user_id].append(post_id)

    def run(self) -> list[Observed]:
        time.sleep(max(self._order["start_at"] - time.monotonic(), 0))
        return [self._observed(*self._next()) for _ in range(self._order["requests"])]

    def _next(self) -> tuple[int, Request]:
        """Return the user whose posts are read or changed, and the request."""
        if self._random.random() >= self._order["writes"]:
            (user_id,) = self._random.choices(self._users, self._weights)
            return user_id, Request("GET", f"/posts?user_id={user_id}")
        methods = self._order["methods"]
        (method,) = self._random.choices(list(methods), list(methods.values()))
        user_id = self._random.choice(self._users)
        body = {"title": f"Title {self._random.random()}", "content": "Content. " * 20}
        if method == "POST" or not self._posts[user_id]:
            return user_id, Request("POST", "/posts", body | {"user_id": user_id})
        known = self._posts[user_id]
        if method == "DELETE":
            return user_id, Request(method, f"/posts/{known.pop()}")
        path = f"/posts/{self._random.choice(known)}"
        if method == "PUT":
            return user_id, Request(method, path, body | {"user_id": user_id})
        return user_id, Request(method, path, {"title": body["title"]})

    def _observed(self, user_id: int, request: Request) -> Observed:
        event, context = event_of(request), Context()
        started = time.monotonic()
        response = self._handler(event, context)
        ended = time.monotonic()
        assert response["statusCode"] in (200, 201, 204), response
        if request.method == "POST":
            self._posts[user_id].append(json.loads(response["body"])["id"])
        cache = json.loads(self._log.getvalue().splitlines()[-1]).get("cache")
        self._log.seek(0)
        self._log.truncate()
        method = request.method
        times = {"started": started, "ended": ended}
        return {"method": method, "user_id": user_id, **times, "cache": cache}


def main() -> None:
    # The handler logs to stdout, so results are written to a copy of it.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    log = sys.stdout = io.StringIO()
    for line in sys.stdin:
        print(json.dumps(Worker(json.loads(line), log).run()), file=results)


if __name__ == "__main__":
    main()
