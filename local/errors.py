"""The error that a developer sees as a line, never as a traceback."""


class LocalError(Exception):
    """The cause and its remedy, in one line and without any password."""
