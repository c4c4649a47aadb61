"""How PostgreSQL is reached: its URL, verified TLS, and tokens of IAM in place of a password."""

import asyncio
import ssl
from typing import Any

from psycopg import OperationalError
from sqlalchemy import URL, Engine, event, make_url

from shared.database_url import check_parameters, libpq_url
from shared.settings import SettingsError, settings
from shared.stored_secrets import is_secret, secret_value

DIAGNOSIS_SECONDS = 0.5
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def database_url() -> URL:
    """Return `DATABASE_URL` for SQLAlchemy's psycopg dialect, fetched where it is a secret's ARN.

    Raises `SecretUnavailable`, and `SettingsError` where the secret holds none, the URL has a
    parameter that libpq does not know, or its server's authorities are not known.
    """
    given = settings().database_url
    try:
        text = libpq_url(secret_value(given)) if is_secret(given) else given
        check_parameters(text)
        url = make_url(text).set(drivername="postgresql+psycopg")
        if settings().database_auth == "iam" and "," in f"{url.host}{url.query.get('host', '')}":
            raise ValueError("IAM's tokens are for one host")
        return _verifying(url) if settings().tls_required else url
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL: {error}") from None


def provide_tokens(engine: Engine) -> None:
    """Give each new connection a token of its own, if `DATABASE_AUTH` is `iam`."""
    if settings().database_auth != "iam":
        return
    from shared.aws.credentials import CredentialsUnavailable
    from shared.aws.tokens import database_token

    @event.listens_for(engine, "do_connect")
    def provide(_dialect: object, _record: object, _arguments: Any, options: Any) -> None:
        host, port, user = options["host"], int(options.get("port") or 5432), options["user"]
        try:
            options["password"] = database_token(host, port, user)
        except CredentialsUnavailable as error:
            raise OperationalError(str(error)) from error


def _verifying(url: URL) -> URL:
    """Return the URL with TLS that verifies the server; unchanged for a Unix socket."""
    host = url.host or str(url.query.get("host", ""))
    if all(name.startswith(("/", "@")) or not name for name in host.split(",")):
        return url
    from shared.tls import postgresql_authorities

    file = url.query.get("sslrootcert") or postgresql_authorities(host)
    return url.update_query_dict({"sslmode": "verify-full", "sslrootcert": file})


async def rejected_certificate(url: URL) -> str:
    """Return why the server's certificate is not accepted, such as "certificate has expired".

    libpq says no more than "certificate verify failed". Empty if that is not found out.
    """
    file = url.query.get("sslrootcert", "system")
    try:
        context = ssl.create_default_context(cafile=None if file == "system" else str(file))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as libpq does
        async with asyncio.timeout(DIAGNOSIS_SECONDS):
            await _shake_hands(url, context)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, asyncio.IncompleteReadError):
        pass
    return ""


async def _shake_hands(url: URL, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(url.host, url.port or 5432)
    try:
        writer.write(SSL_REQUEST)
        await reader.readexactly(1)
        await writer.start_tls(context, server_hostname=url.host)
    finally:
        writer.close()
