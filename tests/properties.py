"""Hypothesis, for tests of properties, with patience for a busy machine.

Only these tests import it: it takes a sixth of a second.
"""

from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st

__all__ = ["example", "given", "reject", "settings", "st"]

# What an example proves does not depend on how long it takes.
settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("busy")
