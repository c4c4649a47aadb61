"""IAM's part in a deployment: the rights of roles, which are eventually consistent.

A granted or revoked right has no effect at first. AWS does not document for how long; here it is
the worst case: until the first use that needs the change, so that a right that is used at once is
denied at least once.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from tests.rehearsal.resources import ACCOUNT, Described, Properties, Resource

SETTLING_SECONDS = 0.5
Statements = list[dict[str, Any]]


class Denied(NamedTuple):
    """A use of a right that was denied."""

    role: str
    action: str
    resource: str

    def __str__(self) -> str:
        return (
            f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{self.role} is not authorized to perform: "
            f"{self.action} on resource: {self.resource} because no identity-based policy allows "
            f"the {self.action} action"
        )


@dataclass
class _Policies:
    """Of a role or a managed policy: what is known everywhere, and what will be."""

    known: Statements = field(default_factory=list)
    declared: Statements = field(default_factory=list)


class Iam:
    """Roles and managed policies of one account. Statements may have no conditions."""

    def __init__(self, settling_seconds: float = SETTLING_SECONDS) -> None:
        self.denied: list[Denied] = []
        self._settling_seconds = settling_seconds
        self._policies: dict[str, _Policies] = {}
        self._attached: dict[str, list[str]] = {}
        self._first_uses: dict[str, float] = {}

    def kinds(self) -> dict[str, Any]:
        return {
            "AWS::IAM::Role": _RoleKind(self),
            "AWS::IAM::ManagedPolicy": _ManagedPolicyKind(self),
        }

    def declare(self, name: str, statements: Statements) -> None:
        """Set the statements of a role by its name, or of a managed policy by its ARN."""
        self._policies.setdefault(name, _Policies()).declared = statements

    def attach(self, role: str, policies: list[str]) -> None:
        """Set a role's managed policies by their ARNs, AWS's own included, which do not count."""
        self._attached[role] = policies

    def forget(self, name: str) -> None:
        self._policies.pop(name, None)
        self._attached.pop(name, None)

    def denies(self, role: str, action: str, resource: str) -> Denied | None:
        """Return why the role may not do this now, None if it may."""
        policies = [self._policies.get(name) for name in (role, *self._attached.get(role, ()))]
        held = [one for one in policies if one]
        will = _permits((s for one in held for s in one.declared), action, resource)
        may = _permits((s for one in held for s in one.known), action, resource)
        if may != will:
            first = self._first_uses.setdefault(role, time.monotonic())
            if time.monotonic() - first >= self._settling_seconds:
                may = will
                self._settle(role, held)
        if may:
            return None
        denied = Denied(role, action, resource)
        self.denied.append(denied)
        return denied

    def settle(self, role: str) -> None:
        """Make known what was declared for the role: what waits long enough sees it."""
        names = (role, *self._attached.get(role, ()))
        self._settle(role, [self._policies[name] for name in names if name in self._policies])

    def _settle(self, role: str, held: list[_Policies]) -> None:
        self._first_uses.pop(role, None)
        for one in held:
            one.known = one.declared


def _permits(statements: Iterable[dict[str, Any]], action: str, resource: str) -> bool:
    effects = {
        statement["Effect"]
        for statement in statements
        if _matches(statement["Action"], action) and _matches(statement["Resource"], resource)
    }
    return effects == {"Allow"}


def _matches(patterns: str | list[str], value: str) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in listed)


def _statements(documents: Iterable[Properties]) -> Statements:
    found: Statements = []
    for document in documents:
        statements = document["Statement"]
        found += statements if isinstance(statements, list) else [statements]
    return found


class _RoleKind(Described):
    def __init__(self, iam: Iam) -> None:
        super().__init__("AWS::IAM::Role")
        self._iam = iam

    def create(self, resource: Resource) -> None:
        super().create(resource)
        name, properties = resource.physical_id, resource.properties
        resource.attributes["Arn"] = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        self._iam.attach(name, properties.get("ManagedPolicyArns", []))
        inline = (policy["PolicyDocument"] for policy in properties.get("Policies", ()))
        self._iam.declare(name, _statements(inline))

    def restore(self, resource: Resource, failed: Resource) -> None:
        self.create(resource)

    def delete(self, resource: Resource) -> None:
        self._iam.forget(resource.physical_id)


class _ManagedPolicyKind(Described):
    def __init__(self, iam: Iam) -> None:
        super().__init__("AWS::IAM::ManagedPolicy")
        self._iam = iam

    def create(self, resource: Resource) -> None:
        super().create(resource)
        name = resource.physical_id.rpartition("/")[2]
        resource.physical_id = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
        document = resource.properties["PolicyDocument"]
        self._iam.declare(resource.physical_id, _statements([document]))

    def restore(self, resource: Resource, failed: Resource) -> None:
        self.create(resource)

    def delete(self, resource: Resource) -> None:
        self._iam.forget(resource.physical_id)
