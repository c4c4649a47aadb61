"""Signatures are botocore's: tokens for PostgreSQL and ElastiCache, and signed requests."""

from datetime import UTC, datetime
from itertools import product
from typing import Any
from urllib.parse import parse_qs, quote

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.model import ServiceId
from botocore.signers import RequestSigner

from shared.aws import tokens
from shared.aws.credentials import Credentials, CredentialsUnavailable
from shared.aws.signing import Signer

REGIONS = ("eu-west-1", "us-east-1", "us-gov-west-1", "cn-north-1")
SUFFIXES = {"cn-north-1": "amazonaws.com.cn"}
USERS = ("blog_app", "Ada Lovelace", "o'brien+blog@example.org", "日本/%&=~")
KEYS = (
    Credentials("AKIDEXAMPLE", "secret/Key+1"),
    Credentials("ASIAEXAMPLE", "secret/Key+1=", "session/token+=="),
)
CASES = list(product(REGIONS, USERS, KEYS))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the environment's region and credentials; a session of botocore that has them."""

    def session_of(region: str, credentials: Credentials) -> Any:
        monkeypatch.setenv("AWS_REGION", region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", credentials.session_token or "")
        session = botocore.session.get_session()
        session.set_credentials(*credentials)
        return session

    return session_of


def parameters(token: str) -> dict[str, list[str]]:
    return parse_qs(token.partition("?")[2], strict_parsing=True)


def signed_at(token: str) -> datetime:
    (text,) = parameters(token)["X-Amz-Date"]
    return time_of(text)


def time_of(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time at which our signatures are made."""

    def set_time(at: datetime) -> None:
        monkeypatch.setattr("shared.aws.signing.now", lambda: at)

    return set_time


@pytest.mark.parametrize(("region", "user", "credentials"), CASES)
def test_a_database_token_is_botocores(
    aws: Any, clock: Any, region: str, user: str, credentials: Credentials
) -> None:
    session = aws(region, credentials)
    host = f"blog.cluster-abc.{region}.rds.{SUFFIXES.get(region, 'amazonaws.com')}"
    client = session.create_client("rds", region_name=region)
    theirs = client.generate_db_auth_token(host, 5432, user)
    clock(signed_at(theirs))

    ours = tokens.database_token(host, 5432, user)
    assert ours.startswith(f"{host}:5432/?")
    assert parameters(ours) == parameters(theirs)


@pytest.mark.parametrize(("region", "user", "credentials"), CASES)
def test_a_cache_token_is_botocores(
    aws: Any, clock: Any, region: str, user: str, credentials: Credentials
) -> None:
    session = aws(region, credentials)
    events = session.get_component("event_emitter")
    signer = RequestSigner(
        ServiceId("elasticache"), region, "elasticache", "v4", session.get_credentials(), events
    )
    request = {
        "method": "GET",
        "url": f"https://blog-cache/?Action=connect&User={quote(user, safe='')}",
        "body": {},
        "headers": {},
        "context": {},
    }
    theirs = signer.generate_presigned_url(
        request, operation_name="connect", expires_in=900, region_name=region
    )
    clock(signed_at(theirs))

    ours = tokens.cache_token("blog-cache", user)
    assert ours.startswith("blog-cache/?")
    assert parameters(ours) == parameters(theirs)


@pytest.mark.parametrize(("region", "user", "credentials"), CASES)
def test_a_signed_request_is_botocores(
    aws: Any, clock: Any, region: str, user: str, credentials: Credentials
) -> None:
    session = aws(region, credentials)
    host = f"secretsmanager.{region}.{SUFFIXES.get(region, 'amazonaws.com')}"
    body = user.encode()
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    theirs = AWSRequest("POST", f"https://{host}/", headers=dict(headers), data=body)
    SigV4Auth(session.get_credentials(), "secretsmanager", region).add_auth(theirs)
    clock(time_of(theirs.context["timestamp"]))

    ours = Signer("secretsmanager", region, credentials).headers(host, headers, body)
    assert ours["authorization"] == theirs.headers["Authorization"]


def test_a_token_without_a_region_is_an_error_that_names_it(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws("eu-west-1", KEYS[0])
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(CredentialsUnavailable, match="AWS_REGION"):
        tokens.cache_token("blog-cache", "blog")
