"""Hits while others write: pages of one user's posts, read and written by several workers at once.

A worker is a process; it has one request in progress and makes the next one at once, a share of
them writes (`hits_worker`). From the very same requests it is computed how many of the reads two
other caches would have served:

- an oracle: a page is a hit unless a write of that user's posts was acknowledged since the page was
  last loaded;
- one in which any write of a post voids every page.

The baseline has no part in it: it does not cache posts.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks import systems
from benchmarks.hits_worker import Observed
from local.services import Services, running_services
from local.services.valkey import end_quarantine
from tests.network.slow_network import SlowNetwork

ROUND_TRIP_SECONDS = 0.001
WORKERS = 4
USERS = 200
POSTS_PER_USER = 20
ROUNDS = 3
REQUESTS = 1000
"""Of each worker in a round, in which no page grows as old as its TTL."""
WARM_UP_REQUESTS = 50
REDIS_TIMEOUT_SECONDS = 1.0
"""Longer than the setting, so that a busy machine seems no unavailable Redis."""
TOGETHER_SECONDS = 0.2
"""From an order to its start, so that all workers have read it."""
WRITES = (0.01, 0.05, 0.2)
MIXES: dict[str, dict[str, float]] = {
    "creates": {"POST": 1},
    "mostly creates": {"POST": 0.8, "PATCH": 0.1, "DELETE": 0.1},
    "PATCH": {"PATCH": 1},
    "PUT": {"PUT": 1},
}
GOAL = 0.9
"""The least share of the oracle's hits."""
CACHES = ("project", "oracle", "whole_table")


def measure() -> dict[str, Any]:
    """Return shares of the reads that were hits, by share of writes and by mix of methods.

    `ratio` is this project's to the oracle's, with the lowest and the highest of the rounds.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = stack.enter_context(running_services(directory / "services"))
        systems.migrate_and_fill(services.database_url, USERS, POSTS_PER_USER)
        network = stack.enter_context(SlowNetwork(directory, services))
        network.set_round_trip(ROUND_TRIP_SECONDS)
        workers = [_started(network, number) for number in range(WORKERS)]
        for worker in workers:
            stack.callback(_end, worker)
        _round(workers, services, WARM_UP_REQUESTS, 0.5, MIXES["creates"])
        cells = [(writes, mix) for writes in WRITES for mix in MIXES]
        rounds: dict[tuple[float, str], list[dict[str, float]]] = {cell: [] for cell in cells}
        for _ in range(ROUNDS):
            for writes, mix in random.sample(cells, len(cells)):
                requests = _round(workers, services, REQUESTS, writes, MIXES[mix])
                rounds[writes, mix].append(hits(requests))
        return {
            _percent(writes): {mix: _figures(rounds[writes, mix]) for mix in MIXES}
            for writes in WRITES
        }


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| requests that write | by | hits: this project | oracle | ratio | if any write voided all"
        " | requests/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for writes, mixes in results.items():
        for mix, figures in mixes.items():
            project, oracle, whole_table = (f"{figures[cache]:.1%}" for cache in CACHES)
            ratio = f"{figures['ratio']:.3f} ({figures['lowest']:.3f} to {figures['highest']:.3f})"
            cells = (writes, mix, project, oracle, ratio, whole_table)
            lines.append(f"| {' | '.join(cells)} | {figures['requests_per_second']:.0f} |")
    return "\n".join(
        [
            *lines,
            "",
            f"`GET /posts?user_id=…` of {USERS} users, chosen by a Zipf distribution, while the "
            f"other requests write a post of a user at random: {WORKERS} workers, each a process, "
            f"without a pause; a round trip takes {ROUND_TRIP_SECONDS * 1000:g} ms to both "
            f"servers, by TLS. Median (lowest to highest) of {ROUNDS} interleaved rounds of "
            f"{WORKERS * REQUESTS} requests, each from an empty cache. The oracle serves a page "
            "unless a write of that user's posts was acknowledged since it was last loaded; the "
            "last shares are those of a cache in which each write voids every page. Both are "
            "computed from the same requests. Mostly creates are 80 % POST, 10 % PATCH, 10 % "
            "DELETE. Until its row is known, a PATCH and a DELETE fence all posts; the more "
            "requests a second, the more of them meet a fence. A PUT names its user. The goal is a "
            "ratio of "
            f"{GOAL:g}. The baseline does not cache posts.",
            *_missed_goals(results),
        ]
    )


def hits(requests: Iterable[Observed]) -> dict[str, float]:
    """Return the share of the reads that are hits of each of the `CACHES`, and the requests in a
    second. A read counts when it starts, a write when it is acknowledged."""
    in_order = sorted(requests, key=_counts_at)
    of_users: set[int] = set()
    of_table: set[int] = set()
    reads = dict.fromkeys(CACHES, 0)
    for one in in_order:
        user_id = one["user_id"]
        if one["method"] == "GET":
            reads["project"] += one["cache"] == "hit"
            reads["oracle"] += user_id in of_users
            reads["whole_table"] += user_id in of_table
            of_users.add(user_id)
            of_table.add(user_id)
        else:
            of_users.discard(user_id)
            of_table.clear()
    number = sum(one["method"] == "GET" for one in in_order)
    seconds = max(one["ended"] for one in in_order) - min(one["started"] for one in in_order)
    shares = {cache: count / number for cache, count in reads.items()}
    return shares | {"requests_per_second": len(in_order) / seconds}


def _counts_at(one: Observed) -> float:
    at: float = one["started"] if one["method"] == "GET" else one["ended"]
    return at


def _missed_goals(results: Mapping[str, Any]) -> list[str]:
    """Return a paragraph on the goals that were missed, nothing if there are none."""
    missed = [
        f"{writes} {mix} ({figures['ratio']:.2f})"
        for writes, mixes in results.items()
        for mix, figures in mixes.items()
        if figures["ratio"] < GOAL
    ]
    return ["", f"Goals missed: {'; '.join(missed)}."] if missed else []


def _figures(rounds: list[dict[str, float]]) -> dict[str, float]:
    ratios = [one["project"] / one["oracle"] for one in rounds]
    shares = {cache: statistics.median(one[cache] for one in rounds) for cache in CACHES}
    figures = {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    rate = statistics.median(one["requests_per_second"] for one in rounds)
    return {name: round(value, 4) for name, value in (shares | figures).items()} | {
        "requests_per_second": round(rate, 1)
    }


def _round(
    workers: list["subprocess.Popen[str]"],
    services: Services,
    requests: int,
    writes: float,
    methods: Mapping[str, float],
) -> list[Observed]:
    """Return the requests of all workers, which begin together, with an empty cache."""
    with redis.Redis.from_url(services.redis_url) as client:
        client.flushdb()
        end_quarantine(client)
    with psycopg.connect(services.database_url) as database:
        posts = database.execute("SELECT id, user_id FROM posts ORDER BY user_id, id").fetchall()
    order = {"requests": requests, "writes": writes, "methods": methods, "users": USERS}
    order["start_at"] = time.monotonic() + TOGETHER_SECONDS
    for number, worker in enumerate(workers):
        assert worker.stdin is not None
        line = json.dumps(
            order | {"posts": posts[number::WORKERS], "seed": f"{order['start_at']}.{number}"}
        )
        print(line, file=worker.stdin, flush=True)
    return [one for worker in workers for one in _result(worker)]


def _result(worker: "subprocess.Popen[str]") -> list[Observed]:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a worker has ended")
    result: list[Observed] = json.loads(line)
    return result


def _started(network: SlowNetwork, number: int) -> "subprocess.Popen[str]":
    environment = systems.OPEN | {
        "DATABASE_URL": f"{network.database_url('blog')}&sslnegotiation=direct",
        "REDIS_URL": network.redis_url(0),
        "REDIS_TIMEOUT_SECONDS": f"{REDIS_TIMEOUT_SECONDS}",
        "SERVICE": f"hits-{number}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.hits_worker"],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(worker: "subprocess.Popen[str]") -> None:
    assert worker.stdin is not None
    worker.stdin.close()
    worker.wait()


def _percent(share: float) -> str:
    return f"{share * 100:g} %"
