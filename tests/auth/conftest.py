"""The API for callers with a token, in an execution environment that requires one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.every_resource.document import PRIVATE_LISTS
from tests.in_process import LambdaTransport

ApiOf = Callable[..., httpx.Client]

collect_ignore = [] if PRIVATE_LISTS else ["test_private_lists.py"]


@pytest.fixture
def api_of(worker: Worker, database: object, cache: object) -> Iterator[ApiOf]:
    """Returns the API for a caller of these roles, without users and posts."""
    worker.restart(**REQUIRED)
    with ExitStack() as clients:

        def api_of(*roles: str, subject: str = "ada", **claims: str) -> httpx.Client:
            transport = LambdaTransport(claims=claims_of(*roles, subject=subject, **claims))
            return clients.enter_context(
                httpx.Client(transport=transport, base_url="http://api.test")
            )

        yield api_of
