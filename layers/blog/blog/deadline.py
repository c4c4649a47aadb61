"""When the request that is being answered must have its answer."""

from contextvars import ContextVar
from math import inf

request_deadline: ContextVar[float] = ContextVar("request_deadline", default=inf)
"""When the request's time is over (`monotonic`): set by the boundary of each request."""
