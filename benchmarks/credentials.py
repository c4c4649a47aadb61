"""What credentials add to a cold start, without the network: this project's way, and boto3's.

In fresh interpreters of Lambda's version, on the layers as they are built. What a cold start has
imported anyway is imported, then the clock runs, over imports, TLS and signature: a secret is read
but for its request, a token is complete. boto3 only makes its client, or a token.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cold_sites import COMPILE, CannotMeasure
from layers import build

ROUNDS = 21
PROGRAM = """
import fastapi, mangum, redis.asyncio, aws_lambda_powertools.logging, shared.settings, sys, time
started = time.perf_counter()
exec(sys.argv[1])
print(time.perf_counter() - started)
"""
CODE = {
    "a secret": """
from shared.aws import secrets_manager
secrets_manager.request = lambda *_, **__: b'{"SecretString": "x"}'
secrets_manager.fetch_secret("arn:aws:secretsmanager:eu-west-1:123456789012:secret:db", 1.0)
""",
    "a secret: boto3": """
import boto3
boto3.client("secretsmanager")
""",
    "a token for PostgreSQL": """
from shared.aws.tokens import database_token
database_token("db.cluster-abc.eu-west-1.rds.amazonaws.com", 5432, "blog_app")
""",
    "a token for PostgreSQL: boto3": """
import boto3
host = "db.cluster-abc.eu-west-1.rds.amazonaws.com"
boto3.client("rds").generate_db_auth_token(host, 5432, "blog_app")
""",
    "a token for ElastiCache": """
from shared.aws.tokens import cache_token
cache_token("blog-cache", "blog-functions")
""",
}
ROLE = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "session" * 100,
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


def measure() -> dict[str, Any]:
    """Medians and 90th percentiles, by what is asked for."""
    python = build.target_python()
    if python is None:
        raise CannotMeasure(f"there is no Python {build.PYTHON_VERSION} here")
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        paths = _build(Path(directory), python)
        for round_number in range(ROUNDS + 1):
            for name in random.sample(list(CODE), len(CODE)):
                seconds = _seconds(python, paths, CODE[name])
                if round_number:  # the first one warms up the page cache
                    times[name].append(seconds)
    return {name: _milliseconds(times[name]) for name in CODE}


def markdown(results: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {result['median_ms']:.1f} | {result['p90_ms']:.1f} |"
        for name, result in results.items()
    ]
    return "\n".join(
        [
            "| | added to a cold start, ms | p90 |",
            "|---|---|---|",
            *rows,
            "",
            f"Medians of {ROUNDS} interleaved runs, without the network; boto3 has bytecode.",
        ]
    )


def _build(directory: Path, python: str) -> list[Path]:
    """The layers, and boto3 as Lambda's runtime has it."""
    command = [sys.executable, str(build.ROOT / "layers" / "build.py")]
    _run(*command, "dependencies", build.HOST, str(directory / "dependencies"))
    _run(*command, "shared", str(directory / "shared"))
    boto3 = directory / "boto3"
    _run(build.uv(), "pip", "install", "--python", python, "--target", str(boto3), "boto3")
    _run(python, *COMPILE, str(boto3))
    return [directory / "shared" / "python", directory / "dependencies" / "python", boto3]


def _seconds(python: str, paths: list[Path], code: str) -> float:
    environment = ROLE | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    return float(_run(python, "-c", PROGRAM, code, environment=environment))


def _run(*command: str, environment: Mapping[str, str] = os.environ) -> str:
    done = subprocess.run(
        command, cwd=build.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotMeasure(f"{' '.join(command)}\n{done.stderr or done.stdout}")
    return done.stdout


def _milliseconds(times: list[float]) -> dict[str, float]:
    deciles = statistics.quantiles(times, n=10)
    return {
        "median_ms": round(statistics.median(times) * 1000, 2),
        "p90_ms": round(deciles[8] * 1000, 2),
    }
