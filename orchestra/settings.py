"""What can be set, and from which environment variable?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orchestra.errors import SettingsError

_PREFIX = "ORCHESTRA_"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]:|[^:\s]+:)?[0-9]{1,5}")


class Security(BaseModel):
    """How a client proves who it is; passed through to the Kafka client as it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = None
    ssl_check_hostname: bool = True
    sasl_mechanism: Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = None
    sasl_kerberos_service_name: str = "kafka"
    sasl_kerberos_domain_name: str | None = None


class Settings(BaseModel):
    """Everything that differs between environments and not between releases. Durations are in seconds.

    Each field is read from ``ORCHESTRA_<FIELD>``; the fields of ``security`` from ``ORCHESTRA_SECURITY_<FIELD>``;
    ``topics`` is JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = "localhost:9092"
    security: Security = Security()
    env: Literal["development", "test", "production"] = "development"
    namespace: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    """Put before topics, groups and transactional ids, so that two teams' names never meet."""
    topics: Mapping[str, str] = Field(default_factory=dict)
    """Declared topic -> topic on this cluster; wins over ``namespace``."""
    create_topics: bool | None = None
    """Create missing topics at start. Default: yes, except in production."""
    replication_factor: int = Field(default=-1)
    """Of created topics; -1 is the broker's default."""
    partitions: int = Field(default=8, ge=1)
    """Of created topics."""
    session_timeout: float = Field(default=45.0, gt=0)
    heartbeat_interval: float = Field(default=3.0, gt=0)
    rebalance_timeout: float = Field(default=60.0, gt=0)
    request_timeout: float = Field(default=10.0, gt=0)
    """The deadline of one call to the brokers."""
    delivery_timeout: float = Field(default=30.0, gt=0)
    """How long a published record may stay unacknowledged before its outcome counts as unknown."""
    drain_timeout: float = Field(default=20.0, gt=0)
    """How long work in flight may go on after a stop or a revocation."""
    worker_restarts: int = Field(default=10, ge=0)
    """Deaths of one worker of ``--workers`` within ten minutes that are followed by a new start."""

    stall_timeout: float = Field(default=60.0, gt=0)
    """How long a service may take nothing in, though there are records and brokers answer, before its client is made
    anew and ``/live`` fails; also how long the event loop may be blocked before ``/live`` fails."""
    broker_timeout: float = Field(default=600.0, ge=0)
    """How long brokers may be away before ``/live`` fails; 0: for ever."""
    health: str | None = None
    """``[HOST:]PORT`` of the health endpoints. Default: none; HOST: 127.0.0.1."""

    hop_limit: int = Field(default=64, ge=1)
    """How many events may lead to one, each the cause of the next, before a handler's record is a dead letter."""

    @field_validator("health")
    @classmethod
    def _check_health(cls, value: str | None) -> str | None:
        if value is not None and not (_ADDRESS.fullmatch(value) and int(value.rpartition(":")[2]) < 1 << 16):
            raise ValueError(f"{value!r} is not [HOST:]PORT, such as 8080, 0.0.0.0:8080 or [::]:8080")
        return value

    @property
    def health_address(self) -> tuple[str, int] | None:
        """Where the health endpoints are to be served."""
        if self.health is None:
            return None
        host, _, port = self.health.rpartition(":")
        return host.strip("[]") or "127.0.0.1", int(port)

    @property
    def end_timeout(self) -> float:
        """How long an ordered end may take in all: drain, commit, leave the groups, close."""
        return self.drain_timeout + 2 * self.request_timeout + 5.0

    @property
    def may_create_topics(self) -> bool:
        return self.env != "production" if self.create_topics is None else self.create_topics

    def topic(self, declared: str) -> str:
        """The topic on this cluster for the one that the code declares."""
        return self.topics.get(declared) or self.scoped(declared)

    def scoped(self, name: str) -> str:
        """A group or transactional id, with the namespace before it."""
        return f"{self.namespace}.{name}" if self.namespace else name

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The settings that the environment variables ask for.

        Raises:
            SettingsError: a variable has an impossible value; names the variable.
        """
        values: dict[str, object] = {}
        security: dict[str, str] = {}
        for name in cls.model_fields:
            if (text := environment.get(_PREFIX + name.upper())) is not None:
                values[name] = text
        for name in Security.model_fields:
            if (text := environment.get(f"{_PREFIX}SECURITY_{name.upper()}")) is not None:
                security[name] = text
        if security:
            values["security"] = security
        try:
            return cls.model_validate(_with_json(values))
        except ValidationError as error:
            first = error.errors()[0]
            variable = _PREFIX + "_".join(str(part) for part in first["loc"]).upper()
            raise SettingsError(f"{variable}: {first['msg'].removeprefix('Value error, ')}") from error


def _with_json(values: dict[str, object]) -> dict[str, object]:
    from pydantic_core import from_json

    if isinstance(text := values.get("topics"), str):
        try:
            return values | {"topics": from_json(text)}
        except ValueError as error:
            raise SettingsError(f"{_PREFIX}TOPICS: not JSON: {error}") from error
    return values
