"""The repository, for the commands that change it: `resource`, `remove` and `mine`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from local import ROOT
from shared.database.models import METADATA

FUNCTIONS = ROOT / "functions"
RESERVED = RESERVED_WORDS | {"collation", "concurrently", "lateral", "system_user", "tablesample"}
"""Words that PostgreSQL takes for no name unless they are quoted; SQLAlchemy knows most."""


class CommandError(Exception):
    """A command is rejected before anything is written; the message has the reason."""


def require_clean_tree() -> None:
    """Raise `CommandError` if git could not undo the changes."""
    changes = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if changes.returncode:
        raise CommandError(
            f"git could not undo this: git init, git add -A and git commit first\n{changes.stderr}"
        )
    if changes.stdout:
        raise CommandError(f"commit first, so that this can be undone:\n{changes.stdout}")


@contextmanager
def undone_if_it_fails() -> Iterator[None]:
    """Restore the tree, which was clean, if the block raises."""
    try:
        yield
    except BaseException:
        for command in (["restore", "--staged", "--worktree", "."], ["clean", "-fdq"]):
            subprocess.run(["git", *command], cwd=ROOT, check=True)
        print("A step failed, and all changes were undone.", file=sys.stderr)
        raise


def resources() -> list[str]:
    """Return the names of the functions that serve a table with the same name."""
    folders = (file.parent.name for file in FUNCTIONS.glob("*/routes.py"))
    return sorted(name for name in folders if name in METADATA.tables)


def listed_files() -> Iterator[Path]:
    """Yield the text files that are committed, or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for path in sorted(ROOT / name for name in listed.stdout.splitlines()):
        if path.is_file() and b"\0" not in path.read_bytes():
            yield path


def generate(root: Path, message: str) -> None:
    """Write a migration to the models, and the files that follow from the routes.

    The generators are processes of their own, as this one has imported the former models.
    """
    run_module(root, "local.generate.migration", message)
    run_module(root, "local.generate.derived")


def run_module(root: Path, module: str, *arguments: str) -> None:
    """Run a module on the files below `root`. Exits with its exit code if that is not 0."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=root, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def tidy() -> None:
    """Drop unused imports, and format the code."""
    for command in (["format", "--quiet"], ["check", "--fix", "--silent"]):
        subprocess.run([sys.executable, "-m", "ruff", *command], cwd=ROOT, check=False)
