"""A Redis whose URL is in a secret, and whose password changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from shared import stored_secrets
from shared.cache.pages import Loaded, PageCache
from shared.cache.scripts import redis_scripts
from shared.request import Record
from tests.conftest import Worker
from tests.secrets_manager import Manager, new_secret
from tests.transactions import REQUEST
from tests.valkey import ValkeyServer


@dataclass
class RotatedRedis:
    """A Redis whose one user gets new passwords, and the secret with its URL."""

    server: ValkeyServer
    manager: Manager
    arn: str = ""

    def url(self, password: str) -> str:
        return f"redis://app:{password}@127.0.0.1:{self.server.port}/0"

    def change_password(self, password: str) -> None:
        """And end the connections that were made with the old one, as a restart would."""
        self.server.command(
            "ACL", "SETUSER", "app", "on", "resetpass", f">{password}", "~*", "+@all"
        )
        self.server.command("CLIENT", "KILL", "USER", "app")

    def change_secret(self, password: str) -> None:
        self.manager.put_secret_value(SecretId=self.arn, SecretString=self.url(password))


@pytest.fixture
def rotated(
    worker: Worker, manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RotatedRedis]:
    monkeypatch.setattr(stored_secrets, "REREAD_SECONDS", 0.0)
    with ValkeyServer(tmp_path / "valkey") as server:
        redis = RotatedRedis(server, manager)
        redis.change_password("first")
        redis.arn = new_secret(manager, redis.url("first"))
        worker.restart(REDIS_URL=redis.arn)
        yield redis
        worker.close()


class Things(BaseModel):
    data: list[int]


def cache_outcome(worker: Worker) -> str | None:
    """How a read of a page uses the cache."""

    async def load() -> Loaded:
        return Loaded(b"page", {"things": ""})

    REQUEST.record = record = Record()
    assert worker.run(PageCache("things", Things).fetch(REQUEST, "1:10", load)) == b"page"
    return record.cache


def test_a_changed_redis_password_is_read_again(worker: Worker, rotated: RotatedRedis) -> None:
    assert [cache_outcome(worker), cache_outcome(worker)] == ["miss", "hit"]
    for password in ("second", "third"):
        rotated.change_secret(password)
        rotated.change_password(password)
        assert cache_outcome(worker) == "hit"


def test_a_redis_password_that_the_secret_does_not_have_yet_disables_only_the_cache(
    worker: Worker, rotated: RotatedRedis
) -> None:
    rotated.change_password("second")
    assert [cache_outcome(worker), cache_outcome(worker)] == ["error", "bypass"]
    rotated.change_secret("second")
    redis_scripts().breaker.pause_seconds = 0.0
    redis_scripts().breaker.failed()
    assert cache_outcome(worker) == "miss"


@pytest.mark.parametrize("value", ["no URL of a Redis", "redis://127.0.0.1:port"])
def test_a_secret_without_a_redis_url_disables_only_the_cache(
    worker: Worker, rotated: RotatedRedis, value: str
) -> None:
    rotated.manager.put_secret_value(SecretId=rotated.arn, SecretString=value)
    assert cache_outcome(worker) == "error"


def test_an_unreadable_secret_disables_only_the_cache_and_is_logged(
    worker: Worker, rotated: RotatedRedis, capfd: pytest.CaptureFixture[str]
) -> None:
    rotated.manager.delete_secret(SecretId=rotated.arn, ForceDeleteWithoutRecovery=True)
    assert cache_outcome(worker) == "error"
    assert "the secret of REDIS_URL cannot be read" in capfd.readouterr().out
