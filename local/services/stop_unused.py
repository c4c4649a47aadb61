"""Stop the servers of a directory unless a program uses them; the command of a reaper.

python -m local.services.stop_unused DIRECTORY
"""

import sys
import time
from pathlib import Path

from local.services import stop_unused_services

SETTLE_SECONDS = 1.0
"""After this time a started server can be found, even if the program that started it was killed."""

if __name__ == "__main__":
    time.sleep(SETTLE_SECONDS)
    stop_unused_services(Path(sys.argv[1]))
