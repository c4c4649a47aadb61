"""Settings that AWS Secrets Manager keeps: the ARN of a secret, in place of a URL.

    url = secret_value(setting) if is_secret(setting) else setting

The caller keeps the value, and asks again when a server rejects it: after a rotation the secret
holds another one. Asking is cheap then, as Secrets Manager is called at most once in
`REREAD_SECONDS`, whether it responds or not.
"""

import re
from functools import cache
from time import monotonic

from blog.settings import SECRET_ARN

REREAD_SECONDS = 2.0
"""Between two calls for one secret; so long a value may be out of date after a rotation."""
TIMEOUT_SECONDS = 1
"""Of Secrets Manager, to connect and again to respond, each for one of two attempts."""


class SecretUnavailable(Exception):
    """Secrets Manager does not respond, or not with the secret; the message has no value."""


class Secret:
    """The value of one secret, and when it was asked for."""

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._value: str | None = None
        self._asked_at: float | None = None

    def value(self) -> str:
        """The value, at most `REREAD_SECONDS` old. Raises `SecretUnavailable`."""
        now = monotonic()
        if self._asked_at is None or now - self._asked_at >= REREAD_SECONDS:
            self._asked_at = now
            self._value = _fetch(self._arn)
        if self._value is None:
            raise SecretUnavailable("the secret could not be read a moment ago")
        return self._value


def is_secret(setting: str) -> bool:
    """Whether the setting is the ARN of a secret, in any of AWS's partitions."""
    return re.match(SECRET_ARN, setting) is not None


def secret_value(arn: str) -> str:
    """What the secret holds, at most `REREAD_SECONDS` old. Raises `SecretUnavailable`.

    The call to AWS blocks: an execution environment has one request, which cannot go on without.
    """
    return secret(arn).value()


@cache
def secret(arn: str) -> Secret:
    return Secret(arn)


def _fetch(arn: str) -> str:
    # Imported here: a cold start whose settings are plain has no use for it.
    from blog.aws.http import RequestFailed
    from blog.aws.secrets_manager import fetch_secret

    try:
        return fetch_secret(arn, TIMEOUT_SECONDS)
    except RequestFailed as error:
        raise SecretUnavailable(str(error)) from error
