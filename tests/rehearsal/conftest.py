"""Stacks that are deployed once for the tests of a profile, each to an AWS account of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from local.services import Services, running_services
from tests.rehearsal.aws import Aws
from tests.rehearsal.operator import Operator

STAGES = ("dev", "staging", "prod")
"""With the profiles hobby, standard and ha."""
UNLIMITED = {"ReadLimit": "0", "WriteLimit": "0"}


@contextmanager
def empty_account(stage: str, factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A checkout, and an AWS to which nothing was deployed yet."""
    directory = factory.mktemp(stage)
    with running_services(directory, ephemeral=True) as services:
        aws = Aws(directory, Services(new_cluster(services), services.redis_url))
        with aws.running():
            yield Operator(aws, directory, stage)


@contextmanager
def deployed(stage: str, factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A stack with its API, of this checkout."""
    with empty_account(stage, factory) as operator:
        operator.deploy(**UNLIMITED)
        with operator.serving():
            yield operator


def new_cluster(services: Services) -> str:
    """Make the database's owner, with the rights of Aurora's; return its URL, without a user."""
    with psycopg.connect(services.database_url, autocommit=True) as server:
        server.execute("CREATE ROLE rds_iam")
        server.execute("CREATE ROLE blog_owner LOGIN CREATEROLE IN ROLE rds_iam")
        server.execute("GRANT rds_iam TO blog_owner WITH ADMIN OPTION")
        server.execute("ALTER DATABASE blog OWNER TO blog_owner")
    _, _, host = services.database_url.partition("?")
    return f"postgresql:///blog?{host}"


@pytest.fixture(scope="module", params=STAGES)
def any_profile(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    with deployed(request.param, tmp_path_factory) as operator:
        yield operator


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """With the profile standard: database, cache, canary."""
    with deployed("staging", tmp_path_factory) as one:
        yield one
