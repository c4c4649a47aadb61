"""Each variant that the ablation measures is the project but for its change, and it works."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from benchmarks.variants import VARIANTS, Variant, copy_project
from local.services import Services

TAKE_THE_TOUR = """
import blog, httpx, sys
from tests.in_process import LambdaTransport
from tests.poolers.routes import take_the_tour

assert blog.__file__.startswith(sys.argv[1])
take_the_tour(httpx.Client(transport=LambdaTransport(60), base_url="http://api.test"))
"""


CHANGED = [variant for variant in VARIANTS if variant.changes]


@pytest.mark.parametrize("variant", CHANGED, ids=lambda variant: variant.name)
def test_a_variant_answers_every_route(
    variant: Variant,
    tmp_path: Path,
    services: Services,
    database: psycopg.Connection[object],
    cache: redis.Redis,
) -> None:
    copy_project(tmp_path / "copy", variant)
    paths = [tmp_path / "copy" / "functions", tmp_path / "copy" / "layers" / "blog", Path.cwd()]
    environment = {
        "AUTH": "open",
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    command = [sys.executable, "-c", TAKE_THE_TOUR, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
