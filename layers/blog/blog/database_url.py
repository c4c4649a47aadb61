"""PostgreSQL URLs: every form that people have becomes the one that libpq reads.

    postgres://…, postgresql+asyncpg://…     postgresql://…; which driver reads it is our choice
    ?ssl=true, ?ssl=require, …               ?sslmode=require, …; ssl is asyncpg's and JDBC's name

No message shows more of a URL than the name of a parameter.
"""

import re

SCHEME = r"postgres(ql)?(\+\w+)?://"
# A password may have any character but @: what comes before it is not looked at.
URL = re.compile(
    SCHEME + r"(?P<address>([^@]*@)?(\[[^]@]+\]|[^@:/?]*)(:\d+)?(/[^@?]*)?)(\?(?P<query>[^@]*))?"
)
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SSL_SWITCHES = {"true": "require", "false": "disable"}


def libpq_url(url: str) -> str:
    """The URL as `postgresql://…` with libpq's names; one that has them already is unchanged.

    Raises `ValueError` where it is none, or its ssl is not clear.
    """
    parts = URL.fullmatch(url.strip())
    if parts is None:
        raise ValueError(
            "not a PostgreSQL URL; it looks like postgresql://user:password@host:5432/blog "
            "(write @ : / in a password as %40 %3A %2F)"
        )
    if not parts["query"]:
        return f"postgresql://{parts['address']}"
    query = [_translated(parameter) for parameter in parts["query"].split("&")]
    if sum(parameter.startswith("sslmode=") for parameter in query) > 1:
        raise ValueError("its parameters ssl and sslmode say the same: leave one out")
    return f"postgresql://{parts['address']}?{'&'.join(query)}"


def check_parameters(url: str) -> None:
    """Raises `ValueError` where libpq does not know a parameter of the URL."""
    from psycopg import pq  # imported here alone: a cached page needs no driver

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    parts = URL.fullmatch(url)
    query = parts["query"] if parts else None
    names = {parameter.partition("=")[0] for parameter in query.split("&")} if query else set()
    for name in sorted(names - known):
        raise ValueError(f"its parameter {name} is not one of libpq: leave it out")


def _translated(parameter: str) -> str:
    name, _, value = parameter.partition("=")
    if name != "ssl":
        return parameter
    mode = SSL_SWITCHES.get(value.lower(), value)
    if mode not in SSL_MODES:
        raise ValueError(f"its parameter ssl is none of true, false, {', '.join(SSL_MODES)}")
    return f"sslmode={mode}"
