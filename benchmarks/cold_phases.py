"""A cold start without the emulator, which says when each of its phases ended.

    python [-X importtime] cold_phases.py users.handler.handler EVENT

Run by Lambda's Python on a process's site: before the phases begin it imports nothing but what
every Python has. Prints one JSON object, the clock (`time.monotonic`) at the end of each phase; on
stderr a line `phase: NAME` goes ahead of each, so that the imports can be told apart.
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
    deadline_milliseconds = int(time.time() * 1000) + 10_000
    context = awslambdaric.bootstrap.LambdaContext("benchmark", None, None, deadline_milliseconds)
    _announce("first request")
    answer = handler(event, context)
    ended["first request"] = time.monotonic()
    assert answer["statusCode"] == 200, answer
    print(json.dumps(ended), flush=True)
    _leave()


def _announce(phase: str) -> None:
    print(f"phase: {phase}", file=sys.stderr, flush=True)


def _leave() -> None:
    """At once: Lambda never has an interpreter end in order, and it would take 0.2 s."""
    import os

    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
