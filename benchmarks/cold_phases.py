"""A cold start without the emulator, which reports when each phase ended.

    python [-X importtime] cold_phases.py users.handler.handler EVENT

Run by Lambda's Python on the site of a system; it imports nothing before the phases begin. Prints
one JSON object, the clock (`time.monotonic`) at the end of each phase. A line `phase: NAME` on
stderr precedes the imports of each phase.
"""

import sys
import time


def main(handler_path: str, event_text: str) -> None:
    ended = {"interpreter": time.monotonic()}
    _announce("runtime client")
    import awslambdaric.__main__

    ended["runtime client"] = time.monotonic()
    _announce("imports of the handler")
    import importlib

    module, _, name = handler_path.rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    ended["imports of the handler"] = time.monotonic()
    import json

    event = json.loads(event_text)
    deadline_milliseconds = int(time.time() * 1000) + 60_000
    context = awslambdaric.bootstrap.LambdaContext("benchmark", None, None, deadline_milliseconds)
    _announce("first request")
    response = handler(event, context)
    ended["first request"] = time.monotonic()
    assert response["statusCode"] == 200, response
    print(json.dumps(ended), flush=True)
    _leave()


def _announce(phase: str) -> None:
    print(f"phase: {phase}", file=sys.stderr, flush=True)


def _leave() -> None:
    """Exit without cleanup, which would take 0.2 s and never happens in Lambda."""
    import os

    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
