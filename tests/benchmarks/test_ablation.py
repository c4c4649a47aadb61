"""The ablation: each variant is the project but for its change, and works; the rule is honest."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from benchmarks import ablation
from benchmarks.variants import COPY, PARTS, VARIANTS, Variant, copy_project
from local.services import Services

TAKE_THE_TOUR = """
import shared, sys
from tests.in_process import client_of
from tests.poolers.routes import take_the_tour

assert shared.__file__.startswith(sys.argv[1])
take_the_tour(client_of(seconds=60))
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
    paths = [tmp_path / "copy" / "functions", tmp_path / "copy" / "layers" / "shared", Path.cwd()]
    environment = {
        "AUTH": "open",
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    command = [sys.executable, "-c", TAKE_THE_TOUR, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The rule, on figures that are made up. A part is named as what lacks it.

PART = Variant("a part")


def judged(part: list[float], copy: list[float], promise: str = "") -> str:
    """The verdict on a part of which warm requests have these ratios, and the copy's these."""

    def figures(ratios: list[float]) -> dict[str, Any]:
        return {f"request {number}": {"ratio": ratio} for number, ratio in enumerate(ratios)}

    results = {
        "warm": {COPY.name: figures(copy), PART.name: figures(part)},
        "cold": {COPY.name: figures([1.0])},
    }
    return ablation.verdict(Variant(PART.name, promise=promise), results)


def test_a_part_within_the_noise_of_the_identical_copy_is_removed() -> None:
    for seed in range(1000):
        noise = random.Random(seed)
        ratios = [noise.uniform(0.7, 1.6) for _ in range(5)]
        for part in (ratios, ratios[:1], [max(ratios)] * 5, [1 / min(ratios)] * 5):
            assert judged(part, ratios) == "remove"


def test_another_identical_copy_hardly_ever_seems_worth_keeping() -> None:
    kept = 0
    for seed in range(1000):
        noise = random.Random(seed)
        part, copy = ([noise.lognormvariate(0, 0.1) for _ in range(5)] for _ in range(2))
        kept += judged(part, copy) != "remove"
    assert kept < 10


@pytest.mark.parametrize(
    ("part", "copy", "judgement"),
    [
        ([1.30, 1.30], [1.02, 0.99], "keep: saves 22% of its warm requests beyond the noise"),
        ([1.30, 0.80], [1.0, 1.0], "remove"),  # what one request gains, another loses
        ([1.30, 1.0, 1.0, 1.0], [1.0], "keep: saves 6% of its warm requests beyond the noise"),
        ([1.04, 1.04], [1.0, 1.0], "remove"),
        ([1.30, 1.30], [1.0, 1.25], "remove"),
        ([1.30, 1.30], [1.0, 0.8], "remove"),
    ],
)
def test_all_requests_of_a_part_count_beyond_the_noise(
    part: list[float], copy: list[float], judgement: str
) -> None:
    assert judged(part, copy) == judgement


def test_a_promise_keeps_what_saves_nothing() -> None:
    assert judged([1.0], [1.0], promise="nothing is lost") == "keep: nothing is lost"


def test_the_copy_measures_the_noise_of_everything_that_is_measured_beside_it() -> None:
    for part in PARTS:
        assert set(part.cold) <= set(COPY.cold)
        assert part.sql or set(part.warm) <= set(COPY.warm)
