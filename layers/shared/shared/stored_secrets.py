"""Settings in AWS Secrets Manager: a URL may be given as the ARN of a secret.

    url = secret_value(setting) if is_secret(setting) else setting

The caller keeps the value, and reads it again when a server rejects it, as after a rotation.
Secrets Manager is called at most once in `REREAD_SECONDS`, whether it responds or not.
"""

import re
from math import inf
from time import monotonic

from shared.process import per_process
from shared.settings import SECRET_ARN

REREAD_SECONDS = 2.0
"""Minimum time between two calls for one secret; after a rotation a value may be that old."""
TIMEOUT_SECONDS = 1
"""For connecting to Secrets Manager, and again for its response; there are two attempts."""


class SecretUnavailable(Exception):
    """The secret could not be read; the message never contains its value."""


def is_secret(setting: str) -> bool:
    """Whether the setting is the ARN of a secret, in any AWS partition."""
    return re.match(SECRET_ARN, setting) is not None


def secret_value(arn: str) -> str:
    """Return the secret's value, at most `REREAD_SECONDS` old. Raises `SecretUnavailable`.

    The call to AWS blocks, as the environment's only request needs the value.
    """
    read_at, value = _reads().get(arn, (-inf, None))
    if (now := monotonic()) - read_at >= REREAD_SECONDS:
        _reads()[arn] = now, value
        value = _fetch(arn)
        _reads()[arn] = now, value
    if value is None:
        raise SecretUnavailable("the secret could not be read a moment ago")
    return value


@per_process
def _reads() -> dict[str, tuple[float, str | None]]:
    """Return the time of each secret's last read, and its value, None before a successful one."""
    return {}


def _fetch(arn: str) -> str:
    # Imported here, as a cold start without secrets does not need them.
    from shared.aws.https import RequestFailed
    from shared.aws.secrets_manager import fetch_secret

    try:
        return fetch_secret(arn, TIMEOUT_SECONDS)
    except RequestFailed as error:
        raise SecretUnavailable(str(error)) from error
