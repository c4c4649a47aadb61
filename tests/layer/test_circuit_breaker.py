"""The circuit breaker: open for a pause after each failure."""

import pytest

from shared.cache import circuit_breaker
from shared.cache.circuit_breaker import CircuitBreaker


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The breaker's clock; its one item is the time."""
    time = [1000.0]
    monkeypatch.setattr(circuit_breaker, "monotonic", lambda: time[0])
    return time


def test_it_is_closed_at_first(clock: list[float]) -> None:
    assert not CircuitBreaker(2.0).is_open


def test_a_failure_opens_it_for_the_pause(clock: list[float]) -> None:
    breaker = CircuitBreaker(2.0)
    breaker.failed()
    assert breaker.is_open
    clock[0] += 1.99
    assert breaker.is_open
    clock[0] += 0.01
    assert not breaker.is_open


def test_a_later_failure_begins_a_new_pause(clock: list[float]) -> None:
    breaker = CircuitBreaker(2.0)
    breaker.failed()
    clock[0] += 5.0
    breaker.failed()
    clock[0] += 1.0
    assert breaker.is_open
