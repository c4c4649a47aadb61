"""The network, the database and the cache of the stack: linted, and not reachable from outside."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.helpers import REGIONS
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from shared.settings import Settings
from tests.rehearsal.resources import must_replace
from tests.resources import ROOT
from tests.template.stacks import DELIVERY, INFRASTRUCTURE, REGION, TEMPLATE, Stack, template

PROFILES = ("hobby", "standard", "ha")
GIVEN = {"DatabaseUrl": "postgresql://u:p@db/blog", "RedisUrl": "rediss://:p@cache"}
MIGRATIONS = "MigrationsFunction"
FUNCTIONS = [
    name
    for name, resource in template()["Resources"].items()
    if resource["Type"] == "AWS::Lambda::Function"
]
ALWAYS = {"Access", "Schema", "Alarms", "Dashboard", "Digest"}
BUDGET = ROOT / "infrastructure" / "budget.yaml"
NESTED = [path for path in INFRASTRUCTURE if path != BUDGET]
PROTECTED = ("AWS::RDS::DBCluster", "AWS::Cognito::UserPool")


@pytest.fixture(params=PROFILES)
def stack(request: pytest.FixtureRequest) -> Stack:
    return Stack(Profile=request.param, Stage="prod")


def environment(stack: Stack, function: str) -> dict[str, Any]:
    variables: dict[str, Any] = stack.properties(function)["Environment"]["Variables"]
    return variables


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", REGION, "--"]
    return subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)


def test_the_templates_lint_clean() -> None:
    done = lint(TEMPLATE, *INFRASTRUCTURE, DELIVERY)
    assert done.returncode == 0, done.stdout


def test_the_regions_without_a_type_are_documented() -> None:
    """Of the commercial ones: all others can have the stack."""
    types = {
        resource["Type"]
        for path in (TEMPLATE, *NESTED)
        for resource in template(path)["Resources"].values()
        if not resource["Type"].startswith("Custom::")
    }
    commercial = [region for region in REGIONS if not re.match(r"us-(gov|iso)|eu-iso|eusc", region)]
    lacking = {
        region
        for region in commercial
        if not types <= set(PROVIDER_SCHEMA_MANAGER.get_resource_types(region))
    }
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    section = text.partition("## Other regions")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([a-z]+-[a-z]+-\d)`", section)) == lacking


def test_the_stack_makes_no_budget_which_is_the_accounts_and_which_many_regions_lack() -> None:
    assert "AWS::Budgets" not in json.dumps([template(), *map(template, NESTED)])
    budget = Stack(BUDGET, MonthlyBudgetUsd=50, AlarmEmail="ops@example.org").properties("Budget")
    assert budget["Budget"]["BudgetLimit"]["Amount"] == 50


def test_the_translated_template_lints_clean(tmp_path: Path) -> None:
    """Only there circular dependencies are found."""
    document = template()
    for resource in document["Resources"].values():
        if "TemplateURL" in resource.get("Properties", {}):
            name = Path(resource["Properties"]["TemplateURL"]).name
            resource["Properties"]["TemplateURL"] = f"https://bucket.s3.amazonaws.com/{name}"
    path = tmp_path / "translated.json"
    path.write_text(json.dumps(document))
    done = lint(path)
    assert done.returncode == 0, done.stdout


def test_a_profile_makes_network_database_and_all_but_hobby_a_cache(stack: Stack) -> None:
    is_hobby = stack.resolved({"Ref": "Profile"}) == "hobby"
    made = {"Network", "Database", "Identity", *ALWAYS}
    assert set(stack.nested) == (made if is_hobby else made | {"Cache"})


def test_given_servers_are_used_and_none_is_made() -> None:
    stack = Stack(**GIVEN, SubnetIds=["subnet-1"], SecurityGroupIds=["sg-1"])
    assert set(stack.nested) == {"Identity", *ALWAYS}
    for function in FUNCTIONS:
        variables = environment(stack, function)
        assert variables["DATABASE_URL"] == GIVEN["DatabaseUrl"]
        assert variables["DATABASE_AUTH"] == "password"
        assert variables["DATABASE_PAUSES"] == "false"
        assert variables["REDIS_URL"] == ("" if function == MIGRATIONS else GIVEN["RedisUrl"])
        assert stack.properties(function)["VpcConfig"]["SubnetIds"] == ["subnet-1"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_are_in_the_network_and_their_settings_are_valid(
    stack: Stack, function: str
) -> None:
    properties = stack.properties(function)
    assert properties["VpcConfig"] == {
        "SubnetIds": ["subneta", "subnetb"],
        "SecurityGroupIds": ["functionssecuritygroup"],
    }
    variables = environment(stack, function)
    settings = Settings.model_validate({name: value for name, value in variables.items() if value})
    assert settings.database_auth == "iam"
    assert settings.tls_required
    user = {MIGRATIONS: "blog_owner", "MetaFunction": "blog_app_health"}.get(function, "blog_app")
    assert settings.database_url.startswith(f"postgresql://{user}@")
    if function != MIGRATIONS:
        assert (settings.redis_url is not None) == (settings.redis_iam_cache is not None)
        assert (settings.redis_url is not None) == ("Cache" in stack.nested)


def test_a_function_has_time_for_a_paused_database(stack: Stack) -> None:
    seconds = int(environment(stack, "MetaFunction")["DATABASE_CONNECT_TIMEOUT_SECONDS"])
    assert seconds + 1 < stack.properties("MetaFunction")["Timeout"] < 30
    pauses = (
        "SecondsUntilAutoPause" in stack.properties("Cluster")["ServerlessV2ScalingConfiguration"]
    )
    assert pauses == (seconds > 15)
    for function in FUNCTIONS:
        assert environment(stack, function)["DATABASE_PAUSES"] == str(pauses).lower()


@pytest.mark.parametrize("policy", ["ServerAccess", "HealthAccess"])
def test_a_proxy_takes_no_right_from_the_versions_without_it(policy: str) -> None:
    """The right changes before callers move to the versions that connect through it."""
    direct, proxied = (
        {
            resource
            for statement in stack.properties(policy)["PolicyDocument"]["Statement"]
            if statement["Action"] == "rds-db:connect"
            for resource in listed(statement["Resource"])
        }
        for stack in (Stack(Profile="standard", DatabaseProxy=value) for value in ("false", "true"))
    )
    assert direct < proxied


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_functions_log_in_as_their_user_and_as_no_other(stack: Stack) -> None:
    users = {
        policy: [
            resource.rpartition("/")[2]
            for statement in stack.properties(policy)["PolicyDocument"]["Statement"]
            if statement["Action"] == "rds-db:connect"
            for resource in listed(statement["Resource"])
        ]
        for policy in ("ServerAccess", "HealthAccess", "OwnerAccess")
    }
    assert users == {
        "ServerAccess": ["blog_app"],
        "HealthAccess": ["blog_app_health"],
        "OwnerAccess": ["blog_owner"],
    }
    for function in FUNCTIONS:
        attached = stack.properties(f"{function}Role")["ManagedPolicyArns"]
        policy = {MIGRATIONS: "owneraccess", "MetaFunction": "healthaccess"}.get(
            function, "serveraccess"
        )
        assert [arn for arn in attached if arn.endswith("access")] == [policy]


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != MIGRATIONS])
def test_a_function_waits_for_the_schema_and_the_schema_for_the_database(function: str) -> None:
    resources = template()["Resources"]
    assert "Schema" in resources[function]["DependsOn"]
    assert '["Database", "Outputs.OwnerUrl"]' in json.dumps(resources[MIGRATIONS])
    version = resources["Schema"]["Properties"]["Parameters"]["Migrations"]["Ref"]
    assert resources[version]["Properties"]["FunctionName"] == {"Ref": MIGRATIONS}


def test_a_proxy_is_an_option_that_migrations_do_not_take() -> None:
    stack = Stack(DatabaseProxy="true")
    assert environment(stack, "MetaFunction")["DATABASE_URL"].endswith("@proxy.endpoint:5432/blog")
    owner = environment(stack, MIGRATIONS)["DATABASE_URL"]
    assert owner.endswith("@cluster.endpoint.address:5432/blog")


def test_two_stacks_of_an_account_have_no_name_in_common() -> None:
    """No resource's identity is only what the template itself says."""
    for path in (TEMPLATE, *INFRASTRUCTURE):
        for name, resource in template(path)["Resources"].items():
            if resource["Type"].startswith("Custom::"):
                continue
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource["Type"]).schema
            properties = resource.get("Properties", {})
            parts = [part.split("/")[2] for part in schema.get("primaryIdentifier", [])]
            # A layer's name is no part of its ARN to CloudFormation, which names its versions.
            given = [properties[part] for part in (*parts, "LayerName") if part in properties]
            assert not given or any(isinstance(part, dict) for part in given), f"{path}: {name}"


def test_nothing_is_open_to_the_world(stack: Stack) -> None:
    resources = dict(stack.resources())
    for name, resource in resources.items():
        text = json.dumps(resource["Properties"])
        assert "0.0.0.0/0" not in text, name
        assert "::/0" not in text, name
        assert resource["Properties"].get("PubliclyAccessible", False) is False, name
    assert not [
        r
        for r in resources.values()
        if r["Type"] in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway")
    ]


def test_there_is_no_password(stack: Stack) -> None:
    text = json.dumps(dict(stack.resources()))
    assert not re.search(r"MasterUserPassword|AuthToken|ManageMasterUser|resolve:|Passwords", text)
    assert stack.properties("Cluster")["MasterUserAuthenticationType"] == "iam-db-auth"
    if "Cache" in stack.nested:
        assert stack.properties("User")["AuthenticationMode"] == {"Type": "iam"}


def test_servers_are_encrypted_and_want_tls(stack: Stack) -> None:
    assert stack.properties("Cluster")["StorageEncrypted"] is True
    assert stack.nested["Database"].properties("Parameters")["Parameters"]["rds.force_ssl"] == "1"
    if "Cache" in stack.nested:
        cache = stack.nested["Cache"].properties("Cache")
        assert cache["TransitEncryptionEnabled"] is True  # required, unless a mode says otherwise
        assert "TransitEncryptionMode" not in cache
        assert cache["AtRestEncryptionEnabled"] is True
        assert cache["ClusterMode"] == "disabled"


def test_no_policy_allows_any_resource_or_any_action(stack: Stack) -> None:
    statements = [
        statement
        for _, resource in stack.resources()
        for document in _policies(resource)
        for statement in document["Statement"]
    ]
    assert statements
    for statement in statements:
        assert "*" not in str(statement["Action"])
        assert statement["Resource"] not in ("*", ["*"])


def _policies(resource: dict[str, Any]) -> list[dict[str, Any]]:
    properties = resource["Properties"]
    if resource["Type"] == "AWS::IAM::ManagedPolicy":
        return [properties["PolicyDocument"]]
    if resource["Type"] == "AWS::IAM::Role":
        return [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
    return []


@pytest.mark.parametrize(("stage", "is_protected"), [("dev", "false"), ("prod", "true")])
def test_data_outlives_mistakes_outside_dev(stage: str, is_protected: str) -> None:
    stack = Stack(Stage=stage)
    assert stack.properties("Cluster")["DeletionProtection"] == is_protected
    for _, resource in stack.resources():
        if resource["Type"] in PROTECTED:
            assert resource["DeletionPolicy"] in ("Retain", "Snapshot")
            assert resource["UpdateReplacePolicy"] in ("Retain", "Snapshot")


def test_the_access_log_is_json_with_what_the_alarms_read(stack: Stack) -> None:
    """A number where a metric takes its value from, which a text could not give."""
    stage = stack.properties("ApiApiGatewayDefaultStage")
    line = re.sub(r"\$context\.[\w.]+", "7", stage["AccessLogSettings"]["Format"])
    logged = json.loads(line)
    assert logged["latency"] == 7
    assert logged["status"] == "7"
    filters = [
        resource["Properties"]["FilterPattern"]
        for _, resource in stack.resources()
        if resource["Type"] == "AWS::Logs::MetricFilter"
    ]
    assert {match for one in filters for match in re.findall(r"\$\.(\w+)", one)} <= set(logged)


def test_one_failure_or_one_bad_minute_stops_no_deployment(stack: Stack) -> None:
    names = ("Faults", "ServerErrors")
    for alarm in (stack.nested["Alarms"].properties(name) for name in names):
        assert alarm["EvaluationPeriods"] >= alarm["DatapointsToAlarm"] >= 2
        assert alarm["Threshold"] >= 0.01
    errors = stack.nested["Alarms"].properties("ServerErrors")["Metrics"][0]["Expression"]
    (least,) = re.findall(r"errors >= (\d+)", errors)
    assert int(least) >= 3


def test_each_log_that_the_database_exports_has_a_group_that_is_there_before(stack: Stack) -> None:
    """The logs of failed IAM authentications among them: all users authenticate by IAM."""
    database = stack.nested["Database"]
    exported = set(database.properties("Cluster")["EnableCloudwatchLogsExports"])
    assert exported == {"postgresql", "iam-db-auth-error"}
    groups = {
        name: resource["Properties"]["LogGroupName"].rpartition("/")[2]
        for name, resource in database.own_resources()
        if resource["Type"] == "AWS::Logs::LogGroup"
    }
    assert exported <= set(groups.values())
    writer = template(TEMPLATE.parent / "infrastructure" / "database.yaml")["Resources"]["Writer"]
    assert {name for name, log in groups.items() if log in exported} == set(writer["DependsOn"])


def test_between_the_documented_deployments_of_a_profile_nodes_or_failover_change() -> None:
    """Never both: CloudFormation enables a failover before it adds the replica (its issue 383)."""
    text = " ".join((ROOT / "docs" / "deployment.md").read_text(encoding="utf-8").split())
    edits = re.findall(r"deploy `(\w+)` with `(\w+): (\d+)` in `infrastructure/cache.yaml`", text)
    [(profile, name, value)] = edits
    middle = cache_of(profile) | {name: int(value)}
    for one, other in ((cache_of("standard"), middle), (middle, cache_of("ha"))):
        changed = {key for key in one if one[key] != other[key]}
        assert len(changed & {"NumCacheClusters", "AutomaticFailoverEnabled"}) == 1


def cache_of(profile: str) -> dict[str, Any]:
    return dict(Stack(Profile=profile).nested["Cache"].properties("Cache"))


def test_a_domain_is_reached_by_both_versions_of_ip() -> None:
    stack = Stack(
        DomainName="api.example.org", DomainCertificateArn="arn:aws:acm:", DomainHostedZoneId="Z1"
    )
    website = dict(stack.nested["Website"].own_resources())
    records = [one for one in website.values() if one["Type"] == "AWS::Route53::RecordSet"]
    assert {one["Properties"]["Type"] for one in records} == {"A", "AAAA"}
    assert len({str(one["Properties"]["AliasTarget"]) for one in records}) == 1
    (configuration,) = website["Domain"]["Properties"]["DomainNameConfigurations"]
    assert configuration["IpAddressType"] == "dualstack"


def test_all_logs_expire_when_the_parameter_says() -> None:
    stack = Stack(LogRetentionDays=7)
    groups = {
        resource["Properties"]["LogGroupName"]: resource["Properties"]["RetentionInDays"]
        for _, resource in stack.resources()
        if resource["Type"] == "AWS::Logs::LogGroup"
    }
    assert set(groups.values()) == {7}
    assert {"/aws/lambda/blog", "/aws/vendedlogs/blog/access"} <= set(groups)
    for function in FUNCTIONS:
        assert stack.properties(function)["LoggingConfig"]["LogGroup"] == "logs"


def test_the_commands_that_remove_a_stack_name_what_it_protects() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    found = re.findall(r'\(resource (?:\$stack|"\$\(resource \$stack (\w+)\)") (\w+)\)', text)
    stack = Stack(Stage="prod")
    named = {
        (stack.nested[nested] if nested else stack).document["Resources"][name]["Type"]
        for nested, name in found
    }
    protected = {
        resource["Type"]
        for _, resource in stack.resources()
        if resource["Properties"].get("DeletionProtection") in ("true", "ACTIVE")
    }
    assert protected
    assert protected <= named


RESTORES = {
    "time": {"RestoreFrom": "blog-cluster@2026-11-26T12:00:00Z"},
    "latest": {"RestoreFrom": "blog-cluster@latest"},
    "snapshot": {"RestoreFrom": "arn:aws:rds:eu-west-1:123456789012:cluster-snapshot:last"},
}


@pytest.mark.parametrize("kind", RESTORES)
def test_a_restored_cluster_is_another_one_and_has_what_aws_lets_it_have(kind: str) -> None:
    parameters = RESTORES[kind]
    before, after = (
        Stack(Stage="prod", Profile="ha", **given).properties("Cluster")
        for given in ({}, parameters)
    )
    assert must_replace("AWS::RDS::DBCluster", before, after)
    given = {name: value for name, value in after.items() if name not in before}
    assert (
        given
        == {
            "time": {
                "SourceDBClusterIdentifier": "blog-cluster",
                "RestoreToTime": "2026-11-26T12:00:00Z",
            },
            "latest": {
                "SourceDBClusterIdentifier": "blog-cluster",
                "UseLatestRestorableTime": True,
            },
            "snapshot": {"SnapshotIdentifier": parameters["RestoreFrom"]},
        }[kind]
    )
    source = "SnapshotIdentifier" if kind == "snapshot" else "SourceDBClusterIdentifier"
    assert excluded_by(source) >= {"MasterUsername", "StorageEncrypted"}
    assert not excluded_by(source) & after.keys()


def excluded_by(source: str) -> set[str]:
    """The properties that must not be beside it, by the descriptions of AWS's schema."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, "AWS::RDS::DBCluster").schema
    return {
        name
        for name, described in schema["properties"].items()
        for sentence in described.get("description", "").split("\n")
        if source in sentence and "don't specify this property" in sentence
    }


def test_all_that_belongs_to_a_cluster_follows_a_restored_one() -> None:
    """Each refers to it, and has no name of its own."""
    document = template(ROOT / "infrastructure" / "database.yaml")
    for name in ("Writer", "Standby", "ProxyTarget", "ProxyRole"):
        assert re.search(r'["{]Cluster\b', json.dumps(document["Resources"][name])), name
    assert "DBClusterIdentifier" not in document["Resources"]["Cluster"]["Properties"]
    for name in document["Outputs"]:
        assert re.search(r'["{]Cluster\b', json.dumps(document["Outputs"][name])), name
