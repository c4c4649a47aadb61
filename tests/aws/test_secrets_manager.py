"""The endpoint of Secrets Manager, and responses without a text."""

import json
from pathlib import Path

import botocore
import pytest

from shared.aws.https import RequestFailed
from shared.aws.secrets_manager import endpoint, fetch_secret
from tests.secrets_manager import Manager, new_secret

PARTITIONS = json.loads(
    (Path(botocore.__file__).parent / "data" / "partitions.json").read_text(encoding="utf-8")
)["partitions"]
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: partition["id"])
def test_the_secrets_region_is_asked_in_every_partition(
    partition: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    outputs = partition["outputs"]
    assert isinstance(outputs, dict)
    region = outputs["implicitGlobalRegion"]
    arn = f"arn:{partition['id']}:secretsmanager:{region}:123456789012:secret:db-AbCdEf"
    assert endpoint(arn) == f"https://secretsmanager.{region}.{outputs['dnsSuffix']}"


def test_the_environment_names_another_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert endpoint(ARN) == "http://localhost:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://localhost:2")
    assert endpoint(ARN) == "http://localhost:2"


def test_text_of_any_alphabet_is_read(manager: Manager) -> None:
    assert fetch_secret(new_secret(manager, "pässwörd 日本"), 1.0) == "pässwörd 日本"


def test_a_binary_secret_is_an_error(manager: Manager) -> None:
    arn = manager.create_secret(Name="binary", SecretBinary=b"s3cret")["ARN"]
    with pytest.raises(RequestFailed, match="holds no text"):
        fetch_secret(arn, 1.0)


def test_an_endpoint_that_does_not_respond_is_an_error(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = new_secret(manager, "value")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(RequestFailed, match="ConnectionRefused"):
        fetch_secret(arn, 1.0)
