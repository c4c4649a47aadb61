"""docs/more-operations.md, carried out in a copy.

Nothing but what the page says is changed there: whatever knows the resource afterwards derives it.
"""

import re
from pathlib import Path

import pytest

from tests.documentation.curl import blocks
from tests.repository_copy import copy_repository, make, python
from tests.resources import ROOT

OPERATIONS = ROOT / "docs" / "more-operations.md"
STEP = re.compile(
    r"(?P<verb>Create|Append to|[Ii]nsert into) `(?P<path>[^`]+)`"
    r"(?: before `(?P<before>[^`]+)`)?:\n\n```\w+\n(?P<code>.*?)```",
    re.DOTALL,
)
MORE = """
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest

from tests.auth.claims import REQUIRED, claims_of
from tests.conftest import Worker
from tests.in_process import LambdaTransport

ApiAs = Callable[..., httpx.Client]


@pytest.fixture
def api_as(worker: Worker, database: object, cache: object) -> ApiAs:
    worker.restart(**REQUIRED)

    def api_as(subject: str, role: str = "author") -> httpx.Client:
        transport = LambdaTransport(claims=claims_of(role, subject=subject))
        return httpx.Client(transport=transport, base_url="http://api.test")

    return api_as


def author_with_post(api_as: ApiAs, subject: str) -> tuple[httpx.Client, int]:
    api = api_as(subject)
    created = api.post("/users", json={"name": subject, "email": f"{subject}@example.org"})
    user = created.json()["id"]
    body = {"user_id": user, "title": f"By {subject}", "content": "First."}
    assert api.post("/posts", json=body).status_code == 201
    return api, user


def titles(api: httpx.Client) -> list[str]:
    return [post["title"] for post in api.get("/posts/mine").json()["data"]]


def test_callers_see_their_own_posts_from_pages_of_their_own(api_as: ApiAs, cache: object) -> None:
    (ada, user), (bob, _) = (author_with_post(api_as, name) for name in ("ada", "bob"))
    for _ in range(2):
        assert (titles(ada), titles(bob)) == (["By ada"], ["By bob"])
        assert titles(api_as("eve", "reader")) == []
    pages = [key for key in cache.keys() if key.startswith(b"posts/mine:")]
    assert len(pages) >= 2
    assert ada.post(
        "/posts", json={"user_id": user, "title": "New", "content": "Second."}
    ).status_code == 201
    assert (titles(ada), titles(bob)) == (["By ada", "New"], ["By bob"])


def test_a_plain_read_is_authorized_and_conditional(api_as: ApiAs) -> None:
    author_with_post(api_as, "ada")
    reader = api_as("eve", "reader")
    response = reader.get("/posts/titles")
    assert (response.text, response.headers["content-type"]) == (
        "By ada", "text/plain; charset=utf-8"
    )
    known = {"If-None-Match": response.headers["etag"]}
    assert reader.get("/posts/titles", headers=known).status_code == 304
    assert reader.get("/posts/titles?nonsense=1").status_code == 422
    with httpx.Client(transport=LambdaTransport(), base_url="http://api.test") as anonymous:
        assert anonymous.get("/posts/titles").status_code == 401


def test_a_plain_write_obeys_owners_and_voids_pages(api_as: ApiAs) -> None:
    (ada, user), (bob, _) = (author_with_post(api_as, name) for name in ("ada", "bob"))
    assert ada.get("/posts").json()["total"] == 2
    path = f"/posts/of/{user}/delete"
    assert api_as("eve", "reader").post(path).status_code == 403
    assert bob.post(path).status_code == 404
    assert ada.get("/posts").json()["total"] == 2
    assert ada.post(path, headers={"If-Match": "*"}).status_code == 422
    assert ada.post(path).status_code == 204
    assert ada.post(path).status_code == 404
    assert titles(ada) == []
    assert ada.get("/posts").json()["total"] == 1
"""


def carry_out(page: Path, folder: Path) -> Path:
    """Copy the repository, and do in the copy what the page says."""
    copy_repository(folder)
    text = page.read_text(encoding="utf-8")
    for step in STEP.finditer(text):
        _edit(folder / step["path"], step["verb"], step["before"], step["code"])
    return folder


def _edit(file: Path, verb: str, before: str | None, code: str) -> None:
    if verb == "Create":
        assert not file.exists(), f"{file} exists"
        file.write_text(code, encoding="utf-8")
        return
    text = file.read_text(encoding="utf-8")
    if before is None:
        file.write_text(f"{text}\n\n{code}", encoding="utf-8")
        return
    assert text.count(f"\n{before}") == 1, f"{file} has not exactly one line with {before!r}"
    file.write_text(text.replace(f"\n{before}", f"\n{code}{before}"), encoding="utf-8")


def _test(folder: Path, *suites: str) -> None:
    quiet = ("-q", "-n", "2", "--tb=short", "--no-header", "--show-capture=no", "--color=no")
    python(folder, "pytest", *quiet, "-p", "no:cacheprovider", *suites)


def _lint(folder: Path, *paths: str) -> None:
    python(folder, "ruff", "check", *paths)
    python(folder, "ruff", "format", "--check", *paths)
    python(folder, "mypy", *paths)


@pytest.fixture(scope="module")
def with_operations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = carry_out(OPERATIONS, tmp_path_factory.mktemp("operations"))
    make(folder, {"format": "", "openapi": ""})
    (folder / "tests" / "posts" / "test_more.py").write_text(MORE, encoding="utf-8")
    return folder


def test_every_block_of_the_page_is_a_step() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    steps = [step["code"] for step in STEP.finditer(text)]
    assert len(steps) >= 7
    assert sorted(steps) == sorted(blocks(text, "python") + blocks(text, "yaml"))


@pytest.mark.slow
def test_operations_as_on_the_page_do_what_it_says(with_operations: Path) -> None:
    lists = [f"tests/every_resource/test_{name}.py" for name in ("cached_lists", "derived_tables")]
    _test(with_operations, "tests/posts", *lists, "tests/layer/test_imports.py")


@pytest.mark.slow
def test_operations_as_on_the_page_are_linted_and_typed(with_operations: Path) -> None:
    _lint(with_operations, "functions/posts")
