"""A circuit breaker: after a failure, calls are skipped for a while instead of waited for.

A worker serves one request at a time, so one failure is enough to open the circuit and the next
call after the pause is the probe; there is no half-open state to keep.
"""

from time import monotonic


class CircuitBreaker:
    """Open for `pause_seconds` after each failure."""

    def __init__(self, pause_seconds: float) -> None:
        self.pause_seconds = pause_seconds
        self._closed_from = 0.0

    @property
    def is_open(self) -> bool:
        return monotonic() < self._closed_from

    def failed(self) -> None:
        self._closed_from = monotonic() + self.pause_seconds
