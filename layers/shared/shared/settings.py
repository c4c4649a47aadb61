"""Settings of the functions: environment variables, typed, read once per process.

Every field is one variable of the same name in capitals, and one row of docs/settings.md's table
(a test compares the two). A variable that is missing or malformed raises `SettingsError`,
which names it but never shows its value.
"""

import os
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from shared.database_url import SCHEME, libpq_url
from shared.process import per_process

SECRET_ARN = "arn:aws[a-z-]*:secretsmanager:"  # noqa: S105
"""Matches the beginning of a secret's ARN, in any AWS partition."""


VERSION, UNPUBLISHED = "AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"
"""Lambda's variable with the function's version. `sam local` and the local gateway publish none."""
LOCAL_STAGE = "local"
"""The stage of functions on a developer's machine; the template allows no deployment with it."""


class SettingsError(Exception):
    """An environment variable is missing or malformed; the message names it."""


def _libpq_url_or_secret(value: str) -> str:
    return value if re.match(SECRET_ARN, value) else libpq_url(value)


class Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=str.upper, populate_by_name=True, hide_input_in_errors=True
    )

    service: Annotated[
        str, Field(min_length=1, description="Name of the function in log lines and metrics.")
    ] = "blog"
    stage: Annotated[
        str, Field(min_length=1, description="Name of the deployment in log lines and metrics.")
    ] = "dev"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Field(description="Minimum level of log messages."),
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
    database_auth: Annotated[
        Literal["password", "iam"],
        Field(
            description="Authentication of the user in `DATABASE_URL`: `iam` (RDS, Aurora and RDS "
            "Proxy) signs a token for each connection with the function's role."
        ),
    ] = "password"
    database_app_user: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z_][a-z0-9_]{0,55}$",
            description="Name of the role that the migrations create for the functions, with the "
            "rights that they need. A second role, whose name ends with `_health`, has no rights "
            "on tables. Unset: no role is created.",
        ),
    ] = None
    database_connect_timeout_seconds: Annotated[
        int, Field(ge=1, le=28, description="Maximum time to connect to PostgreSQL.")
    ] = 3
    database_pauses: Annotated[
        bool,
        Field(
            description="Whether the database pauses when idle: then `/health` does not query it, "
            "which would keep it awake."
        ),
    ] = False
    redis_url: Annotated[
        str | None,
        Field(
            repr=False,
            pattern=rf"^((rediss?|unix)://|{SECRET_ARN})\S+$",
            description="URL of the Redis or Valkey primary, cluster mode off, or the ARN of a "
            "Secrets Manager secret that holds it. Unset: nothing is cached.",
        ),
    ] = None
    redis_iam_cache: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z][a-z0-9-]{0,39}$",
            description="Name of the ElastiCache replication group, for IAM authentication of the "
            "user in `REDIS_URL`. Unset: the URL's password is used, if any.",
        ),
    ] = None
    redis_timeout_seconds: Annotated[
        float, Field(gt=0, le=1, description="Maximum time to wait for a response from Redis.")
    ] = 0.125
    redis_connect_timeout_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=2,
            description="Maximum time to connect to Redis, with TLS and authentication: once a "
            "minute in each execution environment.",
        ),
    ] = 0.5
    tls_required: Annotated[
        bool,
        Field(
            description="Whether connections must use TLS with verified certificates and host "
            "names, or a Unix socket. `false`, for local servers: the URLs decide."
        ),
    ] = True
    auth: Annotated[
        Literal["required", "open"],
        Field(
            description="`required`: only callers with a token may do what their roles allow. "
            "`open`, on a developer's machine: any caller may do everything. Published versions, "
            "which a deployment serves, reject it."
        ),
    ] = "required"
    token_issuer: Annotated[
        str, Field(pattern=r"^(https?://\S+)?$", description="Issuer of the tokens: their `iss`.")
    ] = ""
    token_audience: Annotated[
        str,
        Field(
            description="Audiences, separated by spaces. The `aud` of a token, or its `client_id` "
            "if it has no `aud`, must be one of them."
        ),
    ] = ""
    roles_claim: Annotated[
        str,
        Field(
            min_length=1,
            description="Claim with the names of the caller's roles, `author` and `admin`: an "
            "array, or one name.",
        ),
    ] = "roles"
    role_prefix: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_.:/-]{0,64}$",
            description="Prefix of the names of roles in tokens: "
            "with `blog:` an administrator has `blog:admin`. "
            "It distinguishes roles from a directory's groups.",
        ),
    ] = ""
    public_reads: Annotated[
        bool, Field(description="Whether reads need no token, even if `AUTH` is `required`.")
    ] = False
    domain_name: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9.-]+$",
            description="The API's own host name; requests to it have the base path `BASE_PATH`.",
        ),
        AfterValidator(lambda name: name and name.lower()),
    ] = None
    base_path: Annotated[
        str | None,
        Field(
            pattern=r"^(/[A-Za-z0-9._~-]+)+$",
            description="Path of the API's mapping at `DOMAIN_NAME`, such as `/v1`, for links in "
            "responses. A stage's path is taken from the request.",
        ),
    ] = None
    require_if_match: Annotated[
        bool,
        Field(
            description="Whether PUT, PATCH and DELETE need the header `If-Match`, so that no "
            "change overwrites another."
        ),
    ] = False
    read_limit: Annotated[
        int | None,
        Field(
            ge=2,
            le=1_000_000,
            description="Maximum reads of a caller in any window. Unset: no limit.",
        ),
    ] = None
    read_burst: Annotated[
        int | None,
        Field(
            ge=1,
            description="How many of a caller's reads may arrive at once; less than `READ_LIMIT`. "
            "Unset: half of it.",
        ),
    ] = None
    write_limit: Annotated[
        int | None,
        Field(
            ge=2,
            le=1_000_000,
            description="Maximum writes of a caller in any window. Unset: no limit.",
        ),
    ] = None
    write_burst: Annotated[
        int | None,
        Field(
            ge=1,
            description="How many of a caller's writes may arrive at once; less than "
            "`WRITE_LIMIT`. Unset: half of it.",
        ),
    ] = None
    limit_window_seconds: Annotated[
        int, Field(ge=1, le=86_400, description="Length of the limits' window.")
    ] = 60
    cache_key_prefix: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_.:-]{0,64}$",
            description="Prefix of all keys in Redis, such as `staging:`; a different one in each "
            "deployment that shares the Redis.",
        ),
    ] = ""
    cache_ttl_seconds: Annotated[
        int, Field(ge=1, le=3600, description="Maximum lifetime of a cached page.")
    ] = 60
    idempotency_key_ttl_seconds: Annotated[
        int, Field(ge=1, le=2_592_000, description="Lifetime of an `Idempotency-Key`.")
    ] = 86_400
    audit_retention_days: Annotated[
        int,
        Field(ge=0, le=36_500, description="Lifetime of the audit log's rows; 0 for no audit log."),
    ] = 365


@per_process
def settings() -> Settings:
    """Return the process's settings. Raises `SettingsError`."""
    try:
        found = Settings.model_validate(
            {name: value for name, value in os.environ.items() if value}
        )
    except ValidationError as error:
        raise SettingsError("; ".join(map(_message, error.errors()))) from None
    if found.auth == "open" and os.environ.get(VERSION, UNPUBLISHED) != UNPUBLISHED:
        raise SettingsError("AUTH: a published version of a function must require tokens")
    return found


def _message(problem: ErrorDetails) -> str:
    return f"{problem['loc'][0]}: {problem['msg'].removeprefix('Value error, ')}"
