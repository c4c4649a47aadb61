"""The module that Lambda puts beside a function whose code is in a template."""

import json
import urllib.request
from typing import Any

SUCCESS = "SUCCESS"
FAILED = "FAILED"


def send(
    event: dict[str, Any],
    _context: Any,
    status: str,
    data: dict[str, Any],
    physical_resource_id: str,
    reason: str = "",
) -> None:
    """Respond to CloudFormation."""
    named = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    response = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": physical_resource_id,
        "Data": data,
        **named,
    }
    urllib.request.urlopen(
        urllib.request.Request(
            event["ResponseURL"], json.dumps(response).encode(), {"Content-Type": ""}, method="PUT"
        )
    ).close()
