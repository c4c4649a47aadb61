"""Credentials of the environment, and of the endpoint of containers."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from botocore.utils import ContainerMetadataFetcher

from shared.aws import credentials
from shared.aws.credentials import (
    ContainerCredentials,
    Credentials,
    CredentialsUnavailable,
    current_credentials,
)
from shared.process import reset
from tests.event_loop import run

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
CONTAINER = "AWS_CONTAINER_CREDENTIALS"
TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
ALLOWED_HOSTS = vars(ContainerMetadataFetcher)["_ALLOWED_HOSTS"]


class Endpoint(HTTPServer):
    """As in a container: new credentials for each request that has the token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EndpointRequest)
        self.token = "first token"
        self.valid_for = timedelta(hours=1)
        self.statuses: list[int] = []
        self.paths: list[str] = []
        self.rejection = b'{"code": "AccessDenied", "message": "s3cret"}'
        self.body: bytes | None = None
        """Returned in place of credentials."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def response(self, authorization: str | None) -> tuple[int, bytes]:
        if authorization != self.token:
            return 403, self.rejection
        if self.body is not None:
            return 200, self.body
        expires_at = datetime.now(UTC) + self.valid_for
        number = len(self.statuses)
        found = {
            "AccessKeyId": f"ASIA{number}",
            "SecretAccessKey": f"secret{number}",
            "Token": f"session{number}",
            "Expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return 200, json.dumps(found).encode()


class EndpointRequest(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        status, body = self.server.response(self.headers["Authorization"])
        self.server.statuses.append(status)
        self.server.paths.append(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _without_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*KEYS, f"{CONTAINER}_FULL_URI", f"{CONTAINER}_RELATIVE_URI", TOKEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(f"{TOKEN}_FILE", raising=False)
    run(reset())
    yield
    run(reset())


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """The environment has this endpoint's address, and the token that it requires."""
    with Endpoint() as server:
        monkeypatch.setenv(f"{CONTAINER}_FULL_URI", f"{server.address}/full?of=blog")
        monkeypatch.setenv(TOKEN, server.token)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_environments_credentials_need_no_endpoint(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(KEYS, ("key", "secret", "session"), strict=True):
        monkeypatch.setenv(name, value)
    assert current_credentials() == Credentials("key", "secret", "session")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")
    assert current_credentials() == Credentials("key", "secret")
    assert endpoint.statuses == []


def test_the_endpoints_credentials_are_kept_until_they_expire(endpoint: Endpoint) -> None:
    first = Credentials("ASIA0", "secret0", "session0")
    assert [current_credentials(), current_credentials()] == [first, first]
    assert endpoint.statuses == [200]


def test_a_relative_address_precedes_a_full_one(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    current_credentials()
    run(reset())
    monkeypatch.setattr(credentials, "CONTAINER_HOST", endpoint.address)
    monkeypatch.setenv(f"{CONTAINER}_RELATIVE_URI", "/relative")
    current_credentials()
    assert endpoint.paths == ["/full?of=blog", "/relative"]


def test_credentials_that_expire_soon_are_renewed(endpoint: Endpoint) -> None:
    endpoint.valid_for = timedelta(minutes=4)
    assert current_credentials().access_key == "ASIA0"
    assert current_credentials().access_key == "ASIA1"
    endpoint.valid_for = timedelta(minutes=6)
    assert current_credentials().access_key == "ASIA2"
    assert current_credentials().access_key == "ASIA2"


def test_the_tokens_file_is_read_for_each_request_and_precedes_the_token(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv(f"{TOKEN}_FILE", str(file))
    endpoint.valid_for = timedelta()
    for token in ("one", "two"):
        file.write_text(token)
        endpoint.token = token
        current_credentials()
    assert endpoint.statuses == [200, 200]


def test_an_endpoint_that_rejects_is_an_error_without_its_text(endpoint: Endpoint) -> None:
    endpoint.token = "another"
    with pytest.raises(CredentialsUnavailable, match="status 403 AccessDenied") as raised:
        current_credentials()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("rejection", [b"", b"s3cret", b"\xff", b'["s3cret"]', b'{"code": null}'])
def test_a_rejection_without_a_code_is_an_error_too(endpoint: Endpoint, rejection: bytes) -> None:
    endpoint.token, endpoint.rejection = "another", rejection
    with pytest.raises(CredentialsUnavailable, match=r"status 403 $"):
        current_credentials()


@pytest.mark.parametrize("token", ["one\nX-Other: header", "one\r\n"])
def test_a_token_that_is_not_a_valid_header_is_an_error(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv(TOKEN, token)
    with pytest.raises(CredentialsUnavailable, match="endpoint failed") as raised:
        current_credentials()
    assert "one" not in str(raised.value)
    assert endpoint.statuses == []


@pytest.mark.parametrize("body", [b"", b"\xff", b"{}", b"[]", b"null", b'{"AccessKeyId": 1}'])
def test_a_response_without_credentials_is_an_error(endpoint: Endpoint, body: bytes) -> None:
    endpoint.body = body
    with pytest.raises(CredentialsUnavailable, match="endpoint failed"):
        current_credentials()


def test_a_response_that_is_not_http_is_asked_for_again(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    garble = iter([True, False])
    send = EndpointRequest.send_response
    monkeypatch.setattr(
        EndpointRequest,
        "send_response",
        lambda self, status: self.wfile.write(b"x\n") if next(garble) else send(self, status),
    )
    assert current_credentials().access_key == "ASIA1"


def test_a_tokens_file_that_is_not_there_is_an_error(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{TOKEN}_FILE", str(tmp_path / "none"))
    with pytest.raises(CredentialsUnavailable, match="FileNotFound"):
        current_credentials()
    assert endpoint.statuses == []


@pytest.mark.parametrize("given", KEYS[:2])
def test_half_of_a_pair_of_keys_is_not_used(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv(given, "testing")
    assert current_credentials() == Credentials("ASIA0", "secret0", "session0")


def test_an_endpoint_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{CONTAINER}_FULL_URI", "http://localhost:1/")
    with pytest.raises(CredentialsUnavailable, match="ConnectionRefused"):
        current_credentials()


def test_no_secret_is_asked_for_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{CONTAINER}_FULL_URI", "http://credentials.example.org/")
    with pytest.raises(CredentialsUnavailable, match=r"credentials\.example\.org without TLS"):
        current_credentials()


@pytest.mark.parametrize("host", [*ALLOWED_HOSTS, "127.0.0.2", "::1"])
def test_the_hosts_of_botocore_are_asked_without_tls(host: str) -> None:
    ContainerCredentials(f"http://{f'[{host}]' if ':' in host else host}/")
    ContainerCredentials("https://credentials.example.org/")


def test_without_credentials_there_is_an_error() -> None:
    with pytest.raises(CredentialsUnavailable, match="no AWS credentials"):
        current_credentials()
