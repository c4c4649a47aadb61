"""CloudFormation's part in a deployment: what is made, changed and deleted, in which order.

Resources are made after what they refer to. One whose properties changed is updated, or replaced
where its type's schema says so; what is no longer wanted is deleted at the end. When a resource
fails, all that was done is undone in reverse order. Nested stacks take part in all of this as if
their resources were the parent's own.

What a resource is comes from its `Kind`: the types that matter to a deployment are in
`tests.rehearsal.aws`; of all others only properties are checked, against the type's schema.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.stacks import REGION, Evaluator

NESTED = "AWS::CloudFormation::Stack"
Properties = dict[str, Any]


class ResourceFailed(Exception):
    """A resource cannot be made, changed or deleted; the message is CloudFormation's reason."""


@dataclass
class Resource:
    """A resource as it is; `attributes` are those that AWS would know.

    `update_policy` says how CloudFormation changes it, if not at once.
    """

    type: str
    document: dict[str, Any]
    properties: Properties
    physical_id: str
    attributes: dict[str, Any] = field(default_factory=dict)
    nested: "StackState | None" = None
    update_policy: Properties = field(default_factory=dict)
    is_deleted: bool = False


@dataclass
class StackState:
    """A stack as it is: its resources by logical id."""

    name: str
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def all(self) -> Iterator[tuple[str, Resource]]:
        """Yield the resources, those of nested stacks included."""
        for name, resource in self.resources.items():
            yield name, resource
            if resource.nested:
                yield from resource.nested.all()


class Kind(Protocol):
    """What AWS does for resources of a type."""

    def create(self, resource: Resource) -> None:
        """Make it; may set the physical id and attributes. Raises ResourceFailed."""

    def update(self, resource: Resource) -> None:
        """Change it to its properties. Raises ResourceFailed."""

    def restore(self, resource: Resource) -> None:
        """Change it back to its properties, after a failure of it or of another resource."""

    def delete(self, resource: Resource) -> None:
        """Delete it. Raises ResourceFailed if it is protected."""


class Described:
    """A type of which only the properties are checked, against its schema."""

    def __init__(self, resource_type: str) -> None:
        schema: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema(
            REGION, resource_type
        ).schema
        self._required = set(schema.get("required", ()))
        self._known = set(schema["properties"])

    def create(self, resource: Resource) -> None:
        self._check(resource)

    def update(self, resource: Resource) -> None:
        self._check(resource)

    def restore(self, resource: Resource) -> None:
        pass

    def delete(self, resource: Resource) -> None:
        if str(resource.properties.get("DeletionProtection")).lower() == "true":
            raise ResourceFailed(f"Cannot delete protected {resource.type}, disable protection")

    def _check(self, resource: Resource) -> None:
        given = set(resource.properties)
        if missing := self._required - given:
            raise ResourceFailed(f"{resource.type} lacks {sorted(missing)}")
        if unknown := given - self._known:
            raise ResourceFailed(f"{resource.type} has no {sorted(unknown)}")


def must_replace(resource_type: str, old: Properties, new: Properties) -> bool:
    """Whether a property changed that a resource of this type has for life."""
    if resource_type.startswith("Custom::"):
        return False
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource_type).schema
    for_life = {path.split("/")[2] for path in schema.get("createOnlyProperties", ())}
    return any(old.get(name) != new.get(name) for name in for_life)


class Deployment:
    """One change of a stack and of those in it. `kind_of` returns what AWS does for a type.

    `template_of` returns the document of a nested stack by its URL. `on_event` is told of each
    resource: its stack, logical id, type, status and reason.
    """

    def __init__(
        self,
        kind_of: Callable[[str], Kind],
        template_of: Callable[[str], dict[str, Any]],
        on_event: Callable[[str, str, str, str, str], None],
    ) -> None:
        self._kind_of = kind_of
        self._template_of = template_of
        self._on_event = on_event
        self._undo: list[Callable[[], None]] = []
        self._obsolete: list[Resource] = []

    def run(self, state: StackState, document: dict[str, Any], parameters: Properties) -> bool:
        """Bring the stack to the document, or leave it as it was; return whether it succeeded."""
        try:
            self._deploy(state, document, parameters)
        except ResourceFailed:
            for undo in reversed(self._undo):
                undo()
            return False
        self._delete_obsolete(state.name)
        return True

    def remove(self, state: StackState) -> bool:
        """Delete the stack's resources but for those to be kept; return whether that succeeded."""
        for resource in state.resources.values():
            self._remove(resource)
        try:
            self._delete_obsolete(state.name)
        except ResourceFailed:
            return False
        return True

    def _delete_obsolete(self, stack_name: str) -> None:
        for resource in reversed(self._obsolete):
            try:
                self._kind_of(resource.type).delete(resource)
                resource.is_deleted = True
            except ResourceFailed as failed:
                name, kind = resource.physical_id, resource.type
                self._on_event(stack_name, name, kind, "DELETE_FAILED", str(failed))
                raise

    def _deploy(self, state: StackState, document: dict[str, Any], parameters: Properties) -> None:
        before = dict(state.resources)
        evaluator = _Live(document, parameters, state)
        outputs = state.outputs
        self._undo.append(lambda: _restore(state, before, outputs))
        wanted = [name for name in _ordered(document) if evaluator.has(name)]
        for name in wanted:
            self._deploy_resource(state, name, document["Resources"][name], evaluator)
        for name in set(before) - set(wanted):
            self._remove(state.resources.pop(name))
        named = [name for name in document.get("Outputs", {}) if evaluator.has(name)]
        state.outputs = {name: evaluator.output(name) for name in named}

    def _deploy_resource(
        self, state: StackState, name: str, document: dict[str, Any], evaluator: "_Live"
    ) -> None:
        old = state.resources.get(name)
        resource_type = document["Type"]
        properties = evaluator.resolved(document.get("Properties", {}))
        new = Resource(resource_type, document, properties, f"{state.name}-{name}".lower())
        new.update_policy = evaluator.resolved(document.get("UpdatePolicy", {}))
        try:
            if resource_type == NESTED:
                self._deploy_nested(state, name, new, old)
            elif old is None:
                self._create(new)
            elif old.properties != properties:
                self._change(new, old)
            else:
                new = old
        except ResourceFailed as failed:
            status = "UPDATE_FAILED" if old else "CREATE_FAILED"
            self._on_event(state.name, name, resource_type, status, str(failed))
            raise
        state.resources[name] = new
        if new is not old:
            status = "UPDATE_COMPLETE" if old else "CREATE_COMPLETE"
            self._on_event(state.name, name, resource_type, status, "")

    def _create(self, new: Resource) -> None:
        kind = self._kind_of(new.type)
        kind.create(new)
        self._undo.append(lambda: kind.delete(new))

    def _change(self, new: Resource, old: Resource) -> None:
        if must_replace(new.type, old.properties, new.properties):
            self._create(new)
            self._remove(old, "UpdateReplacePolicy")
            return
        kind = self._kind_of(new.type)
        new.physical_id, new.attributes = old.physical_id, old.attributes
        self._undo.append(lambda: kind.restore(old))
        kind.update(new)

    def _deploy_nested(
        self, state: StackState, name: str, new: Resource, old: Resource | None
    ) -> None:
        nested = old.nested if old else None
        new.nested = nested or StackState(f"{state.name}-{name}")
        document = self._template_of(new.properties["TemplateURL"])
        self._deploy(new.nested, document, new.properties.get("Parameters", {}))

    def _remove(self, resource: Resource, policy: str = "DeletionPolicy") -> None:
        """Delete it in the end, unless it is to be kept."""
        if resource.is_deleted:
            return
        if resource.nested:
            for _, inner in resource.nested.all():
                self._remove(inner)
        elif resource.document.get(policy, "Delete") != "Retain":  # with or without a snapshot
            self._obsolete.append(resource)


class _Live(Evaluator):
    """Evaluates with the resources that are there."""

    def __init__(self, document: dict[str, Any], parameters: Properties, state: StackState) -> None:
        super().__init__(document, parameters)
        self._values["AWS::StackName"] = state.name
        self._resources = state.resources

    def reference(self, resource: str) -> str:
        return self._resources[resource].physical_id

    def attribute(self, resource: str, attribute: str) -> Any:
        made = self._resources[resource]
        if attribute in made.attributes:
            return made.attributes[attribute]
        if made.nested:
            return made.nested.outputs[attribute.removeprefix("Outputs.")]
        return super().attribute(resource, attribute)


def _restore(state: StackState, resources: dict[str, Resource], outputs: dict[str, Any]) -> None:
    state.resources = resources
    state.outputs = outputs


def _ordered(document: dict[str, Any]) -> list[str]:
    """Return the logical ids, each after what it refers to. Raises ResourceFailed for a circle."""
    resources = document["Resources"]
    left = {name: _references(resource) & set(resources) for name, resource in resources.items()}
    ordered: list[str] = []
    while left:
        ready = [name for name, references in left.items() if references <= set(ordered)]
        if not ready:
            raise ResourceFailed(f"circular dependency between {sorted(left)}")
        ordered += ready
        for name in ready:
            del left[name]
    return ordered


def _references(resource: dict[str, Any]) -> set[str]:
    depends = resource.get("DependsOn", [])
    found = {depends} if isinstance(depends, str) else set(depends)
    # CodeDeploy's group comes before the alias that it moves.
    parts = json.dumps([resource.get("Properties", {}), resource.get("UpdatePolicy", {})])
    found |= set(re.findall(r'"Ref": "(\w+)"', parts))
    found |= set(re.findall(r'"Fn::GetAtt": \["(\w+)"', parts))
    found |= set(re.findall(r'"Fn::GetAtt": "(\w+)\.', parts))
    return found | set(re.findall(r"\$\{(\w+)[.}]", parts))
