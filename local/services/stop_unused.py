"""Stops the servers of a directory unless a program uses them: what a reaper runs.

python -m local.services.stop_unused DIRECTORY
"""

import sys
import time
from pathlib import Path

from local.services import stop_unused_services

SETTLE_SECONDS = 1.0
"""A server can be found this long after its start; the program that started it may be killed
before."""

if __name__ == "__main__":
    time.sleep(SETTLE_SECONDS)
    stop_unused_services(Path(sys.argv[1]))
