"""`make migration`; docs/adding-a-resource.md, which a test carries out, writes one with it."""

import sys

import pytest

from local.generate import migration
from tests.resources import ROOT

VERSIONS = ROOT / "functions" / "migrations" / "versions"


@pytest.mark.parametrize("message", ["", " "])
def test_a_migration_without_a_message_is_not_written(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["migration", message])
    before = sorted(VERSIONS.iterdir())
    with pytest.raises(SystemExit, match="MESSAGE"):
        migration.main()
    assert sorted(VERSIONS.iterdir()) == before
