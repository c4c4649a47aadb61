"""The rehearsal's CloudFormation does what AWS's does, above all when something fails.

With resources that do nothing but note what is asked of them.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.rehearsal.cloudformation import Services, deploy, remove
from tests.rehearsal.resources import (
    CUSTOM,
    NESTED,
    Described,
    Resource,
    ResourceFailed,
    StackEvent,
    StackState,
)

Deploy = Callable[..., str]
TOPIC = "AWS::SNS::Topic"


class Noted:
    """Custom resources that note what is asked of them, and fail where `fails` says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Callable[[str, Resource], bool] = lambda _verb, _resource: False

    def _ask(self, verb: str, resource: Resource, *more: Any) -> None:
        self.asked.append((verb, resource.logical_id, resource.properties.get("Is"), *more))
        if self.fails(verb, resource):
            raise ResourceFailed(f"cannot {verb}")

    def create(self, resource: Resource) -> None:
        self._ask("create", resource)

    def update(self, resource: Resource, old: Resource) -> None:
        self._ask("update", resource, old.properties["Is"])

    def restore(self, resource: Resource, failed: Resource) -> None:
        self._ask("restore", resource, failed.properties["Is"])

    def delete(self, resource: Resource) -> None:
        self._ask("delete", resource)


class Account:
    """Deploys documents to one stack; documents of nested ones are in `templates`."""

    def __init__(self) -> None:
        self.noted = Noted()
        self.events: list[StackEvent] = []
        self.templates: dict[str, dict[str, Any]] = {}
        self.stack = StackState("top", "arn:top")
        self.services = Services(self._kind_of, self.templates.__getitem__, self.events.append)

    def _kind_of(self, resource_type: str) -> Any:
        return self.noted if resource_type.startswith(CUSTOM) else Described(resource_type)

    def deploy(self, **resources: dict[str, Any]) -> str:
        """Deploy these resources; return the stack's status."""
        self.events.clear()
        self.noted.asked.clear()
        deploy(self.services, self.stack, {"Resources": resources}, {})
        return self.stack.status

    def told_by(self, stack: StackState) -> list[tuple[str, str]]:
        return [(one.logical_id, one.status) for one in self.events if one.stack is stack]

    def reason(self, logical_id: str, status: str) -> str:
        [found] = [
            e.reason for e in self.events if (e.logical_id, e.status) == (logical_id, status)
        ]
        return found


@pytest.fixture
def account() -> Account:
    return Account()


def custom(value: Any, *needs: str, **attributes: Any) -> dict[str, Any]:
    return {
        "Type": "Custom::Noted",
        "DependsOn": list(needs),
        "Properties": {"Is": value},
        **attributes,
    }


def nested(url: str, **attributes: Any) -> dict[str, Any]:
    return {"Type": NESTED, "Properties": {"TemplateURL": url}, **attributes}


def test_a_failed_stack_that_was_new_is_deleted_what_failed_included(account: Account) -> None:
    account.noted.fails = lambda verb, resource: (verb, resource.logical_id) == ("create", "B")
    assert account.deploy(A=custom(1), B=custom(1, "A"), C=custom(1, "B")) == "ROLLBACK_COMPLETE"
    assert account.noted.asked == [
        ("create", "A", 1),
        ("create", "B", 1),
        ("delete", "B", 1),
        ("delete", "A", 1),
    ]
    assert account.stack.resources == {}


def test_a_failed_update_gives_old_properties_back_to_what_failed_too(account: Account) -> None:
    account.deploy(A=custom(1), B=custom(1, "A"))
    account.noted.fails = lambda verb, resource: (verb, resource.logical_id) == ("update", "B")
    status = account.deploy(A=custom(2), New=custom(1), B=custom(2, "A", "New"))
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert account.noted.asked == [
        ("update", "A", 2, 1),
        ("create", "New", 1),
        ("update", "B", 2, 1),
        ("restore", "A", 1, 2),
        ("restore", "B", 1, 2),
        ("delete", "New", 1),
    ]
    assert {name: one.properties["Is"] for name, one in account.stack.all()} == {"A": 1, "B": 1}


def test_a_way_back_that_fails_ends_there(account: Account) -> None:
    account.deploy(A=custom(1), B=custom(1, "A"))
    account.noted.fails = lambda verb, resource: (
        (verb, resource.logical_id) in {("update", "B"), ("restore", "A")}
    )
    assert account.deploy(A=custom(2), B=custom(2, "A")) == "UPDATE_ROLLBACK_FAILED"
    assert account.noted.asked[-1] == ("restore", "A", 1, 2)
    assert account.reason("top", "UPDATE_ROLLBACK_FAILED") == (
        "The following resource(s) failed to update: [A]."
    )


def test_only_a_nested_stack_has_the_events_of_its_resources(account: Account) -> None:
    account.templates |= {
        "1": {"Resources": {"Inner": custom(1), "Other": custom(1)}},
        "2": {"Resources": {"Inner": custom(2), "Other": custom(1)}},
    }
    account.deploy(Nested=nested("1"))
    inner = account.stack.resources["Nested"].nested
    assert inner
    assert account.told_by(account.stack) == [
        ("top", "CREATE_IN_PROGRESS"),
        ("Nested", "CREATE_COMPLETE"),
        ("top", "CREATE_COMPLETE"),
    ]
    assert account.told_by(inner)[1:3] == [
        ("Inner", "CREATE_COMPLETE"),
        ("Other", "CREATE_COMPLETE"),
    ]

    account.noted.fails = lambda verb, _resource: verb == "update"
    assert account.deploy(Nested=nested("2")) == "UPDATE_ROLLBACK_COMPLETE"
    assert account.reason("Inner", "UPDATE_FAILED") == "cannot update"
    assert account.reason("Nested", "UPDATE_FAILED") == (
        f"Embedded stack {inner.id} was not successfully updated. Currently in "
        "UPDATE_ROLLBACK_IN_PROGRESS with reason: The following resource(s) failed to update: "
        "[Inner]."
    )
    assert all("cannot" not in one.reason for one in account.events if one.stack is account.stack)
    assert inner.status == "UPDATE_ROLLBACK_COMPLETE"

    account.noted.fails = lambda verb, _resource: verb in {"update", "restore"}
    assert account.deploy(Nested=nested("2")) == "UPDATE_ROLLBACK_FAILED"
    assert inner.status == "UPDATE_ROLLBACK_FAILED"


def test_a_nested_stack_is_rolled_back_with_its_parent(account: Account) -> None:
    account.templates |= {
        "1": {"Resources": {"Inner": custom(1)}},
        "2": {"Resources": {"Inner": custom(2), "New": custom(2)}},
    }
    account.deploy(Nested=nested("1"), A=custom(1, "Nested"))
    account.noted.fails = lambda verb, resource: (verb, resource.logical_id) == ("update", "A")
    assert account.deploy(Nested=nested("2"), A=custom(2, "Nested")) == "UPDATE_ROLLBACK_COMPLETE"
    inner = account.stack.resources["Nested"].nested
    assert inner
    assert inner.status == "UPDATE_ROLLBACK_COMPLETE"
    assert {name: one.properties["Is"] for name, one in inner.all()} == {"Inner": 1}


def test_a_nested_stack_without_changes_has_no_events(account: Account) -> None:
    account.templates["1"] = {"Resources": {"Inner": custom(1)}}
    account.deploy(Nested=nested("1"))
    assert account.deploy(Nested=nested("1")) == "UPDATE_COMPLETE"
    assert account.noted.asked == []
    assert {one.logical_id for one in account.events} == {"top", "Nested"}


def test_a_protected_resource_and_those_it_needs_are_kept_when_a_new_stack_fails(
    account: Account,
) -> None:
    account.noted.fails = lambda verb, resource: (verb, resource.logical_id) == ("create", "Last")
    pool = {
        "Type": "AWS::Cognito::UserPool",
        "DependsOn": "Network",
        "Properties": {"DeletionProtection": "ACTIVE"},
    }
    resources = {"Network": custom(1), "Pool": pool, "Last": custom(1, "Pool")}
    assert account.deploy(**resources) == "ROLLBACK_FAILED"
    assert list(account.stack.resources) == ["Network", "Pool"]
    assert account.reason("top", "ROLLBACK_FAILED") == (
        "The following resource(s) failed to delete: [Pool]."
    )
    remove(account.services, account.stack)
    assert account.stack.status == "DELETE_FAILED"
    account.stack.resources["Pool"].is_protected = False
    remove(account.services, account.stack)
    assert account.stack.status == "DELETE_COMPLETE"
    assert account.stack.resources == {}


@pytest.mark.parametrize(
    ("policy", "kept_by_a_way_back", "kept_by_a_removal"),
    [
        ("Delete", [], []),
        ("Snapshot", [], []),
        ("Retain", ["A"], ["A"]),
        ("RetainExceptOnCreate", [], ["A"]),
    ],
)
def test_a_stack_keeps_resources_by_their_policies(
    account: Account, policy: str, kept_by_a_way_back: list[str], kept_by_a_removal: list[str]
) -> None:
    kept = account.services.kept
    first = custom(1, DeletionPolicy=policy)
    account.noted.fails = lambda verb, resource: (verb, resource.logical_id) == ("create", "B")
    account.deploy(A=first, B=custom(1, "A"))
    assert [one.logical_id for one in kept] == kept_by_a_way_back
    kept.clear()
    account.stack = StackState("top", "arn:other")
    account.deploy(A=first)
    remove(account.services, account.stack)
    assert [one.logical_id for one in kept] == kept_by_a_removal


def test_a_removed_resource_that_cannot_be_deleted_is_kept_without_a_failure(
    account: Account,
) -> None:
    account.deploy(A=custom(1), B=custom(1))
    account.noted.fails = lambda verb, _resource: verb == "delete"
    assert account.deploy(B=custom(1)) == "UPDATE_COMPLETE"
    assert [one.logical_id for one in account.services.kept] == ["A"]


def test_quick_resources_are_created_first(account: Account) -> None:
    """As beside a nested stack, which takes a minute, all is made that does not need it."""
    account.templates["1"] = {"Resources": {"Inner": custom(1)}}
    topics = {"First": {"Type": TOPIC}, "Second": {"Type": TOPIC, "DependsOn": "First"}}
    account.deploy(Nested=nested("1", DependsOn="First"), **topics)
    made = [name for name, status in account.told_by(account.stack) if status == "CREATE_COMPLETE"]
    assert made == ["First", "Second", "Nested", "top"]
