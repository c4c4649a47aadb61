"""How the template takes the URLs of PostgreSQL and Redis, and what functions may read for them."""

import re
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from local.template import load_template
from shared.settings import Settings
from tests.template.stacks import Stack

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
DOCUMENT: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
URL_PARAMETERS = {"DatabaseUrl": "database_url", "RedisUrl": "redis_url"}
ACCOUNT = "eu-west-1:123456789012"
DATABASE_SECRET = f"arn:aws:secretsmanager:{ACCOUNT}:secret:database-AbCdEf"
REDIS_SECRET = f"arn:aws:secretsmanager:{ACCOUNT}:secret:redis-AbCdEf"
URLS = {"DatabaseUrl": "postgresql://u:p@db/blog", "RedisUrl": "rediss://:p@cache"}


def stack(**parameters: str) -> Stack:
    return Stack(**URLS | parameters)


def policies(made: Stack, function: str) -> list[str]:
    """The policies of the stack that the function has, in lower case."""
    attached = made.properties(f"{function}Role")["ManagedPolicyArns"]
    return [policy for policy in attached if not policy.startswith("arn:")]


def statements(**parameters: str) -> Any:
    """What the functions' policy allows."""
    return stack(**parameters).properties("ServerAccess")["PolicyDocument"]["Statement"]


def test_urls_with_passwords_are_not_echoed() -> None:
    for name in URL_PARAMETERS:
        assert DOCUMENT["Parameters"][name]["NoEcho"] is True


@pytest.mark.parametrize("name", URL_PARAMETERS)
def test_the_template_allows_what_the_settings_allow(name: str) -> None:
    field = Settings.model_fields[URL_PARAMETERS[name]]
    pattern = next(extra.pattern for extra in field.metadata if hasattr(extra, "pattern"))
    assert DOCUMENT["Parameters"][name]["AllowedPattern"] == f"^$|{pattern}"


def test_the_database_url_is_a_secret_in_every_partition_of_aws() -> None:
    allowed = re.compile(DOCUMENT["Parameters"]["DatabaseUrl"]["AllowedPattern"])
    for partition in ("aws", "aws-cn", "aws-us-gov", "aws-iso-b"):
        assert allowed.match(DATABASE_SECRET.replace("arn:aws:", f"arn:{partition}:"))
    assert not allowed.match("arn:aws:s3:::bucket")


def test_urls_that_are_no_secrets_need_no_policy() -> None:
    assert policies(stack(), "MetaFunction") == []
    assert not stack().nested["Access"].has("ServerAccess")
    assert not stack(RedisUrl="").nested["Access"].has("ServerAccess")


@pytest.mark.parametrize(
    "secrets",
    [
        {"DatabaseUrl": DATABASE_SECRET},
        {"RedisUrl": REDIS_SECRET},
        {"DatabaseUrl": DATABASE_SECRET, "RedisUrl": REDIS_SECRET},
    ],
)
def test_the_functions_may_read_only_those_secrets(secrets: dict[str, str]) -> None:
    reading, decrypting = statements(**secrets)
    assert reading == {
        "Effect": "Allow",
        "Action": "secretsmanager:GetSecretValue",
        "Resource": list(secrets.values()),
    }
    assert decrypting["Condition"]["StringEquals"]["kms:EncryptionContext:SecretARN"] == list(
        secrets.values()
    )
    for name, function in load_template(TEMPLATE).functions.items():
        assert "DATABASE_URL" in function.environment
        assert policies(stack(**secrets), name) == ["serveraccess"]


@pytest.mark.parametrize(
    ("region", "suffix"), [("eu-west-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")]
)
def test_the_functions_may_decrypt_only_those_secrets_through_secrets_manager(
    region: str, suffix: str
) -> None:
    place = {"AWS::Region": region, "AWS::URLSuffix": suffix}
    *_, last = statements(DatabaseUrl=DATABASE_SECRET, **place)
    assert last == {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": f"arn:aws:kms:{region}:123456789012:key/*",
        "Condition": {
            "StringEquals": {
                "kms:ViaService": f"secretsmanager.{region}.{suffix}",
                "kms:EncryptionContext:SecretARN": [DATABASE_SECRET],
            }
        },
    }


def test_the_functions_may_connect_only_as_their_iam_users() -> None:
    users = {
        "DatabaseIamUser": "cluster-ABC1/blog_app",
        "RedisIamUser": "blog-cache/blog-functions",
    }
    partition = {"AWS::Partition": "aws-us-gov", "AWS::Region": "us-gov-west-1"}
    place = "us-gov-west-1:123456789012"
    database, cache = statements(**users, **partition)
    assert database == {
        "Effect": "Allow",
        "Action": "rds-db:connect",
        "Resource": [f"arn:aws-us-gov:rds-db:{place}:dbuser:cluster-ABC1/blog_app"],
    }
    assert cache == {
        "Effect": "Allow",
        "Action": "elasticache:Connect",
        "Resource": [
            f"arn:aws-us-gov:elasticache:{place}:replicationgroup:blog-cache",
            f"arn:aws-us-gov:elasticache:{place}:user:blog-functions",
        ],
    }
    for name in load_template(TEMPLATE).functions:
        assert policies(stack(**users), name) == ["serveraccess"]


def test_the_functions_sign_in_as_the_parameters_say() -> None:
    assert environment() == {"DATABASE_AUTH": "password", "REDIS_IAM_CACHE": ""}
    assert environment(DatabaseIamUser="db-ABC1/blog_app", RedisIamUser="blog-cache/blog") == {
        "DATABASE_AUTH": "iam",
        "REDIS_IAM_CACHE": "blog-cache",
    }


def environment(**parameters: str) -> dict[str, str]:
    """The functions' settings for IAM."""
    variables = stack(**parameters).properties("MetaFunction")["Environment"]
    names = ("DATABASE_AUTH", "REDIS_IAM_CACHE")
    return {name: variables["Variables"][name] for name in names}


def test_deployments_that_may_share_a_redis_have_keys_of_their_own() -> None:
    """By the stack's name, which no other stack of the account has."""
    for own, prefix in ((stack(), "blog:"), (Stack(Profile="ha"), "")):
        variables = own.properties("MetaFunction")["Environment"]["Variables"]
        assert variables["CACHE_KEY_PREFIX"] == prefix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DatabaseIamUser", "cluster-ABCDEFGHIJKL01234/blog_app"),
        ("DatabaseIamUser", "db-ABCDEFGHIJKL01234/blog_app"),
        ("DatabaseIamUser", "prx-0123456789abcdef0/blog_app"),
        ("RedisIamUser", "blog-cache/blog-functions"),
    ],
)
def test_a_user_by_iam_is_named_with_its_server(name: str, value: str) -> None:
    allowed = re.compile(DOCUMENT["Parameters"][name]["AllowedPattern"])
    assert allowed.match("")
    assert allowed.match(value)
    assert not allowed.match(value.partition("/")[2])
    assert not allowed.match(f"arn:aws:rds-db:{value}")
