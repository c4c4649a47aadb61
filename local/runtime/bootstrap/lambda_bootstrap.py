"""AWS's runtime client for a function, which accepts only events of the local gateway.

    python -m lambda_bootstrap users.handler.handler

The Lambda emulator runs whatever is posted to its port, as any web page can do. So an event must be
`{"secret": …, "event": …}` with the secret of this process; the function does not get any other.
The rest is `python -m awslambdaric`.

This folder is last on the function's PYTHONPATH: keep everything else out of it.
"""

import hmac
import os
import sys
from typing import Any

from awslambdaric.__main__ import main
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller
from lambda_development import install


class GatewayEvents(LambdaMarshaller):  # type: ignore[misc]
    """Unwraps events; a forged one is an error of the invocation."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret.encode()

    def unmarshal_request(self, request: bytes, content_type: str = "application/json") -> Any:
        envelope = super().unmarshal_request(request, content_type)
        sent = envelope.get("secret") if isinstance(envelope, dict) else None
        if not hmac.compare_digest(str(sent).encode(errors="replace"), self._secret):
            raise FaultException("Sandbox.ForgedEvent", "this event is not the local gateway's")
        return envelope["event"]


if __name__ == "__main__":
    install()
    LambdaRuntimeClient.marshaller = GatewayEvents(os.environ.pop("LOCAL_EVENT_SECRET"))
    main(sys.argv)
