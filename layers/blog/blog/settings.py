"""Settings of the functions: environment variables, typed, read once per process.

Every field is one variable of the same name in capitals, and one row of docs/deployment.md's table
(a test holds the two together). A variable that is missing or malformed raises `SettingsError`,
which names it and never shows its value.
"""

import os
import re
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from blog.database_url import SCHEME, libpq_url

SECRET_ARN = "arn:aws[a-z-]*:secretsmanager:"  # noqa: S105
"""How the ARN of a secret begins, in any of AWS's partitions."""


class SettingsError(Exception):
    """An environment variable is missing or malformed; the message names it."""


def _libpq_url_or_secret(value: str) -> str:
    return value if re.match(SECRET_ARN, value) else libpq_url(value)


class Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=str.upper, populate_by_name=True, hide_input_in_errors=True
    )

    service: Annotated[
        str, Field(min_length=1, description="Function's name, in every log line and metric.")
    ] = "blog"
    stage: Annotated[
        str, Field(min_length=1, description="Deployment's name, in every log line and metric.")
    ] = "dev"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Field(description="Least level that is logged."),
    ] = "INFO"
    database_url: Annotated[
        str,
        Field(
            repr=False,
            pattern=rf"^({SCHEME}|{SECRET_ARN})\S+$",
            description="`postgresql://…`, `postgres://…` or `postgresql+driver://…`, or the ARN "
            "of a Secrets Manager secret that holds it.",
        ),
        AfterValidator(_libpq_url_or_secret),
    ]
    database_connect_timeout_seconds: Annotated[
        int, Field(ge=1, le=10, description="Longest wait for a new PostgreSQL connection.")
    ] = 3
    redis_url: Annotated[
        str | None,
        Field(
            repr=False,
            pattern=rf"^((rediss?|unix)://|{SECRET_ARN})\S+$",
            description="Primary of Redis or Valkey, cluster mode off, or the ARN of a Secrets "
            "Manager secret that holds it. Unset: nothing is cached.",
        ),
    ] = None
    redis_timeout_seconds: Annotated[
        float, Field(gt=0, le=1, description="Longest wait for one answer of Redis.")
    ] = 0.125
    cache_key_prefix: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_.:-]{0,64}$",
            description="Begins every key in Redis: another one, such as `staging:`, for each "
            "deployment that shares it.",
        ),
    ] = ""
    cache_ttl_seconds: Annotated[
        int, Field(ge=1, le=3600, description="Longest life of a cached page.")
    ] = 60
    idempotency_key_ttl_seconds: Annotated[
        int, Field(ge=1, le=2_592_000, description="Life of an `Idempotency-Key`.")
    ] = 86_400


@cache
def settings() -> Settings:
    """The process's settings.

    Raises `SettingsError` where the environment does not fit them.
    """
    try:
        return Settings.model_validate({name: value for name, value in os.environ.items() if value})
    except ValidationError as error:
        raise SettingsError("; ".join(map(_message, error.errors()))) from None


def _message(problem: ErrorDetails) -> str:
    return f"{problem['loc'][0]}: {problem['msg'].removeprefix('Value error, ')}"
