"""The error that is shown in one line, without a traceback."""


class LocalError(Exception):
    """The message has the cause and its remedy, without any password."""
