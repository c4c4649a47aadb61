"""Scale: requests at 10 000, 100 000 and 1 000 000 users, each with 3 posts on average.

    python -m benchmarks.scale --users 10000,100000     for a quick look at some sizes

The rows are those of `make demo-data`, loaded again for each size (so that created_at ascends with
the id over three years), and copied into the baseline's database. Both systems handle the same
requests in processes of their own (`scale_worker`), in interleaved rounds, with an empty Redis
before each request: every response comes from PostgreSQL, which runs with its default, durable
settings. At the largest size concurrent writers insert with and without the counting triggers,
and the row counts are compared with `count(*)` while they write.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from benchmarks.systems import OPEN
from local.demo import data as demo_data
from local.demo.rows import RAREST_NAME
from local.demo.vocabulary import languages
from local.services import Services, running_services

SIZES = (10_000, 100_000, 1_000_000)
POSTS_PER_USER = 3
ROUNDS = 5
REQUESTS_PER_ROUND = 10
POSTS_OF_THE_DELETED = 100
LATE_NAME = "Zuzanna Końcowa"
"""Half of the last fifth of the users have it: common, but rare among the first."""
MAX_RESPONSE_BYTES = 6 * 1024 * 1024
"""Lambda's limit."""

WRITERS = 8
SLOTS = 120
SLOT_SECONDS = 0.5
SLOT_EDGE_SECONDS = 0.05
"""At the beginning of a slot, while the triggers are switched: not counted."""
EXACT_SECONDS = 5.0
TOGETHER_SECONDS = 0.5
"""From an order to its start, so that all writers are connected."""

SYSTEMS = ("project", "baseline")
MIGRATE = "import local; from migrations.handler import handler; handler({}, None)"
CREATE_SCHEMA = (
    "import asyncio; from benchmarks.baseline import app; asyncio.run(app.create_schema())"
)
COLUMNS = {
    "users": "id, name, email, created_at",
    "posts": "id, user_id, title, content, created_at",
}
AUTHORS = """
SELECT user_id FROM posts WHERE user_id > %s GROUP BY user_id ORDER BY user_id LIMIT %s
"""
# In one snapshot: the maintained count, and count(*).
COUNTS = """
SELECT (SELECT sum(row_count) FROM row_counts WHERE table_name = 'users'),
    (SELECT count(*) FROM users)
"""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of request: the targets of its requests, None if the baseline has no such route.

    `goal` is the maximum share of the baseline's time.
    """

    name: str
    project: Sequence[str]
    baseline: Sequence[str] | None
    goal: float | None = None
    method: str = "GET"


class Worker:
    """A process of `benchmarks.scale_worker`."""

    def __init__(self, system: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scale_worker", system],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def handle(self, target: str, method: str = "GET") -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"method": method, "target": target}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        response: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert response["status"] in (200, 204), response
        return response

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Databases:
    """Both systems' databases, on one server, with equal rows."""

    def __init__(self, services: Services) -> None:
        self._services = services
        baseline_url = services.database_url.replace("/blog?", "/baseline?")
        self.urls = {"project": services.database_url, "baseline": baseline_url}
        self.environments = {
            "project": OPEN
            | {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url},
            "baseline": {
                "DATABASE_URL": baseline_url.replace("postgresql://", "postgresql+psycopg://"),
                "REDIS_URL": services.redis_url.replace("db=0", "db=1"),
            },
        }
        with psycopg.connect(services.database_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE baseline")
        _run(MIGRATE, self.environments["project"])
        _run(CREATE_SCHEMA, self.environments["baseline"])

    def load(self, users: int) -> None:
        """These rows instead of those before."""
        for system in SYSTEMS:
            with _session(self.urls[system]) as connection:
                connection.execute("TRUNCATE users, posts RESTART IDENTITY CASCADE")
        rows = argparse.Namespace(users=users, posts=users * POSTS_PER_USER, seed=users)
        demo_data.run(rows, self.urls["project"], self._services.redis_url)
        with _session(self.urls["project"]) as connection:
            connection.execute(
                "UPDATE users SET name = %s WHERE id > %s AND id %% 2 = 0",
                [LATE_NAME, users * 4 // 5],
            )
            connection.execute("VACUUM (ANALYZE) users")
        for table in ("users", "posts"):
            self._copy(table)
        with _session(self.urls["baseline"]) as connection:
            connection.execute("VACUUM (ANALYZE) users, posts")
            # Else what the load has written would go to the disk while requests are measured.
            connection.execute("CHECKPOINT")

    def add_users_to_delete(self, count: int) -> list[int]:
        """Their ids, the same in both databases; each has `POSTS_OF_THE_DELETED` posts."""
        added = [self._add_users(self.urls[system], count) for system in SYSTEMS]
        assert added[0] == added[1]
        return added[0]

    def _copy(self, table: str) -> None:
        columns = COLUMNS[table]
        with (
            _session(self.urls["project"]) as source,
            _session(self.urls["baseline"]) as target,
            source.cursor().copy(f"COPY {table} ({columns}) TO STDOUT") as outgoing,
            target.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as incoming,
        ):
            for data in outgoing:
                incoming.write(data)
        with _session(self.urls["baseline"]) as target:
            target.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
            )

    def _add_users(self, url: str, count: int) -> list[int]:
        with _session(url) as connection:
            users = connection.execute(
                "INSERT INTO users (name, email)"
                " SELECT 'Deleted', 'deleted' || n || '@example.com' FROM generate_series(1, %s) n"
                " RETURNING id",
                [count],
            ).fetchall()
            ids = [row[0] for row in users]
            connection.execute(
                "INSERT INTO posts (user_id, title, content)"
                " SELECT u, 'Title', repeat('Content. ', 20)"
                " FROM unnest(%s::bigint[]) u, generate_series(1, %s)",
                [ids, POSTS_OF_THE_DELETED],
            )
        return ids


def measure(sizes: Sequence[int] = SIZES) -> Figures:
    results: Figures = {"requests": {}}
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        services = stack.enter_context(running_services(Path(directory)))
        databases = Databases(services)
        for users in sizes:
            databases.load(users)
            results["requests"][str(users)] = _measured(databases, users)
        results["exact"] = _exact_under_writers(databases)
        results["writers"] = _writers(databases.urls["project"])
    first, last = (results["requests"][str(users)] for users in (sizes[0], sizes[-1]))
    results["growth"] = {kind: _growth(first[kind], last[kind]) for kind in last}
    results["next_to_first_page"] = _of_first_page(last, "page 90 % deep, by next")
    results["counts_of_posts_to_first_page"] = _of_first_page(last, "posts of each user, a page")
    return results


def _of_first_page(figures: Figures, kind: str) -> float:
    """How long it takes, in first pages."""
    page, first_page = (figures[name]["project"] for name in (kind, "first page and total"))
    return round(float(page["median_ms"]) / float(first_page["median_ms"]), 2)


def _growth(small: Figures, large: Figures) -> dict[str, float]:
    return {
        system: round(large[system]["median_ms"] / small[system]["median_ms"], 2)
        for system in SYSTEMS
        if system in large
    }


def _measured(databases: Databases, users: int) -> Figures:
    requests = ROUNDS * REQUESTS_PER_ROUND + 1
    deleted = databases.add_users_to_delete(requests)
    with ExitStack() as stack:
        workers = {system: Worker(system, databases.environments[system]) for system in SYSTEMS}
        for worker in workers.values():
            stack.callback(worker.close)
        with _session(databases.urls["project"]) as connection:
            authors = connection.execute(AUTHORS, [users // 2, requests]).fetchall()
        kinds = _kinds(users, [row[0] for row in authors], deleted, workers["project"])
        figures = {kind.name: _measured_kind(kind, workers) for kind in kinds}
        figures["posts of each user, a page"]["baseline"] = _whole_response(
            workers["baseline"], "/posts/stats"
        )
    return figures


def _kinds(
    users: int, authors: Sequence[int], deleted: Sequence[int], project: Worker
) -> list[Kind]:
    deep = users * 9 // 10
    before_deep = json.loads(project.handle(f"/users?skip={deep - 10}&limit=10")["body"])
    posts_of = [f"/posts?user_id={author}&limit=10" for author in authors]
    deletions = [f"/users/{user_id}" for user_id in deleted]
    now = datetime.now(UTC)
    common_name = languages()[0].names[0].family[0].text
    last_week, last_year = ((now - timedelta(days=days)).date().isoformat() for days in (7, 365))
    return [
        _kind("first page and total", "/users?limit=10", goal=1 / 50),
        _kind("statistics of users", "/users/stats", goal=1 / 50),
        _search("a name that one has", {"name": RAREST_NAME}, goal=1 / 100),
        _search("a name that many have", {"name": common_name}, goal=1 / 2),
        _search("two letters that many have", {"name": "an"}),
        _search("two letters that few have", {"name": "pt"}),
        _search("two letters that no name has", {"name": "qz"}),
        _search("a name that many of the last users have", {"name": LATE_NAME}),
        _search("a Cyrillic name that no user has", {"name": "Жозефина"}),
        _search("Han characters that many have", {"name": "王"}),
        _search("an emoji that no name has", {"name": "🦊"}),
        _search("200 letters", {"name": "quick brown fox " * 12 + "12345678"}),
        _search("of the last week", {"created_after": last_week}, goal=1 / 5),
        _search("of the last year", {"created_after": last_year}, goal=1 / 5),
        _search(
            "a name, of the last week",
            {"name": common_name, "created_after": last_week},
            goal=1 / 5,
        ),
        _kind("page 90 % deep, by skip", f"/users?skip={deep}&limit=10", goal=1 / 3),
        Kind("page 90 % deep, by next", [before_deep["next"]], None),
        Kind("posts of one user", posts_of, posts_of, goal=1 / 50),
        Kind("posts of each user, a page", ["/posts/stats?limit=10"], None),
        Kind(
            f"delete a user with {POSTS_OF_THE_DELETED} posts",
            deletions,
            deletions,
            goal=1 / 50,
            method="DELETE",
        ),
    ]


def _kind(name: str, target: str, goal: float | None = None) -> Kind:
    return Kind(name, [target], [target], goal)


def _search(name: str, query: dict[str, str], goal: float | None = None) -> Kind:
    return _kind(f"search: {name}", f"/users/search?{urlencode(query | {'limit': '10'})}", goal)


def _measured_kind(kind: Kind, workers: dict[str, Worker]) -> Figures:
    """The first request of each system warms up; both must find the same."""
    targets = {"project": kind.project, "baseline": kind.baseline}
    systems = [system for system in SYSTEMS if targets[system]]
    times: dict[str, list[float]] = {system: [] for system in systems}
    made = 0
    for requests in [1, *ROUNDS * [REQUESTS_PER_ROUND]]:
        found = []
        for system in systems:
            choices = targets[system] or []
            for number in range(made, made + requests):
                target = choices[number % len(choices)]
                response = workers[system].handle(target, kind.method)
                times[system].append(response["seconds"])
            found.append(_ids(response["body"]))
        assert found[0] == found[-1], (kind.name, found)
        made += requests
    figures: Figures = {system: _figures(times[system][1:]) for system in systems}
    if kind.baseline:
        ratio = figures["project"]["median_ms"] / figures["baseline"]["median_ms"]
        figures["ratio"] = round(ratio, 5)
        figures["goal"] = kind.goal and round(kind.goal, 5)
    return figures


def _ids(body: str) -> list[int] | None:
    """Return the ids of the response's items; None if there are none."""
    content = json.loads(body) if body else None
    items = content.get("data", []) if isinstance(content, dict) else content
    return [item["id"] for item in items if "id" in item] if items else None


def _figures(times_seconds: Sequence[float]) -> dict[str, float]:
    deciles = statistics.quantiles(times_seconds, n=10)
    return {
        "median_ms": round(statistics.median(times_seconds) * 1000, 3),
        "p10_ms": round(deciles[0] * 1000, 3),
        "p90_ms": round(deciles[-1] * 1000, 3),
    }


def _whole_response(baseline: Worker, target: str) -> Figures:
    """Measure one request: the baseline's response is not paginated."""
    response = baseline.handle(target)
    size_bytes = len(response["body"].encode())
    return {
        "median_ms": round(response["seconds"] * 1000, 3),
        "response_bytes": size_bytes,
        "fails": size_bytes > MAX_RESPONSE_BYTES,
    }


def _exact_under_writers(databases: Databases) -> Figures:
    """Compare the maintained count with count(*) while writers write."""
    url = databases.urls["project"]
    comparisons = differences = 0
    with ProcessPoolExecutor(WRITERS) as pool, _session(url) as connection:
        begin = time.time() + TOGETHER_SECONDS
        write = partial(_write, url, begin, EXACT_SECONDS, "exact", deletes=True)
        writers = [pool.submit(write) for _ in range(WRITERS)]
        while not all(writer.done() for writer in writers):
            counts = connection.execute(COUNTS).fetchone()
            assert counts is not None
            comparisons += 1
            differences += counts[0] != counts[1]
        written = sum(len(writer.result()) for writer in writers)
    return {
        "writers": WRITERS,
        "writes": written,
        "comparisons": comparisons,
        "differences": differences,
        "responses_equal_counts_afterwards": _responses_equal_counts(databases),
    }


def _responses_equal_counts(databases: Databases) -> bool:
    worker = Worker("project", databases.environments["project"])
    try:
        stats = json.loads(worker.handle("/users/stats")["body"])
        page = json.loads(worker.handle("/users?limit=1")["body"])
    finally:
        worker.close()
    with _session(databases.urls["project"]) as connection:
        counted = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE created_at >= now() - interval '7 days')"
            " FROM users"
        ).fetchone()
    return counted == (page["total"], stats["users_last_7_days"]) and (
        page["total"] == stats["total_users"]
    )


def _writers(url: str) -> Figures:
    """Measure inserts per second of all writers, with and without the triggers.

    They write continuously while the triggers are switched on and off, so that adjacent slots are
    measured under the same conditions.
    """
    begin = time.time() + TOGETHER_SECONDS
    with ProcessPoolExecutor(WRITERS) as pool, _session(url) as connection:
        write = partial(_write, url, begin, SLOTS * SLOT_SECONDS, "writers")
        writers = [pool.submit(write) for _ in range(WRITERS)]
        for slot in range(SLOTS):
            time.sleep(max(begin + slot * SLOT_SECONDS - time.time(), 0))
            state = "ENABLE" if _is_counted(slot) else "DISABLE"
            connection.execute(f"ALTER TABLE users {state} TRIGGER users_count_insert")
        moments = [moment - begin for writer in writers for moment in writer.result()]
    written = Counter(
        int(moment / SLOT_SECONDS)
        for moment in moments
        if moment % SLOT_SECONDS > SLOT_EDGE_SECONDS
    )
    rates = [written[slot] / (SLOT_SECONDS - SLOT_EDGE_SECONDS) for slot in range(SLOTS)]
    counted = [rates[slot] for slot in range(SLOTS) if _is_counted(slot)]
    uncounted = [rates[slot] for slot in range(SLOTS) if not _is_counted(slot)]
    # The disk may stall for longer than a slot.
    lost = [1 - one / other for one, other in zip(counted, uncounted, strict=True) if other]
    return {
        "writers": WRITERS,
        "counted": _rates(counted),
        "not_counted": _rates(uncounted),
        "lost_of_all": round(1 - sum(counted) / sum(uncounted), 3),
        "lost_median_of_pairs": round(statistics.median(lost), 3),
        "lost_quartiles_of_pairs": [round(share, 3) for share in statistics.quantiles(lost)[::2]],
    }


def _is_counted(slot: int) -> bool:
    """Slots come in pairs: without and with, with and without, …"""
    return slot % 4 in (1, 2)


def _rates(per_second: Sequence[float]) -> dict[str, int]:
    deciles = statistics.quantiles(per_second, n=10)
    return {
        "median_per_second": round(statistics.median(per_second)),
        "p10_per_second": round(deciles[0]),
        "p90_per_second": round(deciles[-1]),
    }


def _write(
    url: str, begin: float, seconds: float, label: str, *, deletes: bool = False
) -> list[float]:
    """Write until the time is over; return when each transaction ended."""
    ended: list[float] = []
    with psycopg.connect(url, prepare_threshold=None) as connection:
        time.sleep(max(begin - time.time(), 0))
        while time.time() < begin + seconds:
            email = f"{label}.{os.getpid()}.{begin}.{len(ended)}@example.com"
            row = connection.execute(
                "INSERT INTO users (name, email) VALUES (%s, %s)"
                " RETURNING id, name, email, created_at",
                ["Ada Lovelace", email],
            ).fetchone()
            connection.commit()
            ended.append(time.time())
            if deletes and len(ended) % 4 == 0:
                assert row is not None
                connection.execute("DELETE FROM users WHERE id = %s", [row[0]])
                connection.commit()
    return ended


def _run(code: str, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", code], env=os.environ | environment, check=True)


def _session(url: str) -> psycopg.Connection[Any]:
    """Return a session without the timeouts of the API's statements."""
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET transaction_timeout = 0")
    return connection


def markdown(results: Figures) -> str:
    sizes = list(results["requests"])
    last = results["requests"][sizes[-1]]
    lines = [
        f"| at {int(sizes[-1]):,} users | this project, ms (p10 to p90) | baseline, ms | ratio "
        f"| goal | growth from {int(sizes[0]):,} users: this project | baseline |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, figures in last.items():
        project, growth = figures["project"], results["growth"][kind]
        spread = f"{project['median_ms']:.2f} ({project['p10_ms']:.2f} to {project['p90_ms']:.2f})"
        lines.append(
            f"| {kind} | {spread} | {_baseline_cell(figures)} | {_fraction(figures.get('ratio'))} "
            f"| {_fraction(figures.get('goal'))} | {growth['project']} "
            f"| {_growth_cell(growth.get('baseline'))} |"
        )
    writers, exact = results["writers"], results["exact"]
    lower, upper = writers["lost_quartiles_of_pairs"]
    lines += [
        "",
        *_missed_goals(last),
        f"A page 90 % deep by `next` takes {results['next_to_first_page']} times the first one, a"
        f" page of posts per user {results['counts_of_posts_to_first_page']} times.",
        "",
        f"{writers['writers']} writers at once insert"
        f" {writers['counted']['median_per_second']:,} users a second with the counts,"
        f" {writers['not_counted']['median_per_second']:,} without (medians of half-second slots)."
        f" The counts cost {writers['lost_of_all']:.0%} of all inserts, and"
        f" {writers['lost_median_of_pairs']:.0%} in the median pair of adjacent slots (quartiles"
        f" {lower:.0%} and {upper:.0%}). While they wrote {exact['writes']:,} times, the count was"
        f" compared with count(*) {exact['comparisons']} times, with {exact['differences']}"
        " differences.",
        "",
        f"Medians of {ROUNDS * REQUESTS_PER_ROUND} requests in {ROUNDS} interleaved rounds through"
        " the Lambda handlers in processes of their own, on one durable PostgreSQL with equal"
        " rows, Redis emptied before each request.",
    ]
    return "\n".join(lines)


def _missed_goals(requests: Figures) -> list[str]:
    """Return a paragraph on the goals that were missed, nothing if there are none."""
    missed = [
        f"{kind} ({_fraction(figures['ratio'])} instead of {_fraction(figures['goal'])})"
        for kind, figures in requests.items()
        if figures.get("goal") and figures["ratio"] > figures["goal"]
    ]
    if not missed:
        return []
    return [
        f"Goals missed: {', '.join(missed)}. Most of this project's time is that of any request in "
        "the handler, which no statement can shorten; a name that one user has is also looked up "
        "in each block of ids.",
        "",
    ]


def _baseline_cell(figures: Figures) -> str:
    baseline = figures.get("baseline")
    if baseline is None:
        return "not supported"
    if "fails" not in baseline:
        return f"{baseline['median_ms']:.1f}"
    megabytes = baseline["response_bytes"] / 1e6
    outcome = "fails, " if baseline["fails"] else ""
    return f"{outcome}{megabytes:.1f} MB after {baseline['median_ms']:.0f} ms"


def _growth_cell(growth: float | None) -> str:
    return "" if growth is None else str(growth)


def _fraction(share: float | None) -> str:
    if share is None:
        return ""
    return f"1/{1 / share:.0f}" if share < 1 / 2 else f"{share:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--users", metavar="N[,N…]", default=",".join(map(str, SIZES)))
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    measured = measure([int(users) for users in arguments.users.split(",")])
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(markdown(measured))
