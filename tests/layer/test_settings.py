"""Settings: every error names its variable and never shows its value."""

import pytest

from shared.settings import Settings, SettingsError, settings
from tests.conftest import Worker

SECRET = "postgresql://ada:tr0ub4dor@db.example.org/blog"

INVALID = [
    ("DATABASE_URL", "mysql://ada:tr0ub4dor@db.example.org/blog"),
    ("DATABASE_URL", "postgresql://ada:tr0ub4dor@db example"),
    ("DATABASE_URL", "postgresql://ada:tr0ub4dor@db.example.org:x/blog"),
    ("DATABASE_URL", "postgresql://ada:tr0ub4dor@db.example.org/blog?ssl=perhaps"),
    ("DATABASE_URL", "tr0ub4dor"),
    ("REDIS_URL", "http://:tr0ub4dor@cache.example.org"),
    ("REDIS_URL", "tr0ub4dor"),
    ("LOG_LEVEL", "tr0ub4dor"),
    ("REDIS_TIMEOUT_SECONDS", "tr0ub4dor"),
    ("REDIS_TIMEOUT_SECONDS", "0"),
    ("REDIS_TIMEOUT_SECONDS", "1.01"),
    ("REDIS_TIMEOUT_SECONDS", "nan"),
    ("REDIS_CONNECT_TIMEOUT_SECONDS", "0"),
    ("REDIS_CONNECT_TIMEOUT_SECONDS", "2.01"),
    ("DATABASE_CONNECT_TIMEOUT_SECONDS", "0"),
    ("DATABASE_CONNECT_TIMEOUT_SECONDS", "29"),
    ("DATABASE_CONNECT_TIMEOUT_SECONDS", "1.5"),
    ("DATABASE_AUTH", "tr0ub4dor"),
    ("REDIS_IAM_CACHE", "Tr0ub4dor"),
    ("REDIS_IAM_CACHE", "tr0ub4dor.example.org"),
    ("TLS_REQUIRED", "tr0ub4dor"),
    ("CACHE_KEY_PREFIX", "tr0ub4dor{"),
    ("CACHE_KEY_PREFIX", "tr0ub4dor " * 7),
    ("READ_LIMIT", "1"),  # it would have no burst
    ("WRITE_LIMIT", "1"),
    ("CACHE_TTL_SECONDS", "0"),
    ("CACHE_TTL_SECONDS", "3601"),
    ("CACHE_TTL_SECONDS", "-tr0ub4dor"),
]


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_a_malformed_variable_is_named_and_not_shown(worker: Worker, name: str, value: str) -> None:
    worker.restart(**{name: value})
    with pytest.raises(SettingsError) as raised:
        settings()

    assert str(raised.value).startswith(f"{name}: ")
    assert "tr0ub4dor" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("version", "is_accepted"), [(None, True), ("$LATEST", True), ("7", False)]
)
def test_only_an_unpublished_function_may_be_open(
    worker: Worker, version: str | None, is_accepted: bool
) -> None:
    """Callers of a deployment get a published version, whatever its variables are changed to."""
    worker.restart(AUTH="open", AWS_LAMBDA_FUNCTION_VERSION=version)
    if is_accepted:
        assert settings().auth == "open"
        return
    with pytest.raises(SettingsError, match=r"^AUTH: .* must require tokens"):
        settings()


def test_a_missing_database_url_is_named(worker: Worker) -> None:
    worker.restart(DATABASE_URL=None)
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: "):
        settings()


def test_every_invalid_variable_is_named(worker: Worker) -> None:
    worker.restart(DATABASE_URL=None, LOG_LEVEL="LOUD", CACHE_TTL_SECONDS="never")
    with pytest.raises(SettingsError) as raised:
        settings()

    for name in ("DATABASE_URL", "LOG_LEVEL", "CACHE_TTL_SECONDS"):
        assert name in str(raised.value)


def test_an_empty_variable_is_as_good_as_none(worker: Worker) -> None:
    worker.restart(REDIS_URL="", LOG_LEVEL="", CACHE_TTL_SECONDS="")
    assert settings().redis_url is None
    assert settings().log_level == "INFO"
    assert settings().cache_ttl_seconds == 60


def test_urls_are_not_shown_by_repr(worker: Worker) -> None:
    worker.restart(DATABASE_URL=SECRET, REDIS_URL="redis://:tr0ub4dor@cache.example.org")
    assert "tr0ub4dor" not in repr(settings())
    assert "tr0ub4dor" not in str(settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", SECRET),
        ("DATABASE_URL", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:blog-AbCdEf"),
        ("DATABASE_URL", "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:b-AbCd"),
        ("DATABASE_URL", "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:blog-AbCdEf"),
        ("REDIS_URL", "redis://cache.example.org:6379/0"),
        ("REDIS_URL", "rediss://:secret@cache.example.org:6379"),
        ("REDIS_URL", "unix:///run/valkey.sock?db=0"),
        ("REDIS_URL", "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:a-AbCdEf"),
        ("CACHE_KEY_PREFIX", "blog.staging-2:"),
        ("LOG_LEVEL", "DEBUG"),
        ("STAGE", "prod"),
    ],
)
def test_a_variable_is_read(worker: Worker, name: str, value: str) -> None:
    worker.restart(**{name: value})
    assert getattr(settings(), name.lower()) == value


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
