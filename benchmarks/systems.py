"""Both systems, on one PostgreSQL and one Redis, with equal rows."""

import os
import subprocess
import sys
from collections.abc import Mapping

import psycopg

from local.services import Services
from tests.network.slow_network import SlowNetwork

MIGRATE = "import local; from migrations.handler import handler; handler({}, None)"
CREATE_SCHEMA = (
    "import asyncio; from benchmarks.baseline import app; asyncio.run(app.create_schema())"
)

OPEN = {"AUTH": "open"}
"""The baseline has no authorization either."""


def prepare(services: Services, users: int, posts_per_user: int) -> dict[str, dict[str, str]]:
    """Create both schemas and so many rows; return the environment of each system."""
    baseline_url = create_database(services, "baseline")
    environments = {
        "project": OPEN | {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url},
        "baseline": {
            "DATABASE_URL": baseline_url.replace("postgresql://", "postgresql+psycopg://"),
            "REDIS_URL": services.redis_url.replace("db=0", "db=1"),
        },
    }
    _run(CREATE_SCHEMA, environments["baseline"])
    _fill(baseline_url, users, posts_per_user)
    migrate_and_fill(services.database_url, users, posts_per_user)
    return environments


def behind(
    network: SlowNetwork, direct: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Return the environments of `prepare`, with URLs through the network."""
    baseline_url = network.database_url("baseline")
    project_url = network.database_url("blog")
    return {
        "project": OPEN
        | {
            "DATABASE_URL": f"{project_url}&sslnegotiation=direct",
            "REDIS_URL": network.redis_url(0),
            "DIRECT_REDIS_URL": direct["project"]["REDIS_URL"],
        },
        "baseline": {
            "DATABASE_URL": baseline_url.replace("postgresql://", "postgresql+psycopg://"),
            "REDIS_URL": network.redis_url(1),
            "DIRECT_REDIS_URL": direct["baseline"]["REDIS_URL"],
        },
    }


def create_database(services: Services, name: str) -> str:
    """Create a database, and return its URL."""
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return services.database_url.replace("/blog?", f"/{name}?")


def migrate_and_fill(database_url: str, users: int, posts_per_user: int) -> None:
    """Create this project's schema, and so many rows."""
    _run(MIGRATE, {"DATABASE_URL": database_url})
    _fill(database_url, users, posts_per_user)


def _run(code: str, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", code], env=os.environ | environment, check=True)


def _fill(database_url: str, users: int, posts_per_user: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")  # the schema's is for requests
        connection.execute("SET transaction_timeout = 0")
        connection.execute(
            "INSERT INTO users (name, email)"
            " SELECT 'User ' || n, 'user' || n || '@example.com' FROM generate_series(1, %s) n",
            [users],
        )
        connection.execute(
            "INSERT INTO posts (user_id, title, content)"
            " SELECT u, 'Title ' || n, repeat('Content. ', 20)"
            " FROM generate_series(1, %s) u, generate_series(1, %s) n",
            [users, posts_per_user],
        )
        connection.execute("VACUUM ANALYZE users, posts")
