"""The deadline of the current request."""

from contextvars import ContextVar
from math import inf

request_deadline: ContextVar[float] = ContextVar("request_deadline", default=inf)
"""When the current request must be finished, in seconds of `monotonic()`; set by the middleware."""
