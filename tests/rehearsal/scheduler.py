"""EventBridge Scheduler's part in a deployment: a rate without a start begins at once."""

from typing import Any

from local.runtime.worker import Invocation
from tests.rehearsal.iam import Iam
from tests.rehearsal.lambdas import Lambda
from tests.rehearsal.resources import Described, Resource, ResourceFailed


class Scheduler:
    """Schedules of one account, which invoke functions as their roles."""

    def __init__(self, functions: Lambda, iam: Iam) -> None:
        self.invocations: list[Invocation] = []
        self._functions = functions
        self._iam = iam

    def kinds(self) -> dict[str, Any]:
        return {"AWS::Scheduler::Schedule": _ScheduleKind(self)}

    def begin(self, schedule: dict[str, Any]) -> None:
        """Do what AWS does when a schedule is made. Times of cron and at() do not come here."""
        if not schedule["ScheduleExpression"].startswith("rate(") or "StartDate" in schedule:
            return
        target = schedule["Target"]
        role = target["RoleArn"].rpartition("/")[2]
        self._iam.settle(role)  # it tries again for a day
        if denied := self._iam.denies(role, "lambda:InvokeFunction", target["Arn"]):
            raise ResourceFailed(f"no run of this schedule would ever succeed: {denied}")
        event = target.get("Input", "{}").encode()
        self.invocations.append(self._functions.invoke(target["Arn"], event))


class _ScheduleKind(Described):
    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__("AWS::Scheduler::Schedule")
        self._scheduler = scheduler

    def create(self, resource: Resource) -> None:
        super().create(resource)
        self._scheduler.begin(resource.properties)

    def update(self, resource: Resource, old: Resource) -> None:
        super().create(resource)
