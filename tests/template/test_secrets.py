"""How the template takes the URLs of PostgreSQL and Redis, and what functions may read for them."""

import re
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from blog.settings import Settings
from local.template import load_template

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
DOCUMENT: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
URL_PARAMETERS = {"DatabaseUrl": "database_url", "RedisUrl": "redis_url"}
ACCOUNT = "eu-west-1:123456789012"
DATABASE_SECRET = f"arn:aws:secretsmanager:{ACCOUNT}:secret:database-AbCdEf"
REDIS_SECRET = f"arn:aws:secretsmanager:{ACCOUNT}:secret:redis-AbCdEf"
KEY = f"arn:aws:kms:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
URLS = {"DatabaseUrl": "postgresql://u:p@db/blog", "RedisUrl": "rediss://:p@cache"}
PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()


class Stack:
    """What CloudFormation makes of the template's intrinsic functions with these parameters."""

    def __init__(self, **parameters: str) -> None:
        defaults = {
            name: parameter.get("Default") for name, parameter in DOCUMENT["Parameters"].items()
        }
        self._values = defaults | PSEUDO_PARAMETERS | URLS | parameters | {"AWS::NoValue": NO_VALUE}

    def resource(self, name: str) -> Any:
        """Its properties; None where its condition is not met."""
        resource = DOCUMENT["Resources"][name]
        made = "Condition" not in resource or self._condition(resource["Condition"])
        return self.resolved(resource["Properties"]) if made else None

    def _condition(self, name: str) -> bool:
        return bool(self.resolved(DOCUMENT["Conditions"][name]))

    def resolved(self, value: Any) -> Any:  # noqa: C901 - one case for each function
        if isinstance(value, list):
            items = [self.resolved(item) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        match list(value.items()):
            case [("Ref", name)]:
                return self._values.get(name, name)
            case [("Condition", str(name))]:
                return self._condition(name)
            case [("Fn::If", [name, met, otherwise])]:
                return self.resolved(met if self._condition(name) else otherwise)
            case [("Fn::Equals", [left, right])]:
                return self.resolved(left) == self.resolved(right)
            case [("Fn::Not", [inner])]:
                return not self.resolved(inner)
            case [("Fn::Or", alternatives)]:
                return any(self.resolved(alternatives))
            case [("Fn::And", parts)]:
                return all(self.resolved(parts))
            case [("Fn::Split", [separator, text])]:
                return self.resolved(text).split(separator)
            case [("Fn::Select", [index, items])]:
                return self.resolved(items)[index]
            case [("Fn::Join", [separator, items])]:
                return separator.join(self.resolved(items))
            case [("Fn::Sub", [text, own])]:
                return _substituted(text, self._values | self.resolved(own))
            case [("Fn::Sub", text)]:
                return _substituted(text, self._values)
        return {key: self.resolved(inner) for key, inner in value.items()}


def _substituted(text: str, values: dict[str, Any]) -> str:
    return re.sub(r"\$\{(.+?)\}", lambda name: str(values[name[1]]), text)


def statements(**parameters: str) -> Any:
    """What the functions' policy allows."""
    return Stack(**parameters).resource("ServerAccess")["PolicyDocument"]["Statement"]


def test_urls_with_passwords_are_not_echoed() -> None:
    for name in URL_PARAMETERS:
        assert DOCUMENT["Parameters"][name]["NoEcho"] is True


@pytest.mark.parametrize("name", URL_PARAMETERS)
def test_the_template_allows_what_the_settings_allow(name: str) -> None:
    field = Settings.model_fields[URL_PARAMETERS[name]]
    pattern = next(extra.pattern for extra in field.metadata if hasattr(extra, "pattern"))
    optional = "" if field.is_required() else "^$|"  # an empty variable is as good as none
    assert DOCUMENT["Parameters"][name]["AllowedPattern"] == optional + pattern


def test_the_database_url_is_a_secret_in_every_partition_of_aws() -> None:
    allowed = re.compile(DOCUMENT["Parameters"]["DatabaseUrl"]["AllowedPattern"])
    for partition in ("aws", "aws-cn", "aws-us-gov", "aws-iso-b"):
        assert allowed.match(DATABASE_SECRET.replace("arn:aws:", f"arn:{partition}:"))
    assert not allowed.match("arn:aws:s3:::bucket")


def test_urls_that_are_no_secrets_need_no_policy() -> None:
    assert Stack().resource("ServerAccess") is None
    assert Stack().resource("UsersFunction")["Policies"] == []
    assert Stack(RedisUrl="").resource("ServerAccess") is None


@pytest.mark.parametrize(
    "secrets",
    [
        {"DatabaseUrl": DATABASE_SECRET},
        {"RedisUrl": REDIS_SECRET},
        {"DatabaseUrl": DATABASE_SECRET, "RedisUrl": REDIS_SECRET},
    ],
)
def test_the_functions_may_read_those_secrets_alone(secrets: dict[str, str]) -> None:
    assert statements(**secrets) == [
        {
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": list(secrets.values()),
        }
    ]
    for name, function in load_template(TEMPLATE).functions.items():
        assert "DATABASE_URL" in function.environment
        assert Stack(**secrets).resource(name)["Policies"] == ["ServerAccess"]


@pytest.mark.parametrize(
    ("region", "suffix"), [("eu-west-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")]
)
def test_a_secrets_own_key_may_decrypt_for_secrets_manager_alone(region: str, suffix: str) -> None:
    place = {"AWS::Region": region, "AWS::URLSuffix": suffix}
    *_, last = statements(DatabaseUrl=DATABASE_SECRET, SecretKmsKeyArn=KEY, **place)
    assert last == {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": KEY,
        "Condition": {"StringEquals": {"kms:ViaService": f"secretsmanager.{region}.{suffix}"}},
    }
    assert Stack(SecretKmsKeyArn=KEY).resource("ServerAccess") is None


def test_a_key_is_named_by_its_arn() -> None:
    allowed = re.compile(DOCUMENT["Parameters"]["SecretKmsKeyArn"]["AllowedPattern"])
    assert allowed.match("")
    assert allowed.match(KEY)
    assert allowed.match(KEY.replace("arn:aws:", "arn:aws-us-gov:"))
    for wrong in ("alias/blog", KEY.replace("key/", "alias/"), KEY.rpartition("/")[2]):
        assert not allowed.match(wrong)


def test_users_by_iam_may_connect_as_themselves_alone() -> None:
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
        "Resource": f"arn:aws-us-gov:rds-db:{place}:dbuser:cluster-ABC1/blog_app",
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
        assert Stack(**users).resource(name)["Policies"] == ["ServerAccess"]


def test_the_functions_sign_in_as_the_parameters_say() -> None:
    assert environment() == {"DATABASE_AUTH": "password", "REDIS_IAM_CACHE": ""}
    assert environment(DatabaseIamUser="db-ABC1/blog_app", RedisIamUser="blog-cache/blog") == {
        "DATABASE_AUTH": "iam",
        "REDIS_IAM_CACHE": "blog-cache",
    }


def environment(**parameters: str) -> dict[str, str]:
    """What the functions are told of IAM."""
    variables = Stack(**parameters).resolved(DOCUMENT["Globals"])["Function"]["Environment"]
    names = ("DATABASE_AUTH", "REDIS_IAM_CACHE")
    return {name: variables["Variables"][name] for name in names}


def test_tls_is_required_unless_the_deployment_says_otherwise() -> None:
    assert DOCUMENT["Parameters"]["TlsRequired"]["Default"] == "true"
    variables = DOCUMENT["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["TLS_REQUIRED"] == {"Ref": "TlsRequired"}


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
