"""Tests of the webhook that docs/recipes.md adds; they are run in the copy."""

import hmac
import json
from base64 import b64encode
from collections.abc import Callable
from time import time
from typing import Any

import httpx
import psycopg
import pytest

from tests.auth.claims import REQUIRED
from tests.conftest import Worker
from tests.in_process import client_of
from tests.secrets_manager import Manager, aws_endpoint, manager, new_secret  # noqa: F401

Database = psycopg.Connection[Any]
Deliver = Callable[..., httpx.Response]
KEY = b"a key of at least 24 bytes"
USERS = (
    "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org'), ('Bob', 'b@example.org')"
)
SECRET = f"whsec_{b64encode(KEY).decode()}"
MAIL = {"user_id": 1, "title": "On engines", "content": "By mail."}


@pytest.fixture
def deliver(worker: Worker, database: Database, cache: object) -> Deliver:
    """Return what sends a signed mail to an API that requires tokens, with these changes."""
    worker.restart(**REQUIRED, WEBHOOK_SECRET=SECRET)
    database.execute(USERS)

    def deliver(
        delivery: str = "one", *, age: float = 0, key: bytes = KEY, **changed: str
    ) -> httpx.Response:
        body, sent_at = json.dumps(MAIL), str(int(time() - age))
        signed = hmac.digest(key, f"{delivery}.{sent_at}.{body}".encode(), "sha256")
        signature = (
            f"v1,{b64encode(b'of an older secret').decode()} v1,{b64encode(signed).decode()}"
        )
        headers = {"id": delivery, "timestamp": sent_at, "signature": signature, **changed}
        content = headers.pop("body", body)
        with client_of() as service:
            return service.post(
                "/webhooks/mails",
                content=content,
                headers={"Content-Type": "application/json"}
                | {f"webhook-{name}": value for name, value in headers.items()},
            )

    return deliver


def posts(database: Database) -> list[int]:
    """The authors of all posts."""
    return [author for (author,) in database.execute("SELECT user_id FROM posts ORDER BY id")]


def test_a_signed_mail_becomes_one_post_however_often_it_is_delivered(
    deliver: Deliver, database: Database
) -> None:
    for delivery in ("one", "two", "one", "one"):
        assert deliver(delivery).status_code == 204
    assert posts(database) == [1, 1]


@pytest.mark.parametrize(
    "changed",
    [
        {"key": b"another key"},
        {"key": b""},
        {"age": 301},
        {"age": -301},
        {"id": "another"},
        {"timestamp": "2000000000"},
        {"timestamp": ""},
        {"signature": ""},
        {"signature": "v1,"},
        {"body": json.dumps(MAIL | {"user_id": 2})},
        {"body": json.dumps(MAIL) + " "},
    ],
    ids=str,
)
def test_a_request_without_a_fresh_signature_changes_nothing(
    deliver: Deliver, database: Database, changed: dict[str, Any]
) -> None:
    assert deliver(**changed).status_code == 401
    assert posts(database) == []
    assert deliver().status_code == 204


def test_without_a_secret_nothing_is_accepted(worker: Worker, deliver: Deliver) -> None:
    worker.restart(WEBHOOK_SECRET=None)
    assert [deliver(key=key).status_code for key in (KEY, b"")] == [401, 401]


def test_a_mail_that_failed_becomes_a_post_when_it_is_delivered_again(
    deliver: Deliver, database: Database
) -> None:
    database.execute("ALTER TABLE posts ADD CONSTRAINT no_posts CHECK (id < 1)")
    try:
        assert deliver().status_code == 500
    finally:
        database.execute("ALTER TABLE posts DROP CONSTRAINT no_posts")
    assert deliver().status_code == 204
    assert posts(database) == [1]


def test_a_mail_voids_pages_and_its_post_is_in_the_audit_log(
    worker: Worker, deliver: Deliver, api: httpx.Client, database: Database
) -> None:
    worker.restart(AUTH="open")
    assert api.get("/posts").json()["total"] == 0
    assert deliver().status_code == 204
    assert api.get("/posts").json()["total"] == 1
    logged = database.execute("SELECT subject, action, resource, resource_id FROM audit_log")
    assert logged.fetchall() == [(None, "receive_mail", "posts", 1)]


def test_the_secret_may_be_in_secrets_manager(
    worker: Worker,
    deliver: Deliver,
    manager: Manager,  # noqa: F811
) -> None:
    worker.restart(WEBHOOK_SECRET=new_secret(manager, SECRET))
    assert deliver().status_code == 204
    assert deliver("two", key=b"another key").status_code == 401
