"""Convert the common forms of PostgreSQL URLs to libpq's.

    postgres://…, postgresql+asyncpg://…     postgresql://…
    ?ssl=true, ?ssl=require, …               ?sslmode=require, … (asyncpg and JDBC call it ssl)
    …@h1:1,h2:2/db                           …@/db?host=h1,h2&port=1,2 (the primary of them)

Of a URL, error messages show only the names of parameters.
"""

import re

HOST = r"(?:\[[^]@]+\]|[^@:/?,]*)(?::\d+)?"
SCHEME = r"postgres(ql)?(\+\w+)?://"
# A password may contain any character except @.
URL = re.compile(
    SCHEME + rf"(?P<address>(?P<user>[^@]*@)?(?P<hosts>{HOST}(,{HOST})*)(?P<path>/[^@?]*)?)"
    r"(\?(?P<query>[^@]*))?"
)
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SSL_SWITCHES = {"true": "require", "false": "disable"}


def libpq_url(url: str) -> str:
    """Return the URL as `postgresql://…` with libpq's parameter names.

    Raises `ValueError` if it is not a PostgreSQL URL, or its ssl parameters are invalid.
    """
    parts = URL.fullmatch(url.strip())
    if parts is None:
        raise ValueError(
            "not a PostgreSQL URL like postgresql://user:password@host:5432/blog"
            " (write @ : / in a password as %40 %3A %2F)"
        )
    address, hosts = parts["address"], parts["hosts"].split(",")
    if len(hosts) > 1 and ":" in parts["hosts"]:
        names, ports = zip(*(_host_and_port(host) for host in hosts), strict=True)
        address = f"{parts['user'] or ''}{parts['path'] or '/'}"
        query = [f"host={','.join(names)}", f"port={','.join(ports)}"]
        if parts["query"]:
            query.append(parts["query"])
        return libpq_url(f"postgresql://{address}?{'&'.join(query)}")
    if not parts["query"]:
        return f"postgresql://{address}"
    query = [_translated(parameter) for parameter in parts["query"].split("&")]
    if sum(parameter.startswith("sslmode=") for parameter in query) > 1:
        raise ValueError("its parameters ssl and sslmode mean the same: remove one")
    return f"postgresql://{address}?{'&'.join(query)}"


def _host_and_port(host: str) -> tuple[str, str]:
    name, _, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "")
    return name.strip("[]"), port or "5432"


def check_parameters(url: str) -> None:
    """Raise `ValueError` if the URL has a parameter that libpq does not know."""
    from psycopg import pq  # imported here, as a cached page needs no driver

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    parts = URL.fullmatch(url)
    query = parts["query"] if parts else None
    names = {parameter.partition("=")[0] for parameter in query.split("&")} if query else set()
    for name in sorted(names - known):
        raise ValueError(f"its parameter {name} is unknown to libpq: remove it")


def _translated(parameter: str) -> str:
    name, _, value = parameter.partition("=")
    if name != "ssl":
        return parameter
    mode = SSL_SWITCHES.get(value.lower(), value)
    if mode not in SSL_MODES:
        raise ValueError(f"its parameter ssl is not one of true, false, {', '.join(SSL_MODES)}")
    return f"sslmode={mode}"
