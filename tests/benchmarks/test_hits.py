"""The shares of hits that the benchmark computes from a sequence of requests."""

from benchmarks.hits import hits
from benchmarks.hits_worker import Observed


def request(
    method: str, user_id: int, started: float, ended: float, cache: str | None = None
) -> Observed:
    times = {"started": started, "ended": ended}
    return {"method": method, "user_id": user_id, **times, "cache": cache}


def test_a_page_is_the_oracles_until_a_write_of_its_user_is_acknowledged() -> None:
    shares = hits(
        [
            request("GET", 1, 0, 1, "miss"),
            request("GET", 2, 1, 2, "miss"),
            request("POST", 2, 2, 5),
            request("GET", 2, 3, 4, "bypass"),  # the write is not acknowledged yet
            request("GET", 1, 6, 7, "hit"),
            request("GET", 2, 7, 8, "miss"),
            request("GET", 2, 8, 10, "hit"),
        ]
    )
    assert shares == {
        "project": 2 / 6,
        "oracle": 3 / 6,  # all but the two first ones, and the one after the write
        "whole_table": 2 / 6,  # nor the first user's after it
        "requests_per_second": 0.7,
    }
