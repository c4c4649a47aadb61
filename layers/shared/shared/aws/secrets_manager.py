"""Secrets Manager's GetSecretValue as one signed request."""

import json
import os
from urllib.parse import urlsplit

from shared.aws.credentials import current_credentials
from shared.aws.https import RequestFailed, request
from shared.aws.signing import Signer
from shared.tls import authorities, tls_context

DOMAINS = {
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}
"""By partition; the others use amazonaws.com."""


def fetch_secret(arn: str, timeout_seconds: float) -> str:
    """Return the text of the secret. Raises `RequestFailed` after two attempts.

    The first trusts Amazon's certificate authorities, which load faster, the second the system's.
    `timeout_seconds` applies to connecting, and to each wait for data.
    """
    url = endpoint(arn)
    parts = urlsplit(url)
    body = json.dumps({"SecretId": arn}).encode()
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    signer = Signer("secretsmanager", arn.split(":")[3], current_credentials())
    signed = signer.headers(parts.netloc, headers, body)

    def attempt(authority_file: str | None) -> bytes:
        tls = tls_context(authority_file) if parts.scheme == "https" else None
        return request("POST", url, signed, body, timeout_seconds=timeout_seconds, tls=tls)

    try:
        response = attempt(authorities(parts.hostname or ""))
    except RequestFailed:
        response = attempt(None)
    try:
        return str(json.loads(response)["SecretString"])
    except (ValueError, KeyError):
        raise RequestFailed("the secret holds no text") from None


def endpoint(arn: str) -> str:
    """Return the URL of Secrets Manager: from the environment, or in the secret's region."""
    for name in ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"):
        if url := os.environ.get(name):
            return url
    _, partition, _, region, _ = arn.split(":", 4)
    return f"https://secretsmanager.{region}.{DOMAINS.get(partition, 'amazonaws.com')}"
