"""How does a client reach and prove itself to the brokers? Settings -> aiokafka's arguments."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.abc import AbstractTokenProvider

from orchestra.errors import SettingsError
from orchestra.settings import Security, Settings

TokenProvider = Callable[[], Awaitable[str]]
"""Gives a fresh OAUTHBEARER token each time it is called."""

_MILLISECONDS = 1000


def client_arguments(settings: Settings, *, token: TokenProvider | None = None) -> dict[str, Any]:
    """What every aiokafka client is made with.

    Raises:
        SettingsError: the security settings cannot work: a file is missing, or OAUTHBEARER has no token provider.
    """
    security = settings.security
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "request_timeout_ms": int(settings.request_timeout * _MILLISECONDS),
        "retry_backoff_ms": 100,
        "security_protocol": security.protocol,
    }
    if security.protocol in ("SSL", "SASL_SSL"):
        arguments["ssl_context"] = _ssl_context(security)
    if security.protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        arguments |= _sasl(security, token)
    return arguments


def _ssl_context(security: Security) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=security.ssl_cafile)
        context.check_hostname = security.ssl_check_hostname
        if security.ssl_certfile is not None:
            context.load_cert_chain(security.ssl_certfile, security.ssl_keyfile, security.ssl_password)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"ORCHESTRA_SECURITY_SSL_*: the certificates cannot be used: {error}") from error
    return context


def _sasl(security: Security, token: TokenProvider | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "sasl_mechanism": security.sasl_mechanism,
        "sasl_plain_username": security.sasl_username,
        "sasl_plain_password": security.sasl_password,
        "sasl_kerberos_service_name": security.sasl_kerberos_service_name,
        "sasl_kerberos_domain_name": security.sasl_kerberos_domain_name,
    }
    if security.sasl_mechanism == "OAUTHBEARER":
        if token is None:
            raise SettingsError("ORCHESTRA_SECURITY_SASL_MECHANISM: OAUTHBEARER needs KafkaTransport(..., token=...)")
        arguments["sasl_oauth_token_provider"] = _Tokens(token)
    elif security.sasl_mechanism != "GSSAPI" and (security.sasl_username is None or security.sasl_password is None):
        raise SettingsError(f"ORCHESTRA_SECURITY_SASL_USERNAME and _PASSWORD: {security.sasl_mechanism} needs both")
    return arguments


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no type stubs
    """aiokafka's shape for a token provider."""

    def __init__(self, token: TokenProvider) -> None:
        self._token = token

    async def token(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return await self._token()
