"""The one error that a developer sees as a line, never as a traceback."""


class LocalError(Exception):
    """What went wrong and what to do about it, in one line and without any password."""
