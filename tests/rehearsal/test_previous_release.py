"""Expand and contract: the release before works on the schema of this checkout.

While a deployment moves callers over, and after a rollback, the functions of the release before run
on the new schema.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from local.services import Services, running_services
from shared.auth.permissions import ROLES
from tests import previous_release
from tests.e2e.targets import free_port, running, wait_until_ready
from tests.resources import ROOT
from tests.sample_resource import SampleResource

pytestmark = [pytest.mark.rehearsal, pytest.mark.slow]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the release before, with this checkout's packages."""
    folder = tmp_path_factory.mktemp("release")
    subprocess.run(["tar", "-x", "-C", folder], input=previous_release.archive(), check=True)
    return folder


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with running_services(tmp_path, ephemeral=True) as started:
        yield started


def migrate(services: Services) -> None:
    """With this checkout's migrations."""
    done = subprocess.run(
        [sys.executable, "-m", "local", "migrate"],
        cwd=ROOT,
        env=_environment(services),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def suite_of(release: Path, services: Services) -> subprocess.CompletedProcess[str]:
    """Run the release's end-to-end suite against its own API, for each role."""
    environment = _environment(services)
    port = free_port()
    command = [sys.executable, "-m", "local", "run", "--port", str(port)]
    with ExitStack() as stack:
        stack.enter_context(running(command, environment | {"SIGN_IN": "off"}, release))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        wait_until_ready(client)
        for role in ROLES:
            done = subprocess.run(
                [*command[:3], "token", "--role", role, "--port", str(port), "--subject", role],
                cwd=release,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            environment[f"{role.upper()}_TOKEN"] = done.stdout.strip()
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "tests/e2e/test_api.py"],
            cwd=release,
            env=environment | {"BASE_URL": str(client.base_url)},
            capture_output=True,
            text=True,
            check=False,
        )


def _environment(services: Services) -> dict[str, str]:
    return dict(os.environ) | {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "AUTH": "required",
    }


def test_the_release_before_passes_its_suite_on_the_schema_of_this_checkout(
    release: Path, services: Services
) -> None:
    migrate(services)
    done = suite_of(release, services)
    assert done.returncode == 0, done.stdout


def test_a_schema_that_the_release_before_cannot_use_is_found(
    release: Path, services: Services, sample: SampleResource
) -> None:
    migrate(services)
    rename = f"ALTER TABLE {sample.name} RENAME COLUMN {sample.text} TO renamed"
    with psycopg.connect(services.database_url, autocommit=True) as database:
        database.execute(rename.encode())
    assert suite_of(release, services).returncode != 0
