"""CloudFormation's part in a deployment: what is created, changed and deleted, in which order.

A resource is created after those to which it refers; of several that could be next, nested stacks
and custom resources are last, as they take longest. A resource whose properties changed is updated,
or replaced if its type's schema requires that; removed ones are deleted at the end. If a resource
fails,

- a new stack is deleted in reverse order, including the failed resource: `ROLLBACK_COMPLETE`, or
  `ROLLBACK_FAILED` if a resource is protected, which then keeps those that it needs;
- an existing stack gets its old properties back, in the order in which they were changed, including
  those of the failed resource: `UPDATE_ROLLBACK_COMPLETE`, or `UPDATE_ROLLBACK_FAILED`.

A nested stack is one resource of its parent, and has events of its own.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.rehearsal.resources import (
    ACCOUNT,
    CUSTOM,
    NESTED,
    Document,
    Kind,
    Properties,
    Resource,
    ResourceFailed,
    StackEvent,
    StackState,
    must_replace,
)
from tests.template.stacks import REGION, Evaluator

STARTED = "User Initiated"


@dataclass
class Services:
    """The parts of AWS that a deployment uses.

    `kind_of` returns what AWS does for a type, `template_of` the document of a nested stack by its
    URL. `on_event` is called with each event. `kept` gets the resources that no stack has any more.
    """

    kind_of: Callable[[str], Kind]
    template_of: Callable[[str], Document]
    on_event: Callable[[StackEvent], None]
    kept: list[Resource] = field(default_factory=list)


def deploy(services: Services, stack: StackState, document: Document, given: Properties) -> None:
    """Update the stack to the document, or roll it back; its status says which."""
    change = _Change(services, stack)
    try:
        change.deploy(document, given)
    except ResourceFailed as failed:
        change.roll_back(str(failed))
    else:
        change.clean_up()


def remove(services: Services, stack: StackState) -> None:
    """Delete the stack's resources, except those to keep; its status says whether it succeeded."""
    _Removal(services, stack, was_new=False).run()


class _Operation:
    """An operation on one stack."""

    def __init__(self, services: Services, stack: StackState) -> None:
        self._services = services
        self._stack = stack

    def _tell(self, resource: Resource, status: str, reason: str = "") -> None:
        ids = (resource.logical_id, resource.physical_id)
        self._services.on_event(StackEvent(self._stack, *ids, resource.type, status, reason))

    def _be(self, status: str, reason: str = "") -> None:
        self._stack.status = status
        ids = (self._stack.name, self._stack.id)
        self._services.on_event(StackEvent(self._stack, *ids, NESTED, status, reason))

    def _delete(
        self, resource: Resource, *, was_new: bool = False, policy: str = "DeletionPolicy"
    ) -> None:
        """Delete it if its policy allows that; `was_new`: the rolled back change created it.

        Raises ResourceFailed.
        """
        declared = resource.document.get(policy, "Delete")  # with or without a snapshot
        if declared == "Retain" or (declared == "RetainExceptOnCreate" and not was_new):
            self._services.kept.append(resource)
            self._tell(resource, "DELETE_SKIPPED")
            return
        try:
            if resource.nested:
                _Removal(self._services, resource.nested, was_new=was_new).run()
                if resource.nested.status == "DELETE_FAILED":
                    raise ResourceFailed(
                        f"Embedded stack {resource.nested.id} was not successfully deleted: "
                        + _failed("delete", resource.nested.resources)
                    )
            elif resource.is_made or resource.type.startswith(CUSTOM):
                self._services.kind_of(resource.type).delete(resource)
        except ResourceFailed as failed:
            self._tell(resource, "DELETE_FAILED", str(failed))
            raise
        self._tell(resource, "DELETE_COMPLETE")


class _Removal(_Operation):
    """The deletion of a stack; `was_new`: the rolled back change created it."""

    def __init__(self, services: Services, stack: StackState, *, was_new: bool) -> None:
        super().__init__(services, stack)
        self._was_new = was_new

    def run(self) -> None:
        self._be("DELETE_IN_PROGRESS", STARTED)
        failed = self.delete_resources()
        self._be(
            "DELETE_FAILED" if failed else "DELETE_COMPLETE",
            _failed("delete", failed) if failed else "",
        )

    def delete_resources(self) -> list[str]:
        """Delete them in reverse order; return those that are left, with what they need."""
        resources = self._stack.resources
        failed, needed = [], set[str]()
        for name in reversed(_ordered({name: one.document for name, one in resources.items()})):
            if name not in needed:
                try:
                    self._delete(resources[name], was_new=self._was_new)
                except ResourceFailed:
                    failed.append(name)
                else:
                    del resources[name]
                    continue
            needed |= _references(resources[name].document)
        return failed


@dataclass
class _Step:
    """A change of one resource; `old` is None if it is new, `nested` the change of its stack."""

    new: Resource
    old: Resource | None
    nested: "_Change | None" = None

    @property
    def is_made(self) -> bool:
        """Whether there is a new resource, which a rollback deletes."""
        return self.old is None or self.old.physical_id != self.new.physical_id


class _Change(_Operation):
    """One change of a stack: `deploy`, and then either `clean_up` or `roll_back`."""

    def __init__(self, services: Services, stack: StackState) -> None:
        super().__init__(services, stack)
        self._is_new = not stack.status
        self._before = dict(stack.resources), stack.outputs
        self._steps: list[_Step] = []
        self._obsolete: list[tuple[Resource, str]] = []
        self._has_begun = False

    def deploy(self, document: Document, given: Properties) -> None:
        """Make, change and no longer want resources. Raises ResourceFailed at the first failure."""
        stack = self._stack
        evaluator = _Live(document, given, stack)
        wanted = [name for name in _ordered(document["Resources"]) if evaluator.has(name)]
        if self._is_new:
            self._begin()
        for name in wanted:
            self._deploy_resource(name, document["Resources"][name], evaluator)
        for name in [name for name in stack.resources if name not in wanted]:
            self._begin()
            self._obsolete.append((stack.resources.pop(name), "DeletionPolicy"))
        named = [name for name in document.get("Outputs", {}) if evaluator.has(name)]
        stack.outputs = {name: evaluator.output(name) for name in named}
        if self._is_new:
            self._be("CREATE_COMPLETE")
        elif self._has_begun:
            self._be("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")

    def _begin(self) -> None:
        """A nested stack in which nothing changes does not tell anything."""
        if not self._has_begun:
            self._has_begun = True
            self._be(f"{'CREATE' if self._is_new else 'UPDATE'}_IN_PROGRESS", STARTED)

    def _deploy_resource(self, name: str, document: Document, evaluator: "_Live") -> None:
        resources = self._stack.resources
        old = resources.get(name)
        properties = evaluator.resolved(document.get("Properties", {}))
        policy = evaluator.resolved(document.get("UpdatePolicy", {}))
        if old and old.properties == properties and document["Type"] != NESTED:
            resources[name] = replace(old, document=document, update_policy=policy)
            return
        self._begin()
        physical_id = f"{self._stack.name}-{name}-{uuid.uuid4().hex[:8]}".lower()
        new = Resource(name, document["Type"], document, properties, physical_id)
        new.update_policy = policy
        verb = "update" if old else "create"
        try:
            self._execute(_Step(new, old))
        except ResourceFailed as failed:
            self._tell(new, f"{verb}_FAILED".upper(), str(failed))
            raise ResourceFailed(_failed(verb, [name])) from failed
        finally:
            resources[name] = new
        self._tell(new, f"{verb}_COMPLETE".upper())

    def _execute(self, step: _Step) -> None:
        self._steps.append(step)
        new, old = step.new, step.old
        if new.type == NESTED:
            self._deploy_nested(step)
            return
        kind = self._services.kind_of(new.type)
        if old is None or must_replace(new.type, old.properties, new.properties):
            kind.create(new)
            new.is_made = True
            if old:
                self._obsolete.append((old, "UpdateReplacePolicy"))
            return
        new.physical_id, new.attributes, new.is_made = old.physical_id, old.attributes, True
        new.is_protected = old.is_protected
        kind.update(new, old)

    def _deploy_nested(self, step: _Step) -> None:
        new, old = step.new, step.old
        if old:
            new.nested, new.physical_id = old.nested, old.physical_id
        else:
            new.nested = self._new_stack(new.logical_id)
            new.physical_id = new.nested.id
        assert new.nested
        step.nested = _Change(self._services, new.nested)
        document = self._services.template_of(new.properties["TemplateURL"])
        try:
            step.nested.deploy(document, new.properties.get("Parameters", {}))
        except ResourceFailed as failed:
            raise ResourceFailed(step.nested.fail(str(failed))) from failed

    def _new_stack(self, name: str) -> StackState:
        identity = str(uuid.uuid4())
        full_name = f"{self._stack.name}-{name}-{identity[:8].upper()}"
        arn = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{full_name}/{identity}"
        return StackState(full_name, arn)

    def fail(self, reason: str) -> str:
        """Fail as a nested stack: go back if there is a way; return what the parent says of it."""
        embedded = f"Embedded stack {self._stack.id} was not successfully"
        if self._is_new:
            self._be("CREATE_FAILED", reason)
            return f"{embedded} created: {reason}"
        self.roll_back(reason)
        status = "FAILED" if self._stack.status.endswith("FAILED") else "IN_PROGRESS"
        return f"{embedded} updated. Currently in UPDATE_ROLLBACK_{status} with reason: {reason}"

    def take_back(self) -> None:
        """Go back because the parent does, unless it has already. Raises ResourceFailed."""
        if self._has_begun and "ROLLBACK" not in self._stack.status:
            self.roll_back("The parent stack is rolled back")
        if self._stack.status.endswith("FAILED"):
            raise ResourceFailed(
                f"Embedded stack {self._stack.id} was not successfully updated. "
                f"Currently in {self._stack.status}"
            )

    def clean_up(self) -> None:
        """Delete the removed resources; one that cannot be deleted is ignored."""
        for step in self._steps:
            if step.nested:
                step.nested.clean_up()
        if self._is_new or not self._has_begun:
            return
        for resource, policy in reversed(self._obsolete):
            try:
                self._delete(resource, policy=policy)
            except ResourceFailed:
                self._services.kept.append(resource)
        self._be("UPDATE_COMPLETE")

    def roll_back(self, reason: str) -> None:
        """Roll the stack back; its status says whether that succeeded."""
        if self._is_new:
            self._be("ROLLBACK_IN_PROGRESS", reason)
            failed = _Removal(self._services, self._stack, was_new=True).delete_resources()
            if failed:
                self._be("ROLLBACK_FAILED", _failed("delete", failed))
            else:
                self._be("ROLLBACK_COMPLETE")
            return
        self._be("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        try:
            self._restore()
        except ResourceFailed as failed:
            self._be("UPDATE_ROLLBACK_FAILED", str(failed))
            return
        self._be("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        for step in reversed(self._steps):
            if step.is_made:
                try:
                    self._delete(step.new, was_new=True)
                except ResourceFailed:
                    self._services.kept.append(step.new)
        self._be("UPDATE_ROLLBACK_COMPLETE")

    def _restore(self) -> None:
        """Give what was changed its old properties. Raises ResourceFailed at the first failure."""
        for step in self._steps:
            if step.old is None or step.is_made:
                continue
            try:
                if step.nested:
                    step.nested.take_back()
                else:
                    self._services.kind_of(step.old.type).restore(step.old, step.new)
            except ResourceFailed as failed:
                self._tell(step.old, "UPDATE_FAILED", str(failed))
                raise ResourceFailed(_failed("update", [step.old.logical_id])) from failed
            self._tell(step.old, "UPDATE_COMPLETE")
            self._stack.resources[step.old.logical_id] = step.old
        self._stack.resources, self._stack.outputs = self._before


class _Live(Evaluator):
    """Evaluates with the resources that are there. Parameters are texts, also those by default."""

    def __init__(self, document: Document, given: Properties, stack: StackState) -> None:
        declared = document.get("Parameters", {})
        defaults = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one}
        super().__init__(document, defaults | given)
        self._values["AWS::StackName"] = stack.name
        self._resources = stack.resources

    def reference(self, resource: str) -> str:
        return self._resources[resource].physical_id

    def attribute(self, resource: str, attribute: str) -> Any:
        made = self._resources[resource]
        if attribute in made.attributes:
            return made.attributes[attribute]
        if made.nested:
            return made.nested.outputs[attribute.removeprefix("Outputs.")]
        return super().attribute(resource, attribute)


def _failed(verb: str, names: Iterable[str]) -> str:
    return f"The following resource(s) failed to {verb}: [{', '.join(names)}]."


def _is_slow(resource_type: str) -> bool:
    return resource_type == NESTED or resource_type.startswith(CUSTOM)


def _ordered(resources: dict[str, Document]) -> list[str]:
    """Return the logical ids, each after what it refers to. Raises ResourceFailed for a circle."""
    left = {name: _references(resource) & set(resources) for name, resource in resources.items()}
    ordered: list[str] = []
    while left:
        ready = [name for name, references in left.items() if references <= set(ordered)]
        if not ready:
            raise ResourceFailed(f"circular dependency between {sorted(left)}")
        quick = [name for name in ready if not _is_slow(resources[name]["Type"])]
        ordered += quick or ready[:1]
        for name in quick or ready[:1]:
            del left[name]
    return ordered


def _references(resource: Document) -> set[str]:
    depends = resource.get("DependsOn", [])
    found = {depends} if isinstance(depends, str) else set(depends)
    # CodeDeploy's group comes before the alias that it moves.
    parts = json.dumps([resource.get("Properties", {}), resource.get("UpdatePolicy", {})])
    found |= set(re.findall(r'"Ref": "(\w+)"', parts))
    found |= set(re.findall(r'"Fn::GetAtt": \["(\w+)"', parts))
    found |= set(re.findall(r'"Fn::GetAtt": "(\w+)\.', parts))
    return found | set(re.findall(r"\$\{(\w+)[.}]", parts))
