"""What the commands that change the repository share."""

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.generate import repository

IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", *IDENTITY, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_failed_command_leaves_the_tree_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without new files, with the deleted and the ignored ones; whatever was staged meanwhile."""
    (tmp_path / ".gitignore").write_text(".venv\n")
    for name in ("changed", "deleted", "staged"):
        (tmp_path / name).write_text("before")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "All")
    monkeypatch.setattr(repository, "ROOT", tmp_path)

    def change() -> None:
        (tmp_path / "changed").write_text("after")
        (tmp_path / "deleted").unlink()
        (tmp_path / "staged").write_text("after")
        git(tmp_path, "add", "staged")
        (tmp_path / "new" / "folder").mkdir(parents=True)
        (tmp_path / "new" / "folder" / "file").touch()
        (tmp_path / ".venv").touch()
        raise SystemExit(1)

    with pytest.raises(SystemExit), repository.undone_if_it_fails():
        change()
    assert git(tmp_path, "status", "--porcelain") == ""
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".git", ".gitignore", ".venv", "changed", "deleted", "staged"}


def test_all_reserved_words_of_postgresql_are_reserved(
    database: psycopg.Connection[Any],
) -> None:
    words = database.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
    assert {word for (word,) in words} <= repository.RESERVED
