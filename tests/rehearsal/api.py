"""CloudFormation's API: moto's, but `tests.rehearsal.cloudformation` deploys SAM's templates.

Other stacks, such as SAM's own bucket, are moto's.
"""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partialmethod
from typing import Any, cast

import pytest
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Event, Stack
from moto.cloudformation.parsing import Output, OutputMap, ResourceMap
from moto.cloudformation.utils import get_stack_from_s3_url
from samcli.yamlhelper import yaml_parse

from tests.rehearsal import cloudformation
from tests.rehearsal.resources import ACCOUNT, NESTED, Kind, Resource, StackEvent, StackState
from tests.template.stacks import REGION, translated

PARTITION = "aws"
Motos = Callable[..., Any]
"""A method of moto's, with its object as the first argument."""
FINAL = re.compile(r"(CREATE|DELETE|ROLLBACK|UPDATE_ROLLBACK)_FAILED|ROLLBACK_COMPLETE")
"""States of a stack that cannot be updated."""


class CloudFormation:
    """Stacks of one account in one region.

    `stacks` are those deployed from SAM's templates, `events` their events in order, including
    those of nested stacks, and `kept` the resources that no stack has any more.
    """

    def __init__(self, kind_of: Callable[[str], Kind]) -> None:
        self.stacks: dict[str, StackState] = {}
        self.events: list[StackEvent] = []
        self.kept: list[Resource] = []
        self._kind_of = kind_of
        self._of_nested: dict[str, list[Event]] = defaultdict(list)

    def take_over(self, patch: pytest.MonkeyPatch) -> None:
        """Handle moto's requests from now on; those of other stacks are passed on."""
        backend = CloudFormationBackend
        for owner, name, own in (
            (ChangeSet, "diff", self._diff),
            (backend, "create_change_set", self._create_change_set),
            (backend, "execute_change_set", self._execute_change_set),
            (backend, "delete_stack", self._delete_stack),
            (backend, "describe_stack_events", self._describe_stack_events),
            (backend, "get_template", self._get_template),
        ):
            patch.setattr(owner, name, partialmethod(_handle, own, getattr(owner, name)))

    def _diff(self, motos: Motos, change_set: ChangeSet) -> list[Change]:
        if not _is_ours(change_set):
            return list(motos(change_set))
        known = self.stacks.get(change_set.stack_name, StackState("", "")).resources
        return list(_changes(translated(yaml_parse(change_set.template)), known))

    def _create_change_set(
        self, motos: Motos, backend: CloudFormationBackend, **given: Any
    ) -> tuple[str, str]:
        """A nested stack counts as a change, so that there is something to execute."""
        stack = self.stacks.get(given["stack_name"])
        if stack and FINAL.fullmatch(stack.status):
            raise ValidationError(
                message=f"Stack:{stack.id} is in {stack.status} state and can not be updated."
            )
        change_set_id, stack_id = motos(backend, **given)
        change_set = backend.change_sets[change_set_id]
        if any(change.resource_type == NESTED for change in change_set.changes):
            change_set.status, change_set.execution_status = "CREATE_COMPLETE", "AVAILABLE"
        return change_set_id, stack_id

    def _execute_change_set(
        self, motos: Motos, backend: CloudFormationBackend, change_set_name: str, stack_name: str
    ) -> None:
        change_set = backend.describe_change_set(change_set_name)
        assert change_set
        if not _is_ours(change_set):
            motos(backend, change_set_name, stack_name)
            change_set.stack._parse_template()
            change_set.stack.output_map = change_set.stack._create_output_map()
            return
        change_set.stack.status = f"{change_set.change_set_type}_IN_PROGRESS"
        threading.Thread(target=self._deploy, args=(change_set,), daemon=True).start()

    def _delete_stack(
        self, motos: Motos, backend: CloudFormationBackend, name_or_stack_id: str
    ) -> None:
        stack = backend.get_stack(name_or_stack_id)
        if stack.name not in self.stacks:
            motos(backend, name_or_stack_id)
            return
        cloudformation.remove(self._services(stack), self.stacks[stack.name])
        if stack.status == "DELETE_COMPLETE":
            del self.stacks[stack.name]
            backend.deleted_stacks[stack.stack_id] = backend.stacks.pop(stack.stack_id)

    def _describe_stack_events(
        self, motos: Motos, backend: CloudFormationBackend, stack_name: str
    ) -> list[Event]:
        """Of a nested stack by its id, or of another one."""
        return self._of_nested.get(stack_name) or list(motos(backend, stack_name))

    def _get_template(
        self, motos: Motos, backend: CloudFormationBackend, name_or_stack_id: str
    ) -> str:
        """With S3's own host, as `sam delete` knows no other."""
        template = str(motos(backend, name_or_stack_id))
        return re.sub(r"http://localhost:\d+", f"https://s3.{REGION}.amazonaws.com", template)

    def _deploy(self, change_set: ChangeSet) -> None:
        stack, name = change_set.stack, change_set.stack_name
        state = self.stacks.setdefault(name, StackState(name, stack.stack_id))
        services = self._services(stack, change_set)
        document = translated(yaml_parse(change_set.template))
        try:
            cloudformation.deploy(services, state, document, change_set.parameters)
        except Exception as error:  # noqa: BLE001 - else sam would wait for ever
            reason = f"the rehearsal itself: {error!r}"
            services.on_event(StackEvent(state, name, state.id, NESTED, "CREATE_FAILED", reason))

    def _services(
        self, root: Stack, change_set: ChangeSet | None = None
    ) -> cloudformation.Services:
        """Return what a deployment of the stack, or its removal, asks for."""

        def on_event(event: StackEvent) -> None:
            self.events.append(event)
            ids = (event.stack.id, event.stack.name, event.logical_id, event.physical_id)
            shown = Event(*ids, event.type, event.status, event.reason or None, None)
            if event.stack.id != root.stack_id:
                self._of_nested[event.stack.id].append(shown)
                return
            if event.physical_id == root.stack_id:
                if change_set and "IN_PROGRESS" not in event.status:
                    _publish(change_set, event.stack, event.status)
                root.status = event.status
            root.events.append(shown)

        return cloudformation.Services(self._kind_of, _template_of, on_event, self.kept)


def _handle(moto: Any, own: Callable[..., Any], motos: Motos, *arguments: Any, **named: Any) -> Any:
    return own(motos, moto, *arguments, **named)


class _Outputs(dict[str, Any]):
    """A stack's outputs, as moto writes them."""

    exports: tuple[Any, ...] = ()

    def __init__(self, outputs: dict[str, Any]) -> None:
        super().__init__({name: Output(name, str(value), name) for name, value in outputs.items()})


class _Parameters(dict[str, Any]):
    """A stack's parameters, as moto looks them up."""

    no_echo_parameter_keys: tuple[str, ...] = ()

    def __init__(self, parameters: dict[str, str]) -> None:
        super().__init__()
        self.resolved_parameters = parameters


def _publish(change_set: ChangeSet, state: StackState, status: str) -> None:
    """Let the stack have the template and parameters, unless it went back to those before."""
    stack = change_set.stack
    if change_set.change_set_type == "CREATE" or status == "UPDATE_COMPLETE":
        declared = change_set.template_dict["Parameters"]
        defaults = {key: str(declared[key].get("Default", "")) for key in declared}
        stack.template, stack.parameters = change_set.template, defaults | change_set.parameters
        stack.template_dict = change_set.template_dict
    stack.output_map = cast("OutputMap", _Outputs(state.outputs))
    stack.resource_map = cast("ResourceMap", _Parameters(stack.parameters))
    change_set.execution_status = "EXECUTE_COMPLETE"


def _changes(document: dict[str, Any], known: dict[str, Resource]) -> Iterator[Change]:
    """Yield what a change set lists: nested stacks, whatever changes, and what reads otherwise."""
    resources = document["Resources"]
    for name, resource in resources.items():
        if name not in known:
            yield Change("Add", name, resource["Type"])
        elif resource["Type"] == NESTED or known[name].document != resource:
            yield Change("Modify", name, resource["Type"])
    for name in known.keys() - resources.keys():
        yield Change("Remove", name, known[name].type)


def _is_ours(change_set: ChangeSet) -> bool:
    types = (resource["Type"] for resource in change_set.template_dict["Resources"].values())
    return any(one.startswith("AWS::Serverless::") for one in types)


def _template_of(url: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml_parse(get_stack_from_s3_url(url, ACCOUNT, PARTITION))
    return document
