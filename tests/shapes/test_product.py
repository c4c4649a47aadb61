"""`make mine` and `make remove` in copies of the repository, where the tests pass.

Only the tests that differ from this repository's are run, and those of the product's resources;
`make shapes` runs all. The product's lines and the duration of its tests are printed.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from local.generate.prune import CODE, NOTE
from local.generate.remove import LESSONS
from tests.documentation.curl import blocks
from tests.e2e.targets import free_port, running, wait_until_ready
from tests.repository_copy import MAKE, commit, committed, make, mypy, python, run
from tests.tools import require_bytecode_compiler

pytestmark = pytest.mark.slow

NAMES = ("stationery-shop", "Haberdashers & {stationers} API: $1, 100 %s, *all* <x> # y")
"""A name and a title as long as they may be, with characters that some places do not allow."""
SAM = Path(sys.executable).with_name("sam")


OF_THE_EXAMPLE = (
    r"\bblog\b|users.and.posts|UsersAndPosts|/users\b|/posts\b|\b(INTO|FROM) users\b"
    r"|\bUsersFunction\b|\bPostsFunction\b|=posts\b|=users\b|make mine\b"
)
GAP = re.compile(
    r"^(#+) .*\n+(?=#{1,6} |\Z)(?!\1#)"  # a section without text
    r"|^.*[:;,]\n\n(?!```|\||- |\d+\. |<).*"  # a sentence that does not end
    r"|^.*(?: ,|,,| \(\)|\band ,| \.(?:\s|$)).*",  # a link that was taken out of a list
    re.MULTILINE,
)
ABOUT_IT = [f":!{name}" for name in ("functions/migrations/versions", *LESSONS)]
"""Git's patterns of all other files: applied migrations and lessons name the example."""
MODELS = "layers/shared/shared/database/models.py"
PARENT = """    title: Named[str] = Column(Text)
    parent_id: Named[int | None] = Column(BigInteger, ForeignKey("tags.id", ondelete="SET NULL"))
    created_at"""
OF_LAYER = "CONFLICT, audit_log, idempotency_keys, identities, row_counts"
OF_RESOURCES = (
    *("tests/documentation", "tests/every_resource", "tests/meta"),
    *(f"tests/migrations/test_{name}.py" for name in ("handler", "random_writes", "schema")),
    *("tests/template/test_generated.py", "tests/template/test_template.py"),
)
CHANGED = ["git", "diff", "--name-only", "--diff-filter=d", "HEAD~2", "--", "tests/*/test_*.py"]
"""Git's list of the tests that are not word for word those of this repository."""
OWNERS = "## Owners"
"""The section of the page whose commands make the product's resources."""


def names(folder: Path) -> str:
    """Return the lines that name the example or this project, except in pages about it."""
    found = subprocess.run(
        ["git", "grep", "-nIP", OF_THE_EXAMPLE, "--", ".", *ABOUT_IT],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout


def check(folder: Path, *suites: str) -> float:
    """Lint the folder and run its tests, by default all; return how long these take."""
    python(folder, "ruff", "check", "-q", ".")
    python(folder, "ruff", "format", "--check", "-q", ".")
    mypy(folder)
    started_at = time.monotonic()
    python(folder, "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *suites)
    return time.monotonic() - started_at


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = committed(tmp_path_factory.mktemp("product"))
    database = folder / ".local" / "postgres"  # as `make run` leaves it, of the old name
    database.mkdir(parents=True)
    dropping = ("--lab", "drop", "--examples", "drop")
    python(folder, "local.generate.mine", *NAMES, *dropping)
    assert not database.exists()
    commit(folder)
    page = (folder / "docs" / "adding-a-resource.md").read_text(encoding="utf-8")
    for command in blocks(page.partition(OWNERS)[2], "sh")[0].splitlines():
        run([*MAKE, *shlex.split(command)[1:]], folder)
    fields = "quantity:int note:text?"
    python(folder, "local.generate.resource", "items", "--of", "orders", "--fields", fields)
    commit(folder)
    return folder


def test_a_product_has_its_own_name_and_nothing_of_the_example(product: Path) -> None:
    assert names(product) == ""
    assert not [name for name in ("benchmarks", "docs/adr") if (product / name).exists()]


def test_a_product_keeps_the_pages_that_teach_by_the_example(product: Path) -> None:
    for lesson in LESSONS:
        assert NOTE in (product / lesson).read_text(encoding="utf-8")
        assert Path(lesson).name in (product / "docs" / "llms.txt").read_text(encoding="utf-8")


def test_the_pages_of_a_product_have_no_gaps(product: Path) -> None:
    for page in (*product.glob("*.md"), *product.glob("docs/*.md")):
        text = CODE.sub("```\n", page.read_text(encoding="utf-8"))
        assert [found[0] for found in GAP.finditer(text)] == [], page.name


@pytest.mark.shapes
def test_a_product_passes_all_tests(product: Path) -> None:
    check(product)


def test_a_product_passes_its_tests(product: Path) -> None:
    quick = ("-m", "not slow and not rehearsal and not smoke")
    changed = run(CHANGED, product).split()
    seconds = check(product, *quick, *OF_RESOURCES, *changed)
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], product)
    lines = {name: len((product / name).read_bytes().splitlines()) for name in listed.split()}
    code = sum(count for name, count in lines.items() if name.endswith((".py", ".yaml")))
    print(f"the product: {len(lines)} files, {code} lines of code, tests of {seconds:.0f} s")


@pytest.mark.shapes
def test_a_product_that_keeps_all_has_its_own_names_and_resources(tmp_path: Path) -> None:
    folder = committed(tmp_path)
    python(folder, "local.generate.mine", *NAMES)
    fields = "name:str price:decimal(8,2)"
    python(folder, "local.generate.resource", "orders", "--key", "uuid", "--fields", fields)
    python(folder, "ruff", "check", "-q", ".")
    python(folder, "ruff", "format", "--check", "-q", ".")
    suites = ("benchmarks", "aws", "layer/test_redis_url.py", "network/test_iam.py", "template")
    quick = ("-q", "-n", "2", "-p", "no:cacheprovider", "-m", "not slow")
    python(folder, "pytest", *quick, *(f"tests/{suite}" for suite in suites))


def test_a_product_runs(product: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "local", "run", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": ""}
    url = f"http://127.0.0.1:{port}"
    with running(command, environment, product), httpx.Client(base_url=url) as api:
        wait_until_ready(api)
        customer = api.post("/customers", json={"name": "Ada"})
        assert customer.status_code == 201, customer.text
        order = {"customer_id": customer.json()["id"], "product": "An engine", "amount": "1.50"}
        assert api.post("/orders", json=order).status_code == 201
        assert api.get("/orders").json()["total"] == 1


def test_a_product_is_built(product: Path, tmp_path: Path) -> None:
    require_bytecode_compiler()
    run([str(SAM), "build", "--build-dir", str(tmp_path / "build")], product)
    assert (tmp_path / "build" / "OrdersFunction" / "orders" / "handler.py").exists()


@pytest.mark.parametrize("command", [("mine", "shop", "Shop API"), ("remove", "posts")])
def test_only_a_committed_tree_loses_files(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = committed(tmp_path)
    (folder / "new.py").touch()
    assert "new.py" in refusal(folder, f"local.generate.{command[0]}", *command[1:])
    assert run(["git", "status", "--porcelain"], folder) == "?? new.py\n"
    (folder / ".git").rename(folder / "git")  # as in an archive
    output = refusal(folder, f"local.generate.{command[0]}", *command[1:])
    assert output.startswith("git could not undo this: git init")


def refusal(folder: Path, module: str, *arguments: str) -> str:
    rejected = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}:{folder}/functions:{folder}/layers/shared"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert rejected.returncode == 1, rejected.stdout
    return rejected.stderr


def test_a_resource_to_which_another_refers_stays(tmp_path: Path) -> None:
    folder = committed(tmp_path)
    assert "posts.user_id refers to users" in refusal(folder, "local.generate.remove", "users")
    assert "NAME=posts or users" in refusal(folder, "local.generate.remove", "things")
    assert run(["git", "status", "--porcelain"], folder) == ""
    (job := folder / "functions" / "nightly" / "handler.py").parent.mkdir()
    job.write_text("from shared.database.models import posts\n", encoding="utf-8")
    commit(folder)
    needed = "functions/nightly/handler.py uses posts: remove that first"
    assert needed in refusal(folder, "local.generate.remove", "posts")


@pytest.mark.shapes
@pytest.mark.parametrize("names", [["posts"], ["posts", "users"]], ids=",".join)
def test_resources_are_removed_one_after_the_other(tmp_path: Path, names: list[str]) -> None:
    folder = committed(tmp_path)
    for name in names:
        python(folder, "local.generate.remove", name)
        commit(folder)
    check(folder)


def test_the_removal_of_a_resource_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    """OpenAPI has tags, which many tests read; tables and names of the layer stay the layer's."""
    folder = committed(tmp_path)
    python(folder, "local.generate.resource", "tags", "--fields", "title:str")
    _edit(folder / MODELS, "    title: Named[str] = Column(Text)\n    created_at", PARENT)
    _edit(
        folder / "functions" / "tags" / "queries.py",
        "import tags\n",
        f"import ({OF_LAYER}, tags)\n",
    )
    make(folder, {"migration": "Parents"})
    commit(folder)
    python(folder, "local.generate.remove", "tags")
    left = run(["git", "diff", "--name-only", "HEAD^"], folder).split()
    changelog, *migrations = left
    assert changelog == "CHANGELOG.md"
    assert [name.partition("_")[2] for name in migrations] == ["tags.py", "parents.py"]


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
