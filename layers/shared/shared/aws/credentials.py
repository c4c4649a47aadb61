"""The credentials of the function's role.

Lambda sets them in the environment (`AWS_ACCESS_KEY_ID`, …). With SnapStart it provides them at the
endpoint in `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `…_FULL_URI`, which requires the token in
`AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` (it changes) or `…_TOKEN`; these credentials expire. The
rules are those of botocore's "Container provider".
"""

import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from shared.aws.https import RequestFailed, request
from shared.process import per_process

TIMEOUT_SECONDS = 2.0
"""There are two attempts."""
RENEW_BEFORE = timedelta(minutes=5)
"""A signature must still be valid when it is used."""
CONTAINER_HOST = "http://169.254.170.2"
PLAIN_HOSTS = ("localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23")
"""Hosts from which credentials are accepted without TLS, besides loopback addresses."""


class CredentialsUnavailable(RequestFailed):
    """There are no credentials; the message never contains their values."""


class Credentials(NamedTuple):
    access_key: str
    secret_key: str
    session_token: str | None = None


class ContainerCredentials:
    """Credentials from the endpoint, renewed before they expire."""

    def __init__(self, url: str) -> None:
        host = urlsplit(url).hostname or ""
        if not (url.startswith("https://") or host in PLAIN_HOSTS or _is_loopback(host)):
            raise CredentialsUnavailable(f"credentials come from {host} without TLS")
        self._url = url
        self._credentials = Credentials("", "")
        self._expires_at = datetime.min.replace(tzinfo=UTC)

    def current(self) -> Credentials:
        """Return credentials valid for `RENEW_BEFORE`. Raises `CredentialsUnavailable`."""
        if datetime.now(UTC) + RENEW_BEFORE > self._expires_at:
            self._credentials, self._expires_at = self._fetch()
        return self._credentials

    def _fetch(self) -> tuple[Credentials, datetime]:
        try:
            found = json.loads(self._response())
            keys = (found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
            return Credentials(*keys), datetime.fromisoformat(found["Expiration"])
        except (RequestFailed, OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CredentialsUnavailable(f"the credentials' endpoint failed: {reason}") from error

    def _response(self) -> bytes:
        headers = {"Accept": "application/json"} | _authorization()
        attempt = partial(request, "GET", self._url, headers, timeout_seconds=TIMEOUT_SECONDS)
        try:
            return attempt()
        except RequestFailed:
            return attempt()


def current_credentials() -> Credentials:
    """Return credentials valid for minutes. Blocks during a request for new ones.

    Raises `CredentialsUnavailable`.
    """
    access_key = os.environ.get("AWS_ACCESS_KEY_ID")
    secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        return Credentials(access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None)
    return container_credentials().current()


@per_process
def container_credentials() -> ContainerCredentials:
    if path := os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return ContainerCredentials(CONTAINER_HOST + path)
    if url := os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return ContainerCredentials(url)
    raise CredentialsUnavailable("the environment has no AWS credentials")


def _authorization() -> dict[str, str]:
    if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        return {"Authorization": Path(file).read_text(encoding="utf-8")}
    if token := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        return {"Authorization": token}
    return {}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
