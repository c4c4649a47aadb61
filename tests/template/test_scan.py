"""Each finding of a scan is explained, and each explanation has a finding."""

from tests.template.scan import compared, policies

EXPLAINED = {"CKV_1": {"resources": ["AWS::SNS::Topic.*"]}}


def test_a_finding_without_an_explanation_is_a_problem() -> None:
    found = {("CKV_1", "AWS::SNS::Topic.Topic"), ("CKV_2", "AWS::SNS::Topic.Topic")}
    assert compared(found, EXPLAINED) == ["CKV_2 AWS::SNS::Topic.Topic: not explained"]


def test_an_explanation_is_for_its_resources_only() -> None:
    found = {("CKV_1", "AWS::SNS::Topic.Topic"), ("CKV_1", "AWS::SQS::Queue.Queue")}
    assert compared(found, EXPLAINED) == ["CKV_1 AWS::SQS::Queue.Queue: not explained"]


def test_an_explanation_of_nothing_is_a_problem() -> None:
    assert compared(set(), EXPLAINED) == ["CKV_1 AWS::SNS::Topic.*: explained, but not found"]


def test_the_policies_of_all_roles_are_looked_at() -> None:
    names = " ".join(policies())
    for role in ("ServerAccess", "OwnerAccess", "Role-migrate", "ProxyRole-connect"):
        assert role in names
