"""The endpoint of Secrets Manager, and responses without a text."""

import json
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import botocore
import pytest

from shared import tls
from shared.aws import secrets_manager
from shared.aws.https import RequestFailed
from shared.aws.secrets_manager import endpoint, fetch_secret
from tests.certificates import make_certificate
from tests.secrets_manager import Manager, new_secret

PARTITIONS = json.loads(
    (Path(botocore.__file__).parent / "data" / "partitions.json").read_text(encoding="utf-8")
)["partitions"]
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: partition["id"])
def test_the_secrets_region_is_asked_in_every_partition(
    partition: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    outputs = partition["outputs"]
    assert isinstance(outputs, dict)
    region = outputs["implicitGlobalRegion"]
    arn = f"arn:{partition['id']}:secretsmanager:{region}:123456789012:secret:db-AbCdEf"
    assert endpoint(arn) == f"https://secretsmanager.{region}.{outputs['dnsSuffix']}"


def test_the_environment_names_another_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert endpoint(ARN) == "http://localhost:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://localhost:2")
    assert endpoint(ARN) == "http://localhost:2"


def test_text_of_any_alphabet_is_read(manager: Manager) -> None:
    assert fetch_secret(new_secret(manager, "pässwörd 日本"), 1.0) == "pässwörd 日本"


def test_a_binary_secret_is_an_error(manager: Manager) -> None:
    arn = manager.create_secret(Name="binary", SecretBinary=b"s3cret")["ARN"]
    with pytest.raises(RequestFailed, match="holds no text"):
        fetch_secret(arn, 1.0)


@pytest.mark.usefixtures("manager")
def test_an_endpoint_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(RequestFailed, match="ConnectionRefused"):
        fetch_secret(ARN, 1.0)


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_endpoint_that_does_not_respond_is_an_error_in_time(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(RequestFailed, match="TimeoutError"):
            fetch_secret(ARN, 0.05)


@pytest.mark.usefixtures("manager")
def test_an_error_does_not_quote_a_header_that_cannot_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "s3cret\n")
    with pytest.raises(RequestFailed, match=r"^ValueError$"):
        fetch_secret(ARN, 1.0)


class SecretsManager(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"SecretString": "value"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one that has certified the endpoint of the environment."""
    file, certificate = tmp_path / "authority.pem", tmp_path / "certificate.pem"
    make_certificate(file, certificate, "127.0.0.1", None)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with HTTPServer(("127.0.0.1", 0), SecretsManager) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield file
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize(
    ("amazons", "systems", "is_read"), [(1, 0, True), (0, 1, True), (0, 0, False)]
)
def test_amazons_authorities_are_trusted_first_and_then_the_systems(
    authority: Path, monkeypatch: pytest.MonkeyPatch, *, amazons: int, systems: int, is_read: bool
) -> None:
    files = (tls.CERTIFICATES / "amazon.pem", authority)
    monkeypatch.setattr(secrets_manager, "authorities", {"127.0.0.1": str(files[amazons])}.get)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[systems]))
    tls.tls_context.cache_clear()
    if is_read:
        assert fetch_secret(ARN, 1.0) == "value"
    else:
        with pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"):
            fetch_secret(ARN, 1.0)
    tls.tls_context.cache_clear()
