"""No library writes a line of its own for a request: Mangum's would have the concrete path."""

import json
import os
import subprocess
import sys

from local.generate.sample_events import sample_events
from local.services import Services
from tests.worker_process import PYTHON_PATH

# As Lambda's runtime does before it imports the handler, with a log level of the function's.
COLD_START = """
import json, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="library %(name)s %(message)s")
from tests.example.writers import handler
class Context:
    aws_request_id = "1"
    get_remaining_time_in_millis = staticmethod(lambda: 10_000)
for _ in range(2):
    handler(json.loads(sys.argv[1]), Context())
"""


def test_a_cold_start_writes_one_line_per_request_without_its_path(
    services: Services, emptied: None, cache: object
) -> None:
    event = next(iter(sample_events().values()))
    event = json.loads(json.dumps(event).replace(event["rawPath"], "/writers/4711"))
    ran = subprocess.run(
        [sys.executable, "-c", COLD_START, json.dumps(event)],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        check=True,
    )
    after_import = [line for line in ran.stdout.splitlines() if not line.startswith("library asyn")]
    assert len(after_import) == 2, ran.stdout
    assert "4711" not in ran.stdout + ran.stderr
