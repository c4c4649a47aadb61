"""The authorities in the layer, and which of them a host's name leads to."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from redis.asyncio import SSLConnection

from shared.cache.redis_url import new_connection
from shared.database.server import database_url
from shared.settings import SettingsError
from shared.tls import CERTIFICATES, authorities, postgresql_authorities, tls_context
from tests.conftest import Worker

# Starfield's root, which is Amazon's, has the number 0.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

AMAZON = CERTIFICATES / "amazon.pem"
REGIONS = sorted(set(CERTIFICATES.glob("*.pem")) - {AMAZON})


def certificates(file: str | Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(Path(file).read_bytes())


def name(certificate: x509.Certificate) -> str:
    (found,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found.value)


@pytest.mark.parametrize("file", REGIONS, ids=lambda file: file.stem)
def test_a_region_has_the_roots_of_its_rds(file: Path) -> None:
    kinds = ("ECC384", "RSA2048", "RSA4096")
    roots = certificates(file)
    assert {name(root) for root in roots} == {
        f"Amazon RDS {file.stem} Root CA {kind} G1" for kind in kinds
    }
    for root in roots:
        root.verify_directly_issued_by(root)
        assert root.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3650)


def test_amazons_roots_are_public_ones() -> None:
    public = {root.fingerprint(SHA256()) for root in public_roots()}
    roots = certificates(AMAZON)
    assert len(roots) == 5
    assert {root.fingerprint(SHA256()) for root in roots} <= public


def public_roots() -> list[x509.Certificate]:
    """The certificates of Amazon's authorities in Mozilla's list."""
    blocks = Path(certifi.where()).read_text(encoding="utf-8").split("# Issuer: ")
    ours = [block for block in blocks if "Amazon" in block or "Starfield Services" in block]
    return [
        x509.load_pem_x509_certificate(block[block.index("-----") :].encode()) for block in ours
    ]


@pytest.mark.parametrize(
    ("host", "file"),
    [
        ("blog.cluster-abc.eu-west-1.rds.amazonaws.com", "eu-west-1"),
        ("us-east-1.abc.EU-WEST-1.rds.amazonaws.com", "eu-west-1"),
        ("blog.proxy-abc.eu-west-1.rds.amazonaws.com", "amazon"),
        ("read.endpoint.proxy-abc.us-gov-west-1.rds.amazonaws.com", "amazon"),
        ("master.blog-cache.abc.euw1.cache.amazonaws.com", "amazon"),
        ("secretsmanager.us-gov-west-1.amazonaws.com", "amazon"),
    ],
)
def test_a_host_of_amazon_has_its_own(host: str, file: str) -> None:
    assert authorities(host) == str(CERTIFICATES / f"{file}.pem")
    assert (CERTIFICATES / f"{file}.pem").exists()


@pytest.mark.parametrize(
    "host", ["localhost", "10.0.0.1", "db.example.org", "rds.example.org", "amazonaws.com.example"]
)
def test_another_host_has_the_systems(host: str) -> None:
    assert authorities(host) is None
    systems = ssl.get_default_verify_paths().cafile
    assert postgresql_authorities(host) == (systems or "system")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("blog.abc.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
        ("blog.abc.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("blog.abc.cn-north-1.rds.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_a_region_that_is_missing_is_named(
    host: str, region: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=rf"no authorities of RDS in {region}: add"):
        authorities(host)
    monkeypatch.setattr("shared.tls.CERTIFICATES", tmp_path)
    (tmp_path / f"{region}.pem").touch()
    assert authorities(host) == str(tmp_path / f"{region}.pem")


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?ssl=require"])
def test_postgresql_at_rds_is_verified_by_its_region(worker: Worker, mode: str) -> None:
    url = f"postgresql://u@blog.abc.eu-west-1.rds.amazonaws.com/blog{mode}"
    worker.restart(DATABASE_URL=url, TLS_REQUIRED="true")
    file = str(CERTIFICATES / "eu-west-1.pem")
    assert database_url().query == {"sslmode": "verify-full", "sslrootcert": file}


@pytest.mark.parametrize(
    ("query", "is_verified"),
    [("host=/run", False), ("host=%40abstract,/run", False), ("host=/run,db", True), ("", False)],
)
def test_postgresql_at_a_unix_socket_has_no_tls(
    worker: Worker, query: str, is_verified: bool
) -> None:
    worker.restart(DATABASE_URL=f"postgresql://u@/blog?{query}", TLS_REQUIRED="true")
    assert ("sslmode" in database_url().query) == is_verified


def test_postgresql_at_rds_in_a_region_that_is_missing_is_an_error(worker: Worker) -> None:
    url = "postgresql://u@blog.abc.us-gov-west-1.rds.amazonaws.com/blog"
    worker.restart(DATABASE_URL=url, TLS_REQUIRED="true")
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: the layer has no authorities of RDS"):
        database_url()
    worker.restart(DATABASE_URL=f"{url}?sslrootcert=/own.pem")
    assert database_url().query == {"sslmode": "verify-full", "sslrootcert": "/own.pem"}


def test_a_redis_at_elasticache_is_verified_by_amazons_roots(worker: Worker) -> None:
    worker.restart(TLS_REQUIRED="true")
    connection = new_connection("rediss://master.blog.abc.euw1.cache.amazonaws.com:6379/0")
    assert isinstance(connection, SSLConnection)
    assert connection.ssl_context.get() is tls_context(str(AMAZON))


@pytest.mark.parametrize("file", [*REGIONS, AMAZON], ids=lambda file: file.stem)
def test_a_file_is_all_that_is_trusted(file: Path) -> None:
    context = tls_context(str(file))
    assert len(context.get_ca_certs()) == len(certificates(file))
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
