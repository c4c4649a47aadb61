"""docs/tour.md names files that exist, in the order in which real requests run through them."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import httpx
import pytest

from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.in_process import client_of
from tests.resources import FUNCTIONS, ROOT

PAGE = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
LAYER = ROOT / "layers" / "shared" / "shared"
SETTINGS = {
    **REQUIRED,
    "READ_LIMIT": "100",
    "WRITE_LIMIT": "100",
    # A busy machine must not be taken for a Redis that failed.
    "REDIS_TIMEOUT_SECONDS": "1",
    "REDIS_CONNECT_TIMEOUT_SECONDS": "2",
}
LAST_OF_A_HIT = 12
"""The number of the step at which a hit ends."""


@pytest.fixture(autouse=True)
def limited(worker: Worker, emptied: None, cache: object) -> None:
    """A worker that knows callers and limits, and empty servers."""
    worker.restart(**SETTINGS)


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"`([\w./-]+\.py)`", PAGE)
    assert len(named) > 30
    for name in named:
        assert (ROOT / name).exists() or (LAYER / name).exists(), name


def test_a_read_runs_through_its_files_in_this_order() -> None:
    steps = _steps("A read")
    _list("?limit=1")  # what is imported at the first use is not of the way

    miss = _files_of(_list)
    hit = _files_of(_list)

    assert _in_order(miss, steps) == steps
    assert _in_order(hit, steps) == steps[:LAST_OF_A_HIT]


def test_a_keyed_create_runs_through_its_files_in_this_order() -> None:
    steps = _steps("A write")
    _create(1)

    created = _files_of(lambda: _create(2))

    assert _in_order(created, steps) == steps
    shared = _steps("A read")[:7]
    assert _in_order(created, shared) == shared


def _list(query: str = "") -> httpx.Response:
    return _client("ada").get(f"/users{query}")


def _create(number: int) -> httpx.Response:
    """An author's own user: each author creates one."""
    body = {"name": "Ada", "email": f"{number}@example.com"}
    headers = {"Idempotency-Key": "key"}
    return _client(f"author-{number}").post("/users", json=body, headers=headers)


def _client(subject: str) -> httpx.Client:
    return client_of(claims=claims_of("author", subject=subject))


def _steps(title: str) -> list[Path]:
    """The first file that each step of the section names."""
    (section,) = re.findall(rf"^## {title}(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    names = re.findall(r"^\d+\. .*?`([\w./-]+\.py)`", section, re.MULTILINE)
    return [LAYER / name if (LAYER / name).exists() else ROOT / name for name in names]


def _in_order(found: list[Path], steps: list[Path]) -> list[Path]:
    return [file for file in found if file in steps]


def _files_of(send: Callable[[], httpx.Response]) -> list[Path]:
    """The project's files in which functions were called, by their first call."""
    with _noted() as found:
        response = send()
    assert response.is_success, response.text
    return [Path(name) for name in found]


@contextmanager
def _noted() -> Iterator[dict[str, None]]:
    found: dict[str, None] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith((str(LAYER), str(FUNCTIONS))):
            found.setdefault(name)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
