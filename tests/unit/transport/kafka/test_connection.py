"""TLS and SASL settings reach the client, and impossible ones are named."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from orchestra.errors import SettingsError
from orchestra.settings import Security, Settings
from orchestra.transport.kafka.connection import client_arguments


def arguments(**security: object) -> dict[str, object]:
    return client_arguments(Settings(security=Security.model_validate(security), request_timeout=2.5))


def test_plain_connection_has_no_secrets() -> None:
    assert arguments() == {
        "bootstrap_servers": "localhost:9092",
        "request_timeout_ms": 2500,
        "retry_backoff_ms": 100,
        "security_protocol": "PLAINTEXT",
    }


def test_tls_checks_certificate_and_host_name() -> None:
    context = arguments(protocol="SSL")["ssl_context"]

    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_host_name_is_not_checked_when_told_so() -> None:
    context = arguments(protocol="SSL", ssl_check_hostname=False)["ssl_context"]

    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.check_hostname


def test_missing_certificate_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ORCHESTRA_SECURITY_SSL"):
        arguments(protocol="SSL", ssl_cafile=str(tmp_path / "missing.pem"))


def test_user_and_password_pass_through() -> None:
    passed = arguments(
        protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="ann", sasl_password="not-a-secret"
    )

    assert passed["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (passed["sasl_plain_username"], passed["sasl_plain_password"]) == ("ann", "not-a-secret")
    assert isinstance(passed["ssl_context"], ssl.SSLContext)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_password_that_is_missing_is_named(mechanism: str) -> None:
    with pytest.raises(SettingsError, match=f"SASL_USERNAME and _PASSWORD: {mechanism}"):
        arguments(protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_username="ann")


async def test_oauth_tokens_come_from_the_callers_function() -> None:
    async def token() -> str:
        return "fresh"

    settings = Settings(security=Security(protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER"))

    provider = client_arguments(settings, token=token)["sasl_oauth_token_provider"]

    assert await provider.token() == "fresh"
    with pytest.raises(SettingsError, match="OAUTHBEARER"):
        client_arguments(settings)
