"""docs/adding-a-resource.md, carried out in a copy of the repository.

Nothing but what the page says is changed there: whatever knows the resource afterwards derives it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.resources import ROOT

PAGE = (ROOT / "docs" / "adding-a-resource.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"^(?P<verb>Create|Append to|Insert into) `(?P<path>[^`]+)`"
    r"(?: before `(?P<before>[^`]+)`)?:\n\n```\w+\n(?P<code>.*?)```",
    re.DOTALL | re.MULTILINE,
)
# The suites that hold every resource to the rules; the rest does not read what there is.
SUITES = (
    "tests/auth",
    "tests/every_resource",
    "tests/layer/test_imports.py",
    "tests/layer/test_cold_start_imports.py",
    "tests/layer/test_deferred_models.py",
    "tests/layer/test_framework_responses.py",
    "tests/layer/test_response_headers.py",
    "tests/users/test_stats.py",
    "tests/meta/test_openapi.py",
    "tests/migrations/test_schema.py",
    "tests/template/test_template.py",
    "tests/template/test_generated.py",
    "tests/comments",
)
BEHAVIOUR = """
import httpx
import pytest


@pytest.fixture
def post(api: httpx.Client) -> int:
    user = api.post("/users", json={"name": "Ada", "email": "ada@example.com"}).json()
    body = {"user_id": user["id"], "title": "On engines", "content": "First."}
    return int(api.post("/posts", json=body).json()["id"])


def create(api: httpx.Client, post: int, key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return api.post("/comments", json={"post_id": post, "content": "Indeed."}, headers=headers)


def test_a_comment_is_created_once_listed_counted_and_deleted(
    api: httpx.Client, post: int
) -> None:
    created = create(api, post, key="k")
    assert (created.status_code, created.headers["location"]) == (201, "/comments/1")
    assert create(api, post, key="k").json() == created.json()
    assert create(api, 99).status_code == 400
    assert api.get("/comments/1").json() == created.json()
    assert api.get("/comments/stats").json()["data"] == [{"post_id": post, "comment_count": 1}]
    assert api.delete("/comments/1").status_code == 204
    assert api.get("/comments").json()["total"] == 0
    assert create(api, post, key="k").status_code == 409
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the page was carried out."""
    folder = tmp_path_factory.mktemp("copy")
    for name in _run(["git", "ls-files", "--cached", "--others", "--exclude-standard"]).split():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for step in STEP.finditer(PAGE):
        _carry_out(folder / step["path"], step["verb"], step["before"], step["code"])
    (folder / "tests" / "comments").mkdir()
    (folder / "tests" / "comments" / "__init__.py").touch()
    (folder / "tests" / "comments" / "test_comments.py").write_text(BEHAVIOUR, encoding="utf-8")
    # As `make migration`, `make format` and `make openapi` do.
    message = re.search("make migration MESSAGE='(.*)'", PAGE)
    assert message is not None
    _run([sys.executable, "-m", "local.generate.migration", message[1]], folder)
    _run([sys.executable, "-m", "ruff", "format", "."], folder)
    for module in ("local.generate.openapi", "local.generate.sample_events"):
        _run([sys.executable, "-m", module], folder)
    return folder


def _carry_out(file: Path, verb: str, before: str | None, code: str) -> None:
    if verb == "Create":
        assert not file.exists()
        file.parent.mkdir(exist_ok=True)
        file.write_text(code, encoding="utf-8")
        return
    text = file.read_text(encoding="utf-8")
    if before is None:
        file.write_text(text + code, encoding="utf-8")
        return
    assert text.count(f"\n{before}") == 1
    file.write_text(text.replace(f"\n{before}", f"\n{code}{before}"), encoding="utf-8")


def _run(command: list[str], folder: Path = ROOT) -> str:
    paths = os.pathsep.join(str(folder / path) for path in (".", "functions", "layers/blog"))
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_steps() -> None:
    assert len(list(STEP.finditer(PAGE))) == PAGE.count("```python") + PAGE.count("```yaml")


@pytest.mark.slow
def test_the_resource_keeps_every_rule_and_its_lists_are_coherent(copy: Path) -> None:
    _run([sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *SUITES], copy)


@pytest.mark.slow
def test_the_code_of_the_page_is_linted_and_typed(copy: Path) -> None:
    ours = ["functions/comments", "layers/blog/blog", "functions/migrations"]
    _run([sys.executable, "-m", "ruff", "check", *ours], copy)
    _run([sys.executable, "-m", "mypy", *ours], copy)
