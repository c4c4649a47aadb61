"""AWS Secrets Manager, for the tests of this folder."""

from tests.secrets_manager import aws_endpoint, manager  # noqa: F401
