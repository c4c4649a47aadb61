"""When the request that is being answered must have its answer."""

from contextvars import ContextVar
from math import inf

answer_by: ContextVar[float] = ContextVar("answer_by", default=inf)
"""When the request's time is over (`monotonic`): set by the boundary of each request."""
