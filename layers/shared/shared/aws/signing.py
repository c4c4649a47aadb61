"""AWS Signature Version 4 of presigned URLs and of request headers.

Source: AWS's IAM User Guide, "Create a signed AWS API request". Tests compare it with botocore.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from shared.aws.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Signer:
    """Signs requests to a service, such as `rds-db`, in a region."""

    service: str
    region: str
    credentials: Credentials

    def url(self, host: str, query: Mapping[str, str], valid_seconds: int) -> str:
        """Return the presigned `host/?…` of a GET request."""
        time = now().strftime("%Y%m%dT%H%M%SZ")
        signed = {
            **query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.credentials.access_key}/{self._scope(time)}",
            "X-Amz-Date": time,
            "X-Amz-Expires": str(valid_seconds),
            "X-Amz-SignedHeaders": "host",
        }
        if self.credentials.session_token:
            signed["X-Amz-Security-Token"] = self.credentials.session_token
        text = "&".join(f"{_quoted(name)}={_quoted(signed[name])}" for name in sorted(signed))
        signature = self._signature(time, "GET", text, {"host": host}, b"")
        return f"{host}/?{text}&X-Amz-Signature={signature}"

    def headers(self, host: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return the headers of a POST request to `/`, signed; names are in lower case."""
        time = now().strftime("%Y%m%dT%H%M%SZ")
        signed = {**headers, "host": host, "x-amz-date": time}
        if self.credentials.session_token:
            signed["x-amz-security-token"] = self.credentials.session_token
        parts = {
            "Credential": f"{self.credentials.access_key}/{self._scope(time)}",
            "SignedHeaders": ";".join(sorted(signed)),
            "Signature": self._signature(time, "POST", "", signed, body),
        }
        values = ", ".join(f"{name}={value}" for name, value in parts.items())
        return signed | {"authorization": f"{ALGORITHM} {values}"}

    def _scope(self, time: str) -> str:
        return f"{time[:8]}/{self.region}/{self.service}/aws4_request"

    def _signature(
        self, time: str, method: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> str:
        names = sorted(headers)
        lines = [f"{name}:{headers[name]}" for name in names]
        request = [method, "/", query, *lines, "", ";".join(names), sha256(body).hexdigest()]
        digest = sha256("\n".join(request).encode()).hexdigest()
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in self._scope(time).split("/"):
            key = _hmac(key, part)
        return _hmac(key, "\n".join([ALGORITHM, time, self._scope(time), digest])).hex()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def now() -> datetime:
    return datetime.now(UTC)


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
