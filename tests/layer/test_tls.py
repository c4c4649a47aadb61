"""The authorities in the layer, and which of them a host's name leads to."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from blog.tls import CERTIFICATES, authorities, tls_context

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
    """Those of Mozilla's list that have Amazon's names."""
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
    monkeypatch.setattr("blog.tls.CERTIFICATES", tmp_path)
    (tmp_path / f"{region}.pem").touch()
    assert authorities(host) == str(tmp_path / f"{region}.pem")


@pytest.mark.parametrize("file", [*REGIONS, AMAZON], ids=lambda file: file.stem)
def test_a_file_is_all_that_is_trusted(file: Path) -> None:
    context = tls_context(str(file))
    assert len(context.get_ca_certs()) == len(certificates(file))
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
