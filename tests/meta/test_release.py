"""A release has one version, that of pyproject.toml, and the notes of CHANGELOG.md."""

import json
from pathlib import Path

import pytest

from local.generate import release
from local.generate.openapi import OPENAPI_FILE, PROJECT

CHANGELOG = """# Changelog

## Unreleased

- Later.

## 1.10.0 - 2026-01-02

### Added

- A thing.

## 1.1.0

- First.
"""


def test_the_document_has_the_projects_version() -> None:
    document = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
    assert document["info"]["version"] == PROJECT["version"]


@pytest.mark.parametrize(
    ("version", "notes"), [("1.10.0", "### Added\n\n- A thing.\n"), ("1.1.0", "- First.\n")]
)
def test_the_notes_are_the_versions_section(version: str, notes: str) -> None:
    assert release.notes_of(version, CHANGELOG) == notes


@pytest.mark.parametrize("version", ["1.1", "10.0", "2.0.0"])
def test_a_version_without_a_section_is_rejected(version: str) -> None:
    with pytest.raises(LookupError, match=f"has no section {version}"):
        release.notes_of(version, CHANGELOG)


def test_a_tag_that_is_not_the_version_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "DIST", tmp_path / "dist")
    with pytest.raises(SystemExit, match=r"The tag is v9\.9\.9, and the version in pyproject.toml"):
        release.main(["v9.9.9"])
    assert not release.DIST.exists()
