"""Resources and stacks as they are, and what AWS does for a type of resource.

The types that matter to a deployment are in `tests.rehearsal.aws`; of all others only properties
are checked, against the type's schema.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.stacks import PSEUDO_PARAMETERS, REGION

NESTED = "AWS::CloudFormation::Stack"
CUSTOM = "Custom::"
ACCOUNT = PSEUDO_PARAMETERS["AWS::AccountId"]
Properties = dict[str, Any]
Document = dict[str, Any]


class ResourceFailed(Exception):
    """A resource cannot be made, changed or deleted; the message is CloudFormation's reason."""


@dataclass
class Resource:
    """A resource as it is; `attributes` are those that AWS would know.

    `update_policy` says how CloudFormation changes it, if not at once. `is_protected`: it cannot be
    deleted, whatever `properties` said when it was made.
    """

    logical_id: str
    type: str
    document: Document
    properties: Properties
    physical_id: str
    attributes: dict[str, Any] = field(default_factory=dict)
    nested: "StackState | None" = None
    update_policy: Properties = field(default_factory=dict)
    is_made: bool = False
    is_protected: bool = False


@dataclass
class StackState:
    """A stack as it is: its resources by logical id; no `status` before the first deployment."""

    name: str
    id: str
    status: str = ""
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def all(self) -> Iterator[tuple[str, Resource]]:
        """Yield the resources, those of nested stacks included."""
        for name, resource in self.resources.items():
            yield name, resource
            if resource.nested:
                yield from resource.nested.all()


class StackEvent(NamedTuple):
    """An event of one of a stack's resources, or of the stack itself."""

    stack: StackState
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str


class Kind(Protocol):
    """The operations of AWS on resources of a type."""

    def create(self, resource: Resource) -> None:
        """Make it; may set the physical id and attributes. Raises ResourceFailed."""

    def update(self, resource: Resource, old: Resource) -> None:
        """Change it from the old properties to its own. Raises ResourceFailed."""

    def restore(self, resource: Resource, failed: Resource) -> None:
        """Change it back to its properties, whether the change succeeded or failed.

        Raises ResourceFailed, which leaves the stack as it is.
        """

    def delete(self, resource: Resource) -> None:
        """Delete it. Raises ResourceFailed if that is impossible."""


class Described:
    """A type of which only the properties are checked, against its schema."""

    def __init__(self, resource_type: str) -> None:
        schema: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema(
            REGION, resource_type
        ).schema
        self._required = set(schema.get("required", ()))
        self._known = set(schema["properties"])

    def create(self, resource: Resource) -> None:
        given = set(resource.properties)
        if missing := self._required - given:
            raise ResourceFailed(f"{resource.type} lacks {sorted(missing)}")
        if unknown := given - self._known:
            raise ResourceFailed(f"{resource.type} has no {sorted(unknown)}")
        protection = str(resource.properties.get("DeletionProtection")).lower()
        resource.is_protected = protection in ("true", "active")

    def update(self, resource: Resource, old: Resource) -> None:
        self.create(resource)

    def restore(self, resource: Resource, failed: Resource) -> None:
        pass

    def delete(self, resource: Resource) -> None:
        if resource.is_protected:
            raise ResourceFailed(f"Cannot delete protected {resource.type}, disable protection")


def must_replace(resource_type: str, old: Properties, new: Properties) -> bool:
    """Whether a property changed that a resource of this type has for life."""
    if resource_type.startswith(CUSTOM):
        return False
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource_type).schema
    for_life = {path.split("/")[2] for path in schema.get("createOnlyProperties", ())}
    return any(old.get(name) != new.get(name) for name in for_life)
