"""A worker in a process of its own: makes as many requests as a line of stdin says.

Writes the number of those that were not rejected.
"""

import sys

from tests.in_process import client_of


def main() -> None:
    with client_of() as api:
        for line in sys.stdin:
            statuses = [api.get("/writers").status_code for _ in range(int(line))]
            print(sum(status != 429 for status in statuses), flush=True)


if __name__ == "__main__":
    main()
